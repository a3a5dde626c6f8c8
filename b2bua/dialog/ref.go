package dialog

import (
	"errors"
	"strings"
)

// Ref is a dialog that a header names by its Call-ID and its tags, as whoever
// receives the header sees it.
type Ref struct {
	CallID    string
	LocalTag  string // the receiver's own; "0" for one that has none
	RemoteTag string // that of the receiver's peer; "0" likewise
}

// RefNames are the parameters in which a header has the tags of a Ref.
type RefNames struct{ Local, Remote string }

// The headers that hold a Ref.
var (
	// RFC 3891 section 6.1, and for Join RFC 3911 section 7.1.
	Replaces = RefNames{"to-tag", "from-tag"}
	// RFC 4538 section 7.
	TargetDialog = RefNames{"local-tag", "remote-tag"}
)

var errRef = errors.New("not a Call-ID with one tag of each side")

// ReadRef reads a value of Replaces, Join or Target-Dialog. Each tag has to be
// there once.
func ReadRef(value string, names RefNames) (Ref, error) {
	callID, params := cut(value, ';')
	r := Ref{CallID: trim(callID)}
	if !isCallID(r.CallID) || checkLines(value) != nil || checkParams(params) != nil {
		return Ref{}, errRef
	}
	for name, tag := range map[string]*string{names.Local: &r.LocalTag, names.Remote: &r.RemoteTag} {
		p, ok := findParam(params, 0, name)
		if !ok {
			return Ref{}, errRef
		}
		if _, more := findParam(params, p.end, name); more {
			return Ref{}, errRef
		}
		if *tag = params[p.value:p.valueEnd]; !isToken(*tag) {
			return Ref{}, errRef
		}
	}
	return r, nil
}

// WithRef puts another dialog into a value that [ReadRef] can read. All else
// keeps its bytes.
func WithRef(value string, names RefNames, r Ref) string {
	_, params := cut(value, ';')
	for name, tag := range map[string]string{names.Local: r.LocalTag, names.Remote: r.RemoteTag} {
		if p, ok := findParam(params, 0, name); ok {
			params = params[:p.value] + tag + params[p.valueEnd:]
		}
	}
	return r.CallID + params
}

// Is says whether the dialog is this one. A tag of zero stands for none too:
// RFC 3891 section 6.1.
func (r Ref) Is(callID, localTag, remoteTag string) bool {
	same := func(named, tag string) bool { return named == tag || named == "0" && tag == "" }
	return r.CallID == callID && same(r.LocalTag, localTag) && same(r.RemoteTag, remoteTag)
}

// isCallID says whether this can be a Call-ID. Its words have neither spaces
// nor separators of lists and parameters: RFC 3261 section 25.1.
func isCallID(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == ',' || s[i] == ';' {
			return false
		}
	}
	return s != ""
}

// Event reads an Event value: the package, and the id of the subscription if
// there is one. RFC 6665 section 8.2.1.
func Event(value string) (name, id string) {
	name, params := cut(value, ';')
	id, _ = Param(params, "id")
	return trim(name), id
}

// WithParam gives the first parameter of this name another value, if it has
// one. The parameters begin at the first semicolon, as in Event and Session-ID.
func WithParam(value, name, text string) string {
	p, ok := findParam(value, 0, name)
	if !ok || p.nameEnd == p.valueEnd {
		return value
	}
	return value[:p.value] + text + value[p.valueEnd:]
}

// WithURI puts another URI into an address that [ParseAddr] can read.
func WithURI(value, uri string) string {
	l, err := layout(value)
	if err != nil {
		return value
	}
	return value[:l.uri] + uri + value[l.uriEnd:]
}

// Header finds a header in a URI, and takes the escapes of its value away: RFC
// 3261 section 19.1.1. It is there once.
func (u URI) Header(name string) (value string, ok bool) {
	for pair := range u.headers() {
		key, text, _ := strings.Cut(pair, "=")
		if key, _ = unescape(key); !strings.EqualFold(key, name) {
			continue
		}
		if ok {
			return "", false // which of the two is meant?
		}
		if value, ok = unescape(text); !ok {
			return "", false
		}
	}
	return value, ok
}

// WithHeader gives a header that the URI has another value. All else keeps its
// bytes.
func (u URI) WithHeader(name, value string) URI {
	var b strings.Builder
	separator := byte('?')
	for pair := range u.headers() {
		b.WriteByte(separator)
		separator = '&'
		key, _, _ := strings.Cut(pair, "=")
		if plain, _ := unescape(key); strings.EqualFold(plain, name) {
			pair = key + "=" + escape(value)
		}
		b.WriteString(pair)
	}
	u.Headers = b.String()
	return u
}

func (u URI) headers() func(func(string) bool) {
	if u.Headers == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(u.Headers[1:], "&")
}

// unescape replaces %HH; false when a percent sign stands before anything else.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, ok := hexDigit(s[i+1])
		low, also := hexDigit(s[i+2])
		if !ok || !also {
			return "", false
		}
		b = append(b, high<<4|low)
		i += 2
	}
	return string(b), true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// escape writes a header's value so that it can stand in a URI: all but
// unreserved and hnv-unreserved of RFC 3261 section 25.1.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		c := s[i]
		alphanum := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if alphanum || strings.IndexByte("-_.!~*'()[]/?:+$", c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', digits[c>>4], digits[c&15])
	}
	return string(b)
}
