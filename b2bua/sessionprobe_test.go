package b2bua_test

import (
	"testing"
	"time"

	"sipvigil/store"
)

func TestAProbeByUpdateCarriesTheTimerAndIsARefresh(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, nil)
		pass(45 * time.Second)
		w.agent.Probe(w.id, store.Caller, "UPDATE", 32*time.Second)
		m := w.alice.next("UPDATE")
		same(w.T, timerOf(m), "90;refresher=uas||")
		w.alice.respond(m, 200, "", "Session-Expires: 90;refresher=uas", "Require: timer")
		w.heard("probe caller UPDATE: answered 200 after 0s")
		pass(60*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.over(oldExpiry)
	})
}

// A probe by UPDATE has alice refresh later than bob waits.
func TestASessionWhoseRefreshAProbePutsOffIsRefreshedByUs(t *testing.T) {
	shared := func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac", "Require: timer", "Allow: UPDATE"})
		pass(40 * time.Second)
		w.agent.Probe(w.id, store.Caller, "UPDATE", 32*time.Second)
		w.alice.respond(w.alice.next("UPDATE"), 200, "", "Session-Expires: 90;refresher=uas", "Require: timer")
		pass(12500*time.Millisecond - 1)
		w.bob.nothing()
		pass(1)
	}
	inWorld(t, nil, func(w *world) {
		shared(w)
		m := w.bob.next("UPDATE")
		same(w.T, timerOf(m), "90;refresher=uac||")
		w.bob.respond(m, 200, "", "Session-Expires: 90;refresher=uac", "Require: timer")
		same(w.T, w.sessions(), "caller 1m30s peer, callee 1m30s self")
		pass(32500 * time.Millisecond) // alice refreshes 45 s after the probe
		w.exchange(w.alice, w.bob, "UPDATE", []string{timer, "Session-Expires: 90;refresher=uac"},
			[]string{"Session-Expires: 90;refresher=uac", "Require: timer"})
		same(w.T, w.sessions(), "caller 1m30s peer, callee 1m30s other")
		pass(60*time.Second - 1)
		w.bob.nothing()
		pass(1)
		w.over(oldExpiry)
	})
	for _, status := range []int{500, 501} { // alice does not refresh: her leg ends on time
		inWorld(t, nil, func(w *world) {
			shared(w)
			asked := 0
			for range 47 {
				for m := w.bob.poll(); m != nil; m = w.bob.poll() {
					asked++
					w.bob.respond(m, status, "")
				}
				pass(time.Second)
			}
			if asked == 0 || asked > 5 {
				w.Errorf("bob is asked %d times", asked)
			}
			w.alice.nothing()
			pass(500 * time.Millisecond)
			w.over(oldExpiry)
		})
	}
}

// Bob's leg could not be refreshed when alice does so later.
func TestAProbeDoesNotPutOffARefreshThatCannotBeMadeUpFor(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac", "Require: timer"})
		w.agent.Probe(w.id, store.Caller, "UPDATE", 32*time.Second)
		w.alice.nothing()
		w.heard("probe caller UPDATE: unable")
		w.agent.Probe(w.id, store.Callee, "UPDATE", 32*time.Second)
		w.bob.next("UPDATE")
		w.agent.Probe(w.id, store.Caller, "OPTIONS", 32*time.Second)
		w.alice.next("OPTIONS")
	})
}

func TestAFarEndThatKeepsNoTimerAnyMoreNeedNotRefresh(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, nil)
		w.agent.Probe(w.id, store.Caller, "UPDATE", 32*time.Second)
		w.alice.respond(w.alice.next("UPDATE"), 200, "")
		pass(time.Hour)
		w.alice.nothing()
		w.bob.nothing()
		same(w.T, w.sessions(), "")
	})
}
