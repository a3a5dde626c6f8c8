package b2bua

import (
	"regexp"
	"strconv"
	"strings"

	"sipvigil/b2bua/dialog"
)

// change is what becomes of a number.
type change struct{ from, to string }

// numbers are those of a call to a trunk, which its route has rewritten. One that
// stays is the same on both sides.
type numbers struct{ called, calling change }

// match says whether a route takes a request, and what becomes of its numbers
// then, nil when they stay. A route that would leave nothing of a number that
// can be one takes no such request.
func (r *Route) match(q query) (*numbers, bool) {
	if r.From != "" && r.From != q.from {
		return nil, false
	}
	called, ok := rewrite(q.uri.User, r.User, r.SetUser)
	if !ok {
		return nil, false
	}
	calling, ok := rewrite(q.caller, r.Caller, r.SetCaller)
	switch {
	case !ok:
		return nil, false
	case r.SetUser == "" && r.SetCaller == "":
		return nil, true
	default:
		return &numbers{called, calling}, true
	}
}

// whole is the expression of a number that none is configured for.
var whole = regexp.MustCompile(`^(.*)$`)

// rewrite matches the number of a user part, and makes what is wanted of it; it
// is false when the expression does not match, or when that is no number.
func rewrite(user string, expression *regexp.Regexp, template string) (change, bool) {
	number := numberOf(user)
	if expression == nil {
		expression = whole
	}
	at := expression.FindStringSubmatchIndex(number)
	switch {
	case at == nil:
		return change{}, false
	case template == "":
		return change{number, number}, true
	}
	to := string(expression.ExpandString(nil, template, number, at))
	return change{number, to}, isNumber(to)
}

// numberOf is the number in the user part of a URI: without a password and
// without the parameters of a telephone number, and with those escapes undone
// that stand for what needs none, RFC 3261 section 19.1.4, so that nobody gets
// past a route by writing a number in another way. What is no escape becomes one
// of the percent sign: together with what comes of an escape behind it, it would
// else be an escape for those behind us.
func numberOf(user string) string {
	if end := strings.IndexAny(user, ":;"); end >= 0 {
		user = user[:end]
	}
	if !strings.Contains(user, "%") {
		return user
	}
	var b strings.Builder
	for i := 0; i < len(user); i++ {
		if isEscape(user[i:]) {
			if n, _ := strconv.ParseUint(user[i+1:i+3], 16, 8); n == '+' || isUnreserved(byte(n)) {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(user[i])
		if user[i] == '%' && !isEscape(user[i:]) {
			b.WriteString("25")
		}
	}
	return b.String()
}

// renumbered is a user part with another number. A password and the parameters
// of the number stay.
func renumbered(user string, n change) string {
	if n.from == n.to {
		return user
	}
	if end := strings.IndexAny(user, ":;"); end >= 0 {
		return n.to + user[end:]
	}
	return n.to
}

// isNumber says whether a text can be the user part of a URI, RFC 3261 section
// 25.1, without a semicolon or a question mark, which would begin something
// else in a telephone number.
func isNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isUnreserved(c), strings.IndexByte("&=+$,/", c) >= 0:
		case isEscape(s[i:]):
		default:
			return false
		}
	}
	return s != ""
}

// isUnreserved says whether a character means the same with and without an
// escape.
func isUnreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()", c) >= 0
}

// isEscape says whether a text begins with an escape.
func isEscape(s string) bool { return len(s) > 2 && s[0] == '%' && isHex(s[1]) && isHex(s[2]) }

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

// in is a From or To value in which the number is the new one, if it is the old
// one there.
func (n change) in(value string) string {
	if n.from == n.to {
		return value
	}
	addr, err := dialog.ParseAddr(value)
	if err != nil {
		return value
	}
	u, err := dialog.ParseURI(addr.URI)
	if err != nil || u.Scheme != "sip" && u.Scheme != "sips" && u.Scheme != "tel" || numberOf(u.User) != n.from {
		return value
	}
	u.User = renumbered(u.User, n)
	return dialog.WithURI(value, u.String())
}

// callingNumbers are the headers besides From that say who calls.
var callingNumbers = map[string]bool{"p-asserted-identity": true, "p-preferred-identity": true, "remote-party-id": true}

// apply has an INVITE that goes out say the new numbers wherever it says the old
// ones: From and To have them already.
//
// Departs from RFC 8224 section 4: Identity goes when a number was rewritten,
// because its signature is over the old ones and would fail further on.
func (n *numbers) apply(out *request) {
	if n == nil || n.called.from == n.called.to && n.calling.from == n.calling.to {
		return
	}
	out.edit(func(name, value string) (string, bool) {
		switch {
		case name == "identity" || name == "y":
			return "", false
		case callingNumbers[name] && n.calling.from != n.calling.to:
			list := dialog.SplitList(value)
			for i := range list {
				list[i] = n.calling.in(list[i])
			}
			return strings.Join(list, ", "), true
		}
		return value, true
	})
}
