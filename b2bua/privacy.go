package b2bua

import "strings"

// Who a user is, as a network says that has checked it: RFC 3325. The border is
// drawn by trunk: peers of a trusted one are inside. Where no trunk is
// configured there is no border, and everything passes.
//
// Privacy passes as it is, whatever it asks for: we hide nothing but what is
// asserted, and whoever is told to do more comes behind us. In a back-to-back
// user agent Via, Contact and Record-Route are its own anyway.

// trusts says whether the peers of a trunk are inside the border.
func (a *Agent) trusts(trunk string) bool {
	for i := range a.cfg.Trunks {
		if t := &a.cfg.Trunks[i]; t.Name == trunk {
			return t.Trusted
		}
	}
	return len(a.cfg.Trunks) == 0
}

// asserted passes P-Asserted-Identity: not what somebody outside asserts, and
// not to the outside when the user wants it kept inside. RFC 3325 sections 5
// and 7.
func (x *crossing) asserted(value string) (string, bool) {
	return value, x.agent.trusts(x.from) && (x.agent.trusts(x.to) || !x.private())
}

// preferred passes P-Preferred-Identity, which is a hint for who authenticates
// the user, only to the inside.
//
// Departs from RFC 3325 section 6: it is not taken out there, because we do not
// authenticate users; who does comes behind us.
func (x *crossing) preferred(value string) (string, bool) {
	return value, x.agent.trusts(x.to)
}

// remoteParty passes Remote-Party-ID, from which RFC 3325 was made, as asserted
// does. It has a wish for privacy of its own.
func (x *crossing) remoteParty(value string) (string, bool) {
	if value, ok := x.asserted(value); !ok || x.agent.trusts(x.to) {
		return value, ok
	}
	return value, !hidden(value)
}

// hidden says whether a parameter of Remote-Party-ID asks for privacy.
func hidden(value string) bool {
	for param := range strings.SplitSeq(value, ";") {
		name, wish, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "privacy") && !strings.EqualFold(strings.Trim(wish, " \t\""), "off") {
			return true
		}
	}
	return false
}

// private says whether a message asks that asserted identities stay inside: RFC
// 3325 section 9.3.
func (x *crossing) private() bool {
	for _, v := range values(x.src, "privacy") {
		for _, wish := range strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(";, \t\r\n", r) }) {
			if strings.EqualFold(wish, "id") {
				return true
			}
		}
	}
	return false
}
