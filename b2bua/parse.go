package b2bua

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
)

// parser reads messages. What is written as nearly everybody writes it is read
// here, in one text that the headers are parts of; all else is left to the
// library, which reads each part by itself. Both read the same into the same.
type parser struct{ library *sip.Parser }

// newParser keeps what it does not need to know as it was written, byte for byte:
// also Via, of which the library garbles quoted parameters and repeated ones.
func newParser() *parser {
	parsers := sip.DefaultHeadersParser()
	return &parser{sip.NewParser(sip.WithHeadersParsers(map[string]sip.HeaderParser{
		"content-length": parsers["content-length"], "l": parsers["l"],
	}))}
}

// parse reads a datagram.
func (p *parser) parse(datagram []byte) (*received, error) {
	if m := plainMessage(datagram); m != nil {
		return m, nil
	}
	m, err := p.library.ParseSIP(datagram)
	if err != nil {
		return nil, err
	}
	r := receivedFrom(m)
	if uri, ok := writtenURI(datagram); ok && r.method != "" {
		r.uri = uri
	}
	return r, nil
}

// writtenURI is the Request-URI as it was written, but for the case of its
// scheme: the library loses empty and repeated parameters, and garbles quoted
// ones. It is false for one that we do not understand either.
func writtenURI(datagram []byte) (uri string, ok bool) {
	f := fields{rest: bytes.TrimLeft(datagram, "\r\n")}
	parts := bytes.Split(f.line(), []byte{' '})
	if len(parts) != 3 {
		return "", false
	}
	scheme, rest, _ := strings.Cut(string(parts[1]), ":")
	uri = strings.ToLower(scheme) + ":" + rest
	_, err := dialog.ParseURI(uri)
	return uri, err == nil
}

// plainMessage reads a message with one header a line and one value a Via, nil
// for any other.
func plainMessage(datagram []byte) *received {
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
	m.fields = make([]headerField, 0, count)
	length := -1
	for range count {
		var one string
		one, text, _ = strings.Cut(text, "\r\n")
		colon := strings.IndexByte(one, ':')
		if colon <= 0 || one[0] == ' ' || one[0] == '\t' {
			return nil
		}
		h := headerField{fieldNamed(strings.TrimSpace(one[:colon])), strings.TrimSpace(one[colon+1:])}
		switch h.key {
		case "via":
			v, ok := readVia(h.value)
			if !ok {
				return nil
			}
			if m.via.host == "" {
				m.via = v
			}
			h.fieldName = fieldNamed("Via")
		case "content-length":
			n, err := strconv.ParseUint(h.value, 10, 16)
			if err != nil || length >= 0 {
				return nil
			}
			length = int(n)
			continue
		}
		m.fields = append(m.fields, h)
	}
	switch {
	case length > len(body):
		return nil
	case length < 0:
		length = len(body)
	}
	if length > 0 {
		m.body = bytes.Clone(body[:length])
	}
	m.note()
	return m
}

// startLine makes a message of a start line, nil for one that is not quite
// ordinary.
func startLine(start string) *received {
	const version = "SIP/2.0"
	first, rest, _ := strings.Cut(start, " ")
	second, third, ok := strings.Cut(rest, " ")
	switch {
	case !ok:
	case first == version:
		if status, err := strconv.ParseUint(second, 10, 16); err == nil && status > 0 {
			return &received{status: int(status), reason: third}
		}
	case third == version && isPlainURI(second):
		return &received{method: strings.ToUpper(first), uri: second}
	}
	return nil
}

// headersOf are the headers of a message.
func headersOf(m sip.Message) []sip.Header { return m.(interface{ Headers() []sip.Header }).Headers() }
