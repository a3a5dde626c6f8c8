package dialog

import "strings"

// isSpace says whether c is part of LWS, RFC 3261 section 25.1. Folded lines
// count, since a raw value may still hold them.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// skipSpace is the index of the first byte at or after i that is not LWS.
func skipSpace(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

// closing is the index of the quote that closes the one at s[i], or -1. A
// backslash takes the next byte's meaning away, RFC 3261 section 25.1.
func closing(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// isToken says whether s is a token, RFC 3261 section 25.1.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanum := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !alphanum && strings.IndexByte("-.!%*_+`'~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// Param finds a parameter of a header or of a URI. params is the text from the
// first semicolon on, as in [Addr] and [URI]; the name is compared without
// regard to case. The value is as written, with the quotes of a quoted string,
// and empty for a parameter without one. The first of several counts.
func Param(params, name string) (value string, ok bool) {
	p, ok := findParam(params, 0, name)
	if !ok {
		return "", false
	}
	return params[p.value:p.valueEnd], true
}

// param is where a parameter stands in a text.
type param struct {
	start, end      int // from its semicolon up to the next, without trailing LWS
	name, nameEnd   int
	value, valueEnd int // empty, at the name's end, for one without "="
}

// findParam finds the first parameter of this name at or after s[i].
func findParam(s string, i int, name string) (param, bool) {
	for {
		p, ok := nextParam(s, i)
		if !ok {
			return param{}, false
		}
		if p.nameEnd-p.name == len(name) && strings.EqualFold(s[p.name:p.nameEnd], name) {
			return p, true
		}
		i = p.end
	}
}

// nextParam finds the parameter that begins at the first semicolon at or after
// s[i]. A quote that is not closed reaches to the end.
func nextParam(s string, i int) (p param, ok bool) {
	for i < len(s) && s[i] != ';' {
		i++
	}
	if i == len(s) {
		return param{}, false
	}
	p.start = i
	equals := -1
scan:
	for i++; i < len(s); i++ {
		switch s[i] {
		case ';':
			break scan
		case '=':
			if equals < 0 {
				equals = i
			}
		case '"':
			if i = closing(s, i); i < 0 {
				i = len(s) - 1
			}
		}
	}
	p.end = lastSpace(s, p.start+1, i)
	p.name = min(skipSpace(s, p.start+1), p.end)
	p.nameEnd, p.value, p.valueEnd = p.end, p.end, p.end
	if equals >= 0 {
		p.nameEnd = lastSpace(s, p.name, equals)
		p.value = min(skipSpace(s, equals+1), p.end)
	}
	return p, true
}

// lastSpace is where the LWS that ends s[from:to] begins.
func lastSpace(s string, from, to int) int {
	for to > from && isSpace(s[to-1]) {
		to--
	}
	return to
}

// withoutParam takes every parameter of this name out of s[from:].
func withoutParam(s string, from int, name string) string {
	p, ok := findParam(s, from, name)
	if !ok {
		return s
	}
	b := make([]byte, 0, len(s))
	for kept := 0; ; {
		b = append(b, s[kept:p.start]...)
		kept = p.end
		if p, ok = findParam(s, kept, name); !ok {
			return string(append(b, s[kept:]...))
		}
	}
}

// SplitList splits a header value at its commas, RFC 3261 section 7.3.1,
// except those inside quotes, <> and comments, and takes the LWS around each
// part away. Empty parts are left out. What is opened and never closed reaches
// to the end.
func SplitList(value string) []string {
	var parts []string
	for more := true; more; {
		var part string
		if part, value, more = cutList(value); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// First is the first part that [SplitList] finds, "" if there is none.
func First(value string) string {
	var part string
	for more := true; more && part == ""; {
		part, value, more = cutList(value)
	}
	return part
}

// cutList cuts a list at its first comma that divides.
func cutList(value string) (part, rest string, more bool) {
	for i := 0; i < len(value); i++ {
		end := i
		switch value[i] {
		case ',':
			return trim(value[:i]), value[i+1:], true
		case '"':
			end = closing(value, i)
		case '<':
			end = next(value, i, '>')
		case '(':
			// After anything else it is part of a user name.
			if i == 0 || isSpace(value[i-1]) {
				end = comment(value, i)
			}
		}
		if end < 0 {
			break
		}
		i = end
	}
	return trim(value), "", false
}

// next is the index of the first c after s[i], or -1.
func next(s string, i int, c byte) int {
	n := strings.IndexByte(s[i+1:], c)
	if n < 0 {
		return -1
	}
	return i + 1 + n
}

// comment is the index of the parenthesis that closes the one at s[i], or -1.
// Comments nest, RFC 3261 section 25.1.
func comment(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
