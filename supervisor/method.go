package supervisor

import "strings"

// Method says with which requests legs are asked.
type Method string

// The methods.
const (
	// Auto asks with OPTIONS, and with UPDATE where the far end answers OPTIONS
	// whether it knows the dialog or not.
	Auto Method = "auto"
	// Options asks with OPTIONS only.
	Options Method = "options"
	// Update asks with UPDATE without SDP where the far end allows it.
	Update Method = "update"
	// Reinvite asks with a re-INVITE that repeats the session as it stands.
	Reinvite Method = "reinvite"
)

// methods are the requests that a leg can be asked with, as bits.
type methods uint8

const (
	options methods = 1 << iota
	update
	invite
)

var methodNames = map[methods]string{options: "OPTIONS", update: "UPDATE", invite: "INVITE"}

// order is in which order a leg is asked with what, until it refuses.
func (m Method) order(blind bool) []methods {
	switch {
	case m == Reinvite:
		return []methods{invite, update, options}
	case m == Update, m == Auto && blind:
		return []methods{update, options}
	case m == Auto:
		return []methods{options, update}
	default:
		return []methods{options}
	}
}

// choose is the request to ask with, "" when none is left. UPDATE goes only to
// a far end that says that it takes it: RFC 3311 section 4.
func (m Method) choose(blind bool, allowed, refused methods) string {
	for _, one := range m.order(blind) {
		if one&refused == 0 && (one != update || allowed&update != 0) {
			return methodNames[one]
		}
	}
	return ""
}

// allowedBy reads an Allow header.
func allowedBy(allow string) methods {
	for name := range strings.SplitSeq(allow, ",") {
		if strings.TrimSpace(name) == "UPDATE" {
			return options | invite | update
		}
	}
	return options | invite
}

func methodOf(name string) methods {
	for one, n := range methodNames {
		if n == name {
			return one
		}
	}
	return 0
}
