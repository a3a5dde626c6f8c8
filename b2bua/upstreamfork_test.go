package b2bua_test

import (
	"strings"
	"testing"

	"sipvigil/b2bua"
)

// A proxy that forks sends one INVITE to several phones by way of us: its
// copies have all in common but their branch and where they go.
func TestEachBranchOfAProxyThatForksIsACall(t *testing.T) {
	t.Run("to two users", func(t *testing.T) {
		inWorld(t, func(c *b2bua.Config) { c.NextHop = "" }, func(w *world) {
			w.alice.target = "sip:bob@" + bobAddr
			w.dial()
			w.alice.target = "sip:carol@" + carolAddr
			second := w.alice.build("INVITE", 1, offer)
			w.alice.say(second)
			w.alice.next("100 INVITE")
			w.take(w.carol)
			w.carol.respond(w.invite, 180, "")
			w.alice.next("180 INVITE")
			w.alice.say(replaceBranch(second, "z9hG4bK-alice-2", "z9hG4bK-other-way")) // a copy of a branch
			w.alice.next("482 INVITE")

			w.alice.say(swapMethod(second, "CANCEL"))
			w.alice.next("200 CANCEL")
			w.alice.next("487 INVITE")
			w.carol.next("CANCEL")
			w.bob.nothing() // the other branch goes on
		})
	})
	t.Run("to two phones of one user", func(t *testing.T) {
		inWorld(t, edge, func(w *world) {
			desk := w.dave()
			paths := []string{w.register(desk)}
			mobile := w.phone("dave", "203.0.113.10:40001") // by a NAT of its own, at the same inner address
			mobile.callID, mobile.tag, mobile.uri, mobile.from, mobile.target = "reg-2@dave", "mobile", desk.uri, desk.from, desk.target
			mobile.say(strings.ReplaceAll(behind(strings.ReplaceAll(mobile.build("REGISTER", 1, ""), "203.0.113.10:40001", flowAddr)), "dave-1", "dave-2"))
			paths = append(paths, w.bob.next("REGISTER").Get("Path"))
			w.callBack(desk, paths[0])
			w.alice.cseq--
			w.callBack(mobile, paths[1])
		})
	})
}
