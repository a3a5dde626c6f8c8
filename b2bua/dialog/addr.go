package dialog

import (
	"errors"
	"strings"
)

// Addr is the value of a From, To, Contact, Route, Record-Route or Refer-To
// header, which is a name-addr or an addr-spec with the header's parameters:
// RFC 3261 section 25.1.
type Addr struct {
	Display string // as written, with its quotes
	URI     string // without <>
	Params  string // as written after the URI, from the first semicolon on
}

// What can be wrong with an address.
var (
	errQuotes  = errors.New("quotes are not balanced")
	errAngle   = errors.New("angle brackets are not balanced")
	errDisplay = errors.New("display name is neither tokens nor quoted")
	errBare    = errors.New("comma or question mark in a URI outside angle brackets")
	errAfter   = errors.New("text between address and parameters")
	errParam   = errors.New("malformed parameter")
	errNoURI   = errors.New("no URI")
	errScheme  = errors.New("URI without scheme")
	errURIByte = errors.New("character that a URI may not hold")
	errControl = errors.New("control character")
)

// ParseAddr takes an address apart. LWS is accepted where the grammar has it
// (RFC 3261 section 25.1), and nowhere else: not inside <>. The URI has a
// scheme and only characters that can stand between <>; [ParseURI] looks
// further. A URI outside <> ends at the first semicolon, and may hold no comma
// or question mark: RFC 3261 section 20.10.
//
// Departs from RFC 3261 section 25.1: an unquoted display name need not be
// tokens, since phones write UTF-8, "@" and parentheses there, and parameters
// may be empty.
func ParseAddr(value string) (Addr, error) {
	p, err := layout(value)
	if err != nil {
		return Addr{}, err
	}
	a := Addr{
		Display: value[p.display:p.displayEnd],
		URI:     value[p.uri:p.uriEnd],
		Params:  trim(value[p.params:]),
	}
	if err := checkLines(value); err != nil {
		return Addr{}, err
	}
	if err := checkText(a.Display); err != nil {
		return Addr{}, err
	}
	if err := checkURIText(a.URI); err != nil {
		return Addr{}, err
	}
	if err := checkParams(a.Params); err != nil {
		return Addr{}, err
	}
	return a, nil
}

// Tag is the tag of a From or To value, or "" for one without: an RFC 2543
// peer's, or a value that cannot be read.
func Tag(value string) string {
	l, err := layout(value)
	if err != nil {
		return ""
	}
	tag, _ := Param(value[l.params:], "tag")
	return tag
}

// WithTag gives a From or To value this tag, in place of one that it has. All
// else keeps its bytes.
func WithTag(value, tag string) string {
	l, err := layout(value)
	if err != nil {
		return value + ";tag=" + tag
	}
	p, ok := findParam(value, l.params, "tag")
	if !ok {
		return value + ";tag=" + tag
	}
	rest := withoutParam(value[p.end:], 0, "tag")
	if p.nameEnd == p.valueEnd {
		return value[:p.nameEnd] + "=" + tag + rest
	}
	return value[:p.value] + tag + rest
}

// WithoutTag takes the tag out of a From or To value. All else keeps its
// bytes.
func WithoutTag(value string) string {
	l, err := layout(value)
	if err != nil {
		return value
	}
	return withoutParam(value, l.params, "tag")
}

// place is where the parts of an address stand in its value.
type place struct {
	display, displayEnd int
	uri, uriEnd         int
	params              int // the first semicolon after the URI, or the end
	bracketed           bool
}

// layout finds the parts of an address. Its errors are those after which it is
// not clear where the parameters begin.
func layout(value string) (place, error) {
	i := skipSpace(value, 0)
	l := place{display: i, displayEnd: i, uri: i}
	if i < len(value) && value[i] == '"' {
		end := closing(value, i)
		if end < 0 {
			return place{}, errQuotes
		}
		i = skipSpace(value, end+1)
		if i == len(value) || value[i] != '<' {
			return place{}, errDisplay
		}
	}
	for ; i < len(value); i++ {
		switch value[i] {
		case '<':
			l.displayEnd = lastSpace(value, l.display, i)
			return l.inBrackets(value, i)
		case ';':
			return l.bare(value, i)
		case '"':
			return place{}, errDisplay
		case '>':
			return place{}, errAngle
		case ',':
			return place{}, errBare
		}
	}
	return l.bare(value, i)
}

// inBrackets completes the place of a name-addr whose URI begins after
// value[open].
func (l place) inBrackets(value string, open int) (place, error) {
	end := next(value, open, '>')
	if end < 0 {
		return place{}, errAngle
	}
	l.uri, l.uriEnd, l.bracketed = open+1, end, true
	l.params = skipSpace(value, end+1)
	if l.params < len(value) && value[l.params] != ';' {
		return place{}, errAfter
	}
	return l, nil
}

// bare completes the place of an addr-spec that ends before value[end].
func (l place) bare(value string, end int) (place, error) {
	l.uriEnd = lastSpace(value, l.uri, end)
	l.params = end
	if strings.IndexByte(value[l.uri:l.uriEnd], '?') >= 0 {
		return place{}, errBare
	}
	return l, nil
}

// checkLines finds line ends that do not fold, which would begin a new header
// when the value is sent on.
func checkLines(s string) error {
	for i := range len(s) {
		if s[i] != '\r' && s[i] != '\n' {
			continue
		}
		j := i + 1
		if s[i] == '\r' && j < len(s) && s[j] == '\n' {
			j++
		}
		if j == len(s) || s[j] != ' ' && s[j] != '\t' {
			return errControl
		}
	}
	return nil
}

// checkText finds control characters in a display name or a quoted string.
func checkText(s string) error {
	quoted := s != "" && s[0] == '"'
	for i := 0; i < len(s); i++ {
		if quoted && s[i] == '\\' {
			// RFC 3261 section 25.1: quoted-pair escapes all but CR and LF.
			if i++; s[i] == '\r' || s[i] == '\n' {
				return errControl
			}
			continue
		}
		if isControl(s[i]) && !isSpace(s[i]) {
			return errControl
		}
	}
	return nil
}

func checkURIText(s string) error {
	if s == "" {
		return errNoURI
	}
	for i := range len(s) {
		if !inURI(s[i]) {
			return errURIByte
		}
	}
	if colon := schemeEnd(s); colon < 0 || colon == len(s)-1 {
		return errScheme
	}
	return nil
}

// checkParams says whether every parameter is a name, or a name and a value
// that is quoted or has nothing to quote. Empty ones are let pass.
func checkParams(s string) error {
	for i := 0; ; {
		p, ok := nextParam(s, i)
		if !ok {
			return nil
		}
		i = p.end
		name, value := s[p.name:p.nameEnd], s[p.value:p.valueEnd]
		if name == "" && p.end > p.name {
			return errParam
		}
		if value != "" && value[0] == '"' {
			if closing(value, 0) != len(value)-1 {
				return errQuotes
			}
			if err := checkText(value); err != nil {
				return err
			}
			value = ""
		}
		if !isPlain(name) || !isPlain(value) {
			return errParam
		}
	}
}

func isPlain(s string) bool {
	for i := range len(s) {
		if !inURI(s[i]) || s[i] == '"' || s[i] == ',' {
			return false
		}
	}
	return true
}

func isControl(c byte) bool { return c < ' ' || c == 0x7f }

// inURI says whether c may stand in a URI between <>.
//
// Departs from RFC 3261 section 25.1: quotes may, since some proxies write them
// into their Record-Route, and so may UTF-8.
func inURI(c byte) bool { return c > ' ' && c != 0x7f && c != '<' && c != '>' }
