package b2bua_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
)

// inDoubt runs a test with an agent that may be unsure whether it owns its calls.
func inDoubt(t *testing.T, f func(w *world, may *atomic.Bool)) {
	var may atomic.Bool
	may.Store(true)
	inWorld(t, func(c *b2bua.Config) { c.May = may.Load }, func(w *world) { f(w, &may) })
}

func TestNothingOfOursIsSentInsideCallsThatMayBeAnothersByNow(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		w.connect()
		may.Store(false)
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.heard("probe callee OPTIONS: deferred")
		w.agent.Release(w.id, store.End{Reason: store.Operator})
		pass(time.Minute)
		w.heard()

		// What the far ends send passes.
		w.alice.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 200, "")
		w.alice.next("200 INFO")
		w.heard("evidence caller: INFO", "evidence callee: 200 INFO")

		may.Store(true)
		w.agent.GoOn()
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.heard("ending operator", "ended operator confirmed/confirmed")
	})
}

func TestACallThatWasDroppedIsNotReleasedLater(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		w.connect()
		may.Store(false)
		w.agent.Release(w.id, store.End{Reason: store.Callee.Gone(), Status: 481})
		pass(time.Second)
		w.agent.Drop(w.id)
		may.Store(true)
		w.agent.GoOn()
		pass(time.Minute)
		w.heard()
	})
}

func TestNodeThatStopsTakesNoNewCalls(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Drain()
		w.carol.callID, w.carol.uri = "call-2@carol", "<sip:bob@example.com>"
		w.carol.request("INVITE", offer, "Content-Type: application/sdp")
		w.carol.next("100 INVITE")
		if m := w.carol.next("503 INVITE"); m.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		if n := w.agent.Unsettled(); n != 0 {
			t.Errorf("%d calls are unsettled", n)
		}
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
	})
}

func TestRequestInsideACallOfAnotherNode(t *testing.T) {
	place, broken := b2bua.Place{}, error(nil)
	find := func(context.Context, string) (b2bua.Place, error) { return place, broken }
	inWorld(t, func(c *b2bua.Config) { c.Find = find }, func(w *world) {
		w.connect()
		w.agent.Drop(w.id) // it is elsewhere now
		ask := func(method, want string) {
			t.Helper()
			w.alice.request(method, "")
			w.alice.next(want)
		}
		ask("INFO", "481 INFO")
		broken = errors.New("the store is away")
		ask("INFO", "503 INFO")
		broken, place = nil, b2bua.Place{Addr: carolAddr} // who stands for the owner
		ask("INVITE", "503 INVITE")
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))

		w.alice.request("BYE", "")
		m := w.carol.next("BYE")
		source, seal, _ := strings.Cut(m.Get("X-Sipvigil-Source"), " ")
		if source != aliceAddr || len(seal) != 32 || len(m.All("Via")) != 2 || m.Get("Max-Forwards") != "69" {
			t.Errorf("the owner got\n%s", m.Raw)
		}
		w.carol.respond(m, 200, "")
		if m := w.alice.next("200 BYE"); len(m.All("Via")) != 1 {
			t.Errorf("the phone got %d Vias", len(m.All("Via")))
		}
	})
}

func TestOnlyANodeCanSayWhereARequestCameFrom(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("INFO", "", "X-Sipvigil-Source: 192.0.2.66:5060 00112233445566778899aabbccddeeff")
		m := w.bob.next("INFO") // served as alice's
		if m.Get("X-Sipvigil-Source") != "" {
			t.Error("the header is passed on")
		}
		w.bob.respond(m, 200, "")
		w.alice.next("200 INFO")
	})
}
