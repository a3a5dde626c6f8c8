package b2bua

import "bytes"

// fields walks through the header of a message as it came, without copying.
type fields struct {
	rest   []byte // what comes after the last line read; the body in the end
	name   []byte
	value  []byte // with the line ends of folded lines, RFC 3261 section 7.3.1
	broken bool   // a line end that is not CRLF, a line without a name, or no empty line
}

// next reads one field; false at the empty line that ends the header, or where
// the datagram ends without it.
func (f *fields) next() bool {
	for {
		if len(f.rest) == 0 {
			f.broken = true // RFC 3261 section 7: the empty line must be present
			return false
		}
		start := f.rest
		line := f.line()
		if len(line) == 0 {
			return false
		}
		for len(f.rest) > 0 && (f.rest[0] == ' ' || f.rest[0] == '\t') {
			f.line()
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || line[0] == ' ' || line[0] == '\t' {
			f.broken = true
			continue
		}
		f.name = trimSpace(line[:colon])
		f.value = trimSpace(start[colon+1 : len(start)-len(f.rest)])
		return true
	}
}

// line reads up to the next line end. One that is not CRLF still ends the line,
// so that an answer can be made, but breaks the message.
func (f *fields) line() []byte {
	end := bytes.IndexByte(f.rest, '\n')
	if end < 0 {
		line := f.rest
		f.rest, f.broken = nil, true
		return line
	}
	line := f.rest[:end]
	f.rest = f.rest[end+1:]
	cr := bytes.IndexByte(line, '\r')
	if cr < 0 || cr != len(line)-1 {
		f.broken = true
	}
	if cr >= 0 {
		line = line[:cr]
	}
	return line
}

// field is a header field that the screen knows.
type field uint8

const (
	fieldOther field = iota
	fieldVia
	fieldFrom
	fieldTo
	fieldCallID
	fieldCSeq
	fieldContentLength
)

// fieldOf knows a name in its long and its compact form, RFC 3261 section
// 7.3.3.
func fieldOf(name []byte) field {
	switch len(name) {
	case 1:
		switch name[0] | 0x20 {
		case 'v':
			return fieldVia
		case 'f':
			return fieldFrom
		case 't':
			return fieldTo
		case 'i':
			return fieldCallID
		case 'l':
			return fieldContentLength
		}
	case 2:
		return fieldIf(name, "to", fieldTo)
	case 3:
		return fieldIf(name, "via", fieldVia)
	case 4:
		if name[0]|0x20 == 'f' {
			return fieldIf(name, "from", fieldFrom)
		}
		return fieldIf(name, "cseq", fieldCSeq)
	case 7:
		return fieldIf(name, "call-id", fieldCallID)
	case 14:
		return fieldIf(name, "content-length", fieldContentLength)
	}
	return fieldOther
}

// fieldIf compares without regard to case; want is in lower case.
func fieldIf(name []byte, want string, f field) field {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != want[i] {
			return fieldOther
		}
	}
	return f
}

// cutUnquoted cuts a list at its first comma outside quotes.
func cutUnquoted(list []byte) (one, rest []byte, more bool) {
	if bytes.IndexByte(list, ',') < 0 {
		return list, nil, false
	}
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return list[:i], list[i+1:], true
		}
	}
	return list, nil, false
}

// trimSpace takes LWS away on both sides, folded lines included.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && isLWS(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isLWS(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isLWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigits(b []byte) bool {
	_, ok := digits(b, 1<<62)
	return ok
}

// digits reads a number that is not above highest.
func digits(b []byte, highest uint64) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > highest {
			return 0, false
		}
	}
	return n, len(b) > 0
}
