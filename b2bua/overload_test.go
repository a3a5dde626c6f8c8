package b2bua_test

import (
	"testing"
	"time"

	"sipvigil/store"
)

func TestUnderOverloadOnlyNewCallsAreRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		old := *w.alice
		w.agent.Overload()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.heard("probe callee OPTIONS: deferred")
		w.bob.nothing()

		w.alice.callID, w.alice.remoteTag, w.alice.target, w.alice.cseq = "another", "", "", 0
		w.alice.request("INVITE", offer)
		m := w.alice.next("503 INVITE")
		same(w.T, m.Get("Retry-After"), "2")
		w.alice.sent--
		w.alice.cseq = 0
		w.alice.request("INVITE", offer) // once more, and it knows nothing of the first
		same(w.T, w.alice.next("503 INVITE").ToTag(), m.ToTag())
		w.alice.remoteTag = m.ToTag()
		w.alice.say(w.alice.build("ACK", 1, ""))
		w.alice.nothing()
		w.bob.nothing()

		w.alice.callID, w.alice.remoteTag, w.alice.target, w.alice.cseq = old.callID, old.remoteTag, old.target, old.cseq
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.heard("ending caller-bye", "ended caller-bye confirmed/confirmed")
	})
}

func TestACallIsTakenAgainOnceThereIsTimeForIt(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.agent.Overload()
		w.alice.request("BYE", "") // of no call, served without delay
		w.alice.next("481 BYE")
		w.alice.cseq = 0
		w.connect()
	})
}
