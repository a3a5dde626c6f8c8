package b2bua

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// parser reads messages. What is written as nearly everybody writes it is read
// here, in one text that the headers are parts of; all else is left to the
// library, which reads each part by itself. Both read the same into the same.
type parser struct {
	library *sip.Parser
	via     sip.HeaderParser
}

// newParser keeps what it does not need to know as it was written, byte for byte.
func newParser() *parser {
	parsers := sip.DefaultHeadersParser()
	return &parser{via: parsers["via"], library: sip.NewParser(sip.WithHeadersParsers(map[string]sip.HeaderParser{
		"via": parsers["via"], "v": parsers["v"],
		"content-length": parsers["content-length"], "l": parsers["l"],
	}))}
}

// ParseSIP reads a datagram.
func (p *parser) ParseSIP(datagram []byte) (sip.Message, error) {
	if m := p.plain(datagram); m != nil {
		return m, nil
	}
	return p.library.ParseSIP(datagram)
}

// plain reads a message with one header a line and one value a Via, nil for any
// other.
func (p *parser) plain(datagram []byte) sip.Message {
	end := bytes.Index(datagram, []byte("\r\n\r\n"))
	if end < 0 || len(datagram) > maxDatagram {
		return nil
	}
	body := datagram[end+4:]
	text := string(datagram[:end])
	count := strings.Count(text, "\n")
	if strings.Count(text, "\r\n") != count || strings.Count(text, "\r") != count || count == 0 {
		return nil
	}
	start, text, _ := strings.Cut(text, "\r\n")
	m := startLine(start)
	if m == nil {
		return nil
	}
	length := -1
	for range count {
		var one string
		one, text, _ = strings.Cut(text, "\r\n")
		colon := strings.IndexByte(one, ':')
		if colon <= 0 || one[0] == ' ' || one[0] == '\t' {
			return nil
		}
		name, value := strings.TrimSpace(one[:colon]), strings.TrimSpace(one[colon+1:])
		var h sip.Header
		var err error
		switch {
		case is(name, "via", 'v'):
			if strings.IndexByte(value, ',') >= 0 {
				return nil
			}
			h, err = p.via(nil, value)
		case is(name, "content-length", 'l'):
			var n uint64
			if n, err = strconv.ParseUint(value, 10, 16); length >= 0 {
				return nil
			}
			length = int(n)
			said := sip.ContentLengthHeader(n)
			h = &said
		default:
			h = sip.NewHeader(name, value)
		}
		if err != nil {
			return nil
		}
		m.AppendHeader(h)
	}
	switch {
	case length > len(body):
		return nil
	case length < 0:
		length = len(body)
	}
	if length > 0 {
		m.SetBody(bytes.Clone(body[:length]))
	}
	return m
}

// is says whether a header has this name, long or short, both in lower case.
func is(name, long string, short byte) bool {
	return len(name) == 1 && name[0]|0x20 == short || len(name) == len(long) && strings.EqualFold(name, long)
}

// startLine makes a message of a start line, nil for one that is not quite
// ordinary.
func startLine(start string) sip.Message {
	const version = "SIP/2.0"
	first, rest, _ := strings.Cut(start, " ")
	second, third, ok := strings.Cut(rest, " ")
	switch {
	case !ok:
	case first == version:
		status, err := strconv.ParseUint(second, 10, 16)
		if err != nil {
			return nil
		}
		return sip.NewResponse(int(status), third)
	case third == version:
		req := sip.NewRequest(sip.RequestMethod(strings.ToUpper(first)), sip.Uri{})
		if sip.ParseUri(second, &req.Recipient) != nil || req.Recipient.Wildcard {
			return nil
		}
		return req
	}
	return nil
}

// write writes a message out.
func write(b *bytes.Buffer, m sip.Message) {
	switch m := m.(type) {
	case *sip.Request:
		b.WriteString(string(m.Method))
		b.WriteByte(' ')
		m.Recipient.StringWrite(b)
		b.WriteByte(' ')
		b.WriteString(m.SipVersion)
	case *sip.Response:
		b.WriteString(m.SipVersion)
		b.WriteByte(' ')
		b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(m.StatusCode), 10))
		b.WriteByte(' ')
		b.WriteString(m.Reason)
	}
	b.WriteString("\r\n")
	for _, h := range headersOf(m) {
		if via, ok := h.(*sip.ViaHeader); ok {
			writeVia(b, via)
		} else {
			h.StringWrite(b)
		}
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n")
	b.Write(m.Body())
}

// writeVia writes a Via without making a text of it first.
func writeVia(b *bytes.Buffer, via *sip.ViaHeader) {
	if strings.IndexByte(via.Host, ':') >= 0 {
		via.StringWrite(b)
		return
	}
	for _, s := range [...]string{"Via: ", via.ProtocolName, "/", via.ProtocolVersion, "/", via.Transport, " ", via.Host} {
		b.WriteString(s)
	}
	if via.Port > 0 {
		b.WriteByte(':')
		b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(via.Port), 10))
	}
	if len(via.Params) > 0 {
		b.WriteByte(';')
		via.Params.ToStringWrite(';', b)
	}
}

// headersOf are the headers of a message.
func headersOf(m sip.Message) []sip.Header { return m.(interface{ Headers() []sip.Header }).Headers() }
