package b2bua

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
)

// received is a message that came in. Its header fields are parts of one text,
// and what everybody asks of a message is read once.
type received struct {
	method     string // of a request, "" of a response
	uri        string // Request-URI
	uriHeaders bool   // the Request-URI has some

	status int // of a response
	reason string

	fields []headerField // but for Content-Length
	body   []byte

	via            via // the topmost
	callID         string
	fromTag, toTag string
	cseq           uint32
	cseqMethod     string // "" where CSeq cannot be read

	source netip.AddrPort // where it came from
}

// headerField is a field of the header.
type headerField struct {
	*fieldName
	value string // of a Via one of its values
}

func (m *received) isAck() bool { return m.method == "ACK" }

// note reads what is asked for most, of the first field of each name: as does
// who looks at a message before it is read.
func (m *received) note() {
	var callID, from, to, cseq bool
	for i := range m.fields {
		switch h := &m.fields[i]; h.key {
		case "call-id":
			if !callID {
				m.callID, callID = h.value, true
			}
		case "from":
			if !from {
				m.fromTag, from = dialog.Tag(h.value), true
			}
		case "to":
			if !to {
				m.toTag, to = dialog.Tag(h.value), true
			}
		case "cseq":
			if !cseq {
				m.cseq, m.cseqMethod, _ = dialog.CSeq(h.value)
				cseq = true
			}
		}
	}
}

// without takes all fields of a name out.
func (m *received) without(key string) {
	m.fields = slices.DeleteFunc(m.fields, func(h headerField) bool { return h.key == key })
}

// via is what is asked of the topmost Via.
type via struct {
	sentBy
	branch string
	rport  bool // asks for RFC 3581 section 4
}

// sentBy is the address that a Via names; zero without a Via.
type sentBy struct {
	host string // without brackets, in lower case
	port int    // 0 without one
}

// readVia reads a Via with one value that is written as nearly all are.
func readVia(value string) (v via, ok bool) {
	text, ours := strings.CutPrefix(value, "SIP/2.0/")
	transport, text, spaced := strings.Cut(text, " ")
	where, good := plainParams(text, func(name, value string) {
		switch {
		case strings.EqualFold(name, "branch"):
			v.branch = value
		case strings.EqualFold(name, "rport"):
			v.rport = true
		}
	})
	v.sentBy, ok = plainHostPort(where)
	return v, ok && good && ours && spaced && isPlain(transport)
}

// plainParams passes on the parameters behind a text, and returns the text. It
// is false where one is not as they usually are, or may be there twice.
func plainParams(s string, each func(name, value string)) (text string, ok bool) {
	text, params, more := strings.Cut(s, ";")
	for more {
		before := s[:len(s)-len(params)]
		var param string
		param, params, more = strings.Cut(params, ";")
		name, value, valued := strings.Cut(param, "=")
		if !isPlain(name) || valued && !isPlain(value) || strings.Contains(before, ";"+name) {
			return "", false
		}
		each(name, value)
	}
	return text, true
}

// plainHostPort divides host and port where both are as they usually are.
func plainHostPort(s string) (at sentBy, ok bool) {
	host, text, has := s, "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || end+1 < len(s) && s[end+1] != ':' {
			return sentBy{}, false
		}
		ip, err := netip.ParseAddr(s[1:end])
		if err != nil || !ip.Is6() || ip.Is4In6() || ip.Zone() != "" {
			return sentBy{}, false
		}
		host, has = s[1:end], end+1 < len(s)
		text = s[min(end+2, len(s)):]
	} else if host, text, has = strings.Cut(s, ":"); !isPlain(host) {
		return sentBy{}, false
	}
	if has {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 || text[0] == '0' {
			return sentBy{}, false
		}
		at.port = int(n)
	}
	at.host = strings.ToLower(host)
	return at, true
}

// isPlain says whether a text is of characters that mean nothing anywhere in a
// message.
func isPlain(s string) bool {
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return s != ""
}

var plain = func() (set [256]bool) {
	for _, c := range "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._!*+~$" {
		set[c] = true
	}
	return set
}()

// isPlainURI says whether a sip URI is written as nearly all are.
func isPlainURI(uri string) bool {
	rest, ok := strings.CutPrefix(uri, "sip:")
	if user, host, has := strings.Cut(rest, "@"); has {
		ok = ok && isPlain(user)
		rest = host
	}
	where, good := plainParams(rest, func(_, _ string) {})
	_, placed := plainHostPort(where)
	return ok && good && placed
}

// receivedFrom is a message that the library has read.
func receivedFrom(m sip.Message) *received {
	r := &received{body: m.Body()}
	switch m := m.(type) {
	case *sip.Request:
		r.method, r.uri, r.uriHeaders = string(m.Method), m.Recipient.String(), len(m.Recipient.Headers) > 0
	case *sip.Response:
		r.status, r.reason = m.StatusCode, m.Reason
	}
	for _, h := range headersOf(m) {
		if _, ok := h.(*sip.ContentLengthHeader); ok {
			continue
		}
		name := fieldNamed(h.Name())
		if name.key != "via" {
			r.fields = append(r.fields, headerField{name, h.Value()})
			continue
		}
		for _, value := range dialog.SplitList(h.Value()) {
			value = tidyVia(value)
			if r.via.host == "" {
				r.via = anyVia(value)
			}
			r.fields = append(r.fields, headerField{fieldNamed("Via"), value})
		}
	}
	r.note()
	return r
}

// anyVia reads a tidy value of a Via that the screen let pass, however it is
// written.
func anyVia(value string) via {
	if v, ok := readVia(value); ok {
		return v
	}
	where, params, _ := strings.Cut(value, ";")
	where = where[strings.LastIndexAny(where, lws)+1:]
	var v via
	if colon := strings.LastIndexByte(where, ':'); colon > strings.LastIndexByte(where, ']') {
		v.port, _ = strconv.Atoi(where[colon+1:])
		where = where[:colon]
	}
	v.host = strings.ToLower(trimBrackets(where))
	v.branch, _ = dialog.Param(";"+params, "branch")
	_, v.rport = dialog.Param(";"+params, "rport")
	return v
}

// tidyVia takes LWS out of a Via wherever it may be left out, RFC 3261 section
// 25.1, which is everywhere but before the host. Each byte is looked at once: a
// Via may be LWS to the end of a datagram.
func tidyVia(value string) string {
	b := make([]byte, 0, len(value))
	quoted := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '"' {
			quoted = !quoted
		}
		if quoted || !isLWS(c) {
			b = append(b, c)
			continue
		}
		for i+1 < len(value) && isLWS(value[i+1]) {
			i++
		}
		if len(b) > 0 && i+1 < len(value) && !divides(b[len(b)-1]) && !divides(value[i+1]) {
			b = append(b, ' ')
		}
	}
	return string(b)
}

// divides says whether LWS around this part of a Via means nothing.
func divides(c byte) bool { return strings.IndexByte("/;=,:", c) >= 0 }
