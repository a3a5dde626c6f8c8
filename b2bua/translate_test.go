package b2bua

import (
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// joined is an agent with one call, whose legs are known by fixed names.
func joined() (*Agent, *call) {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	a := &Agent{calls: make(map[string]*call), lingering: make(map[string]*call)}
	leg := func(side store.Side, tag string) store.Leg {
		return store.Leg{Dialog: store.Dialog{CallID: side.String() + "@h", LocalTag: dialog.MintTag(nil, id, side), RemoteTag: tag}}
	}
	c := a.newCall(store.Call{ID: id, State: store.Confirmed, Answered: time.Now(),
		Legs: [2]store.Leg{leg(store.Caller, "alice"), leg(store.Callee, "")}})
	c.subscriptions = []*subscription{{subscriber: store.Caller, event: "refer", id: [2]string{"72", "2"}}}
	a.calls[id] = c
	return a, c
}

func TestAnRFC2543PhoneIsNamedByATagOfZero(t *testing.T) {
	a, c := joined()
	alice, bob := &c.rec.Legs[0].Dialog, &c.rec.Legs[1].Dialog
	got := a.seen("caller@h;to-tag="+alice.LocalTag+";from-tag=alice", dialog.Replaces)
	if want := "callee@h;to-tag=0;from-tag=" + bob.LocalTag; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, by := range []string{";from-tag=0", ";from-tag=none"} {
		got := a.seen("callee@h;to-tag="+bob.LocalTag+by, dialog.Replaces)
		if want := "caller@h;to-tag=alice;from-tag=" + alice.LocalTag; (got == want) != (by == ";from-tag=0") {
			t.Errorf("%s: got %s", by, got)
		}
	}
}

// FuzzRelayHeaders demands of every header, whatever is in it, that it passes
// as one header, and that what was translated once is not translated again.
func FuzzRelayHeaders(f *testing.F) {
	_, c := joined()
	ours := c.rec.Legs[0].LocalTag
	for _, seed := range [][2]string{
		{"Replaces", "caller@h;to-tag=" + ours + ";from-tag=alice;early-only"},
		{"Join", "callee@h;from-tag=" + c.rec.Legs[1].LocalTag + ";to-tag=0"},
		{"Target-Dialog", "caller@h;local-tag=" + ours + ";remote-tag=alice"},
		{"Refer-To", "\"x\" <sip:c@h;method=INVITE?a=b&Replaces=caller%40h%3Bto-tag%3D" + ours + "%3Bfrom-tag%3Dalice&Require=replaces>;y"},
		{"r", "<sip:c@h?Replaces=%3B&replaces=%>"},
		{"Event", "refer;id=2"}, {"o", "refer ;x=\"id=2\";ID= 2"},
		{"Session-ID", "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000"},
		{"Remote-Party-ID", "<sip:a@h>;privacy=full"}, {"Privacy", "id;;,user"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if strings.ContainsAny(name+text, "\r\n") || strings.ContainsAny(name, ": \t") || name == "" || ownHeaders[long(name)] {
			return
		}
		text = strings.Trim(text, lws)
		_, c := joined()
		pass := func(text string) []string {
			var dst header
			src := &received{method: "NOTIFY", fields: []headerField{{fieldNamed(name), text}}}
			c.relayHeaders(&dst, src, store.Callee)
			return dst.values(long(name))
		}
		once := pass(text)
		if len(once) > 1 || len(once) == 1 && strings.ContainsAny(once[0], "\r\n") {
			t.Fatalf("%s: %q became %q", name, text, once)
		}
		if len(once) == 0 || long(name) == "event" {
			return
		}
		if again := pass(once[0]); len(again) != 1 || again[0] != once[0] {
			t.Errorf("%s: %q became %q, and that %q", name, text, once, again)
		}
	})
}
