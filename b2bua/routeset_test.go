package b2bua_test

import (
	"strings"
	"testing"
)

// What rang and what answered may have come by different proxies. RFC 3261
// section 13.2.2.4: the 2xx says which way is in force, and the numbers go on.
func TestTheRouteSetOfACallIsThatOfIts2xx(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		const first, last, far = "<sip:127.0.0.1:5072;lr;x=1>", "<sip:127.0.0.1:5073;lr>", "<sip:far.example.com;lr>"
		w.dial()
		w.alice.sent = 40
		a := w.early(w.bob, 183, "Record-Route: "+first, "RSeq: 1", "Require: 100rel")
		a.request("PRACK", "", "RAck: 1 1 INVITE")
		m := w.bob.next("PRACK")
		same(w.T, strings.Join(m.All("Route"), "|"), first)
		w.bob.respond(m, 200, "")
		w.alice.next("200 PRACK")

		w.alice.sent = 80
		w.accept("Record-Route: " + far + ", " + last)
		w.alice.say(w.alice.build("ACK", 1, ""))
		w.alice.cseq++
		w.alice.request("INFO", "")
		for _, want := range []string{"ACK 1 ACK", "INFO 3 INFO"} {
			m = w.carol.next(strings.Fields(want)[0])
			same(w.T, m.Method+" "+m.Get("CSeq")+" "+strings.Join(m.All("Route"), "|"), want+" "+last+"|"+far)
		}
		w.bob.nothing()
	})
}
