package b2bua_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// inherited runs a test with a call that another node had.
func inherited(t *testing.T, change func(*store.Call), f func(w *world)) {
	t.Helper()
	idleWorld(t, func(w *world) {
		w.serve()
		rec := w.remembered(store.Confirmed)
		rec.Leg(store.Caller).Allow = "INVITE, UPDATE"
		if change != nil {
			change(&rec)
		}
		w.restore(rec)
		w.agent.Announce([]string{"nobody's", w.id})
		synctest.Wait()
		w.obs.heard()
		f(w)
	})
}

func TestFarEndsOfAnAdoptedCallAreToldOurContact(t *testing.T) {
	inherited(t, func(rec *store.Call) {
		rec.Leg(store.Callee).Session.Offer = offer
	}, func(w *world) {
		m := w.alice.next("UPDATE")
		same(t, m.Get("CSeq")+" "+m.Get("Contact")+" "+string(m.Body),
			fmt.Sprintf("%d UPDATE <sip:bob@%s> ", 32+dialog.Jump+1, agentAddr))
		w.bob.nothing() // one after the other
		w.alice.respond(m, 200, "", "Contact: <sip:alice@192.0.2.9>")
		w.heard("evidence caller: 200 UPDATE")
		pass(5 * time.Millisecond)
		m = w.bob.next("INVITE")
		same(t, m.Get("CSeq")+" "+m.Get("Contact")+" "+string(m.Body),
			fmt.Sprintf("%d INVITE <sip:alice@%s> %s", 160+dialog.Jump+1, agentAddr, offer))
		w.bob.respond(m, 200, answer, "Content-Type: application/sdp")
		w.bob.next("ACK")
		w.heard("evidence callee: 200 INVITE")
		same(t, w.store.saved[w.id].Legs[store.Caller].Target, "sip:alice@192.0.2.9")
		pass(time.Minute)
		w.alice.nothing()
		w.bob.nothing()
	})
}

func TestAFarEndWhoseSessionIsNotKnownIsLeftAsItIs(t *testing.T) {
	inherited(t, nil, func(w *world) {
		w.alice.respond(w.alice.next("UPDATE"), 200, "")
		pass(time.Minute)
		w.bob.nothing()
	})
}

func TestNoAnswerToAnAnnouncementEndsACall(t *testing.T) {
	for _, status := range []int{481, 408, 405, 0} {
		inherited(t, nil, func(w *world) {
			if m := w.alice.next("UPDATE"); status > 0 {
				w.alice.respond(m, status, "")
			}
			synctest.Wait()
			for range 20 { // repetitions of what is not answered
				pass(2 * time.Second)
				w.alice.all()
			}
			w.bob.nothing()
			if c, ok := w.agent.Call(w.id); !ok || c.State != store.Confirmed {
				t.Errorf("after %d the call is %s", status, c.State)
			}
		})
	}
}

func TestAnAnnouncementWaitsForWhatIsPending(t *testing.T) {
	inherited(t, nil, func(w *world) {
		w.alice.respond(w.alice.next("UPDATE"), 491, "")
		pass(2 * time.Second) // at most, for whom did not make the Call-ID
		w.alice.respond(w.alice.next("UPDATE"), 200, "")
		w.alice.all() // it was repeated meanwhile
		pass(time.Minute)
		w.alice.nothing()
	})
	idleWorld(t, func(w *world) {
		w.serve()
		rec := w.remembered(store.Confirmed)
		rec.Leg(store.Callee).Allow = "UPDATE"
		w.restore(rec)
		w.alice.request("INVITE", offer, "Content-Type: application/sdp")
		w.alice.next("100 INVITE")
		m := w.bob.next("INVITE")
		w.bob.respond(m, 100, "")
		w.agent.Announce([]string{w.id})
		pass(time.Second)
		w.bob.nothing()
		w.bob.respond(m, 488, "")
		w.bob.next("ACK")
		w.alice.next("488 INVITE")
		w.alice.acknowledge()
		pass(2 * time.Second)
		w.bob.respond(w.bob.next("UPDATE"), 200, "")
		w.alice.nothing()
	})
}
