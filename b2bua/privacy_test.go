package b2bua_test

import (
	"net/netip"
	"strings"
	"testing"

	"sipvigil/b2bua"
)

// between has calls go from a trunk with alice to one with bob.
func between(alice, bob bool) func(*b2bua.Config) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	return func(cfg *b2bua.Config) {
		cfg.Trunks = []b2bua.Trunk{
			{Name: "in", Sources: loopback, Trusted: alice},
			{Name: "out", Targets: []string{"sip:" + bobAddr}, Trusted: bob},
		}
	}
}

func TestWhoAUserIsPassesByTheTrustOfTrunks(t *testing.T) {
	const (
		pai  = "P-Asserted-Identity: \"A\" <sip:a@h>, <tel:+1>"
		ppi  = "P-Preferred-Identity: <sip:a@h>"
		rpid = "Remote-Party-ID: \"A\" <sip:a@h>;party=calling;screen=yes"
		hide = "Remote-Party-ID: \"A\" <sip:a@h>;party=calling;privacy=full"
		show = "Remote-Party-ID: \"A\" <sip:a@h>;Privacy = \"off\""
	)
	all := []string{pai, ppi, rpid, hide, show}
	for _, tt := range []struct {
		name       string
		alice, bob bool
		privacy    string
		want       []string
	}{
		{"inside", true, true, "id;user", all},
		{"from the outside", false, true, "", []string{ppi}},
		{"outside", false, false, "", nil},
		{"to the outside", true, false, "", []string{pai, rpid, show}},
		{"to the outside, privately", true, false, "user; ID;critical", nil},
		{"to the outside, with other wishes", true, false, "user;header;session", []string{pai, rpid, show}},
		{"to the outside, openly", true, false, "none", []string{pai, rpid, show}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, between(tt.alice, tt.bob), func(w *world) {
				lines := all
				if tt.privacy != "" {
					lines = append([]string{"Privacy: " + tt.privacy, "Proxy-Require: privacy"}, all...)
				}
				w.dial(lines...)
				same(w.T, whoLines(w.invite.Raw), strings.Join(tt.want, "\n"))
				same(w.T, w.invite.Get("Privacy"), tt.privacy)
				w.accept()
				w.ack()
				// The other way the other trunk is where it comes from.
				w.bob.request("UPDATE", "", lines...)
				m := w.alice.next("UPDATE")
				back := tt.want
				switch {
				case tt.alice && !tt.bob:
					back = []string{ppi}
				case !tt.alice && tt.bob:
					back = []string{pai, rpid, show}
				}
				same(w.T, whoLines(m.Raw), strings.Join(back, "\n"))
				w.alice.respond(m, 200, "", lines...)
				same(w.T, whoLines(w.bob.next("200 UPDATE").Raw), strings.Join(tt.want, "\n"))
			})
		})
	}
}

func TestWithoutTrunksAllMayPass(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("P-Asserted-Identity: <sip:a@h>", "Privacy: id", "P-Preferred-Identity: <sip:b@h>")
		same(w.T, whoLines(w.invite.Raw), "P-Asserted-Identity: <sip:a@h>\nP-Preferred-Identity: <sip:b@h>")
	})
}

func TestThePeersOfNoTrunkAreOutside(t *testing.T) {
	inWorld(t, func(cfg *b2bua.Config) {
		cfg.Trunks = []b2bua.Trunk{{Name: "elsewhere", Targets: []string{"sip:192.0.2.1"}, Trusted: true}}
	}, func(w *world) {
		w.dial("P-Asserted-Identity: <sip:a@h>", "Diversion: <sip:d@h>", "History-Info: <sip:h@h>;index=1", "Identity: a.b.c")
		same(w.T, whoLines(w.invite.Raw), "")
		same(w.T, w.invite.Get("Diversion")+w.invite.Get("History-Info")+w.invite.Get("Identity"), "<sip:d@h><sip:h@h>;index=1a.b.c")
	})
}

// whoLines are the lines of a message that tell who a user is.
func whoLines(raw string) string {
	var found []string
	for line := range strings.SplitSeq(raw, "\r\n") {
		if strings.HasPrefix(line, "P-") || strings.HasPrefix(line, "Remote-Party-ID") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}
