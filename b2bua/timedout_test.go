package b2bua_test

import "testing"

// A proxy on the way to one phone may say 408 of its own. The other phone, told
// so, would hang up: RFC 3261 section 12.2.1.2.
func TestA408OfAProxyInsideACallEndsNoCall(t *testing.T) {
	for _, method := range []string{"INFO", "UPDATE", "MESSAGE", "NOTIFY", "REFER", "INVITE"} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				w.alice.request(method, "")
				if method == "INVITE" {
					w.alice.next("100 INVITE")
				}
				w.bob.respond(w.bob.next(method), 408, "")
				w.alice.next("504 " + method)
				w.heard("evidence caller: " + method) // none of the callee
				if method == "INVITE" {
					w.bob.next("ACK")
				}
				w.alice.request(method, "") // and the next one finds nothing in its way
				if method == "INVITE" {
					w.alice.next("100 INVITE")
				}
				w.bob.respond(w.bob.next(method), 200, "")
				w.alice.next("200 " + method)
			})
		})
	}
}
