package b2bua_test

import (
	"strings"
	"testing"

	"sipvigil/b2bua"
)

// A far end on another machine cannot have us speak to what listens on ours for
// nobody else.
func TestAContactOnLoopbackCountsOnThisMachineOnly(t *testing.T) {
	connect := func(w *world, contact string) {
		w.dial()
		w.bob.say(strings.Replace(w.bob.response(w.invite, 200, ""), "<sip:bob@"+w.bob.host.Addr.String()+">", contact, 1))
		m := w.alice.next("200 INVITE")
		w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
	}
	const away = "198.51.100.7:5060"
	for _, contact := range []string{
		"<sip:carol@" + carolAddr + ">", "<sip:127.0.0.9:6379;transport=tcp>", "<sip:[::1]:6379>", "<sip:0.0.0.0:6379>",
		"<sip:bob@" + away + ";maddr=127.0.0.1>", "<sip:bob@" + away + ";maddr=224.0.0.1>", "<sip:localhost:5073>",
	} {
		inWorld(t, func(c *b2bua.Config) { c.NextHop = "sip:" + away }, func(w *world) {
			w.bob = w.phone("bob", away)
			w.bob.tag, w.bob.cseq = "bob-tag", 100
			connect(w, contact)
			w.bob.next("ACK")
			w.alice.request("INFO", "")
			w.bob.next("INFO")
			w.carol.nothing()
		})
	}
	inWorld(t, nil, func(w *world) {
		connect(w, "<sip:carol@"+carolAddr+">")
		w.carol.next("ACK")
	})
}
