package b2bua_test

import (
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/store"
)

// over has both phones let go of a call that is being ended.
func (w *world) over(reason string) {
	w.Helper()
	for _, p := range []*phone{w.alice, w.bob} {
		m := p.next("BYE")
		same(w.T, m.Get("Reason"), reason)
		p.respond(m, 200, "")
	}
}

func TestASessionThatItsFarEndDoesNotRefreshEndsOnTime(t *testing.T) {
	for _, tt := range []struct {
		name            string
		asked, answered []string
		after           time.Duration
		text            string
	}{
		{"the caller's", []string{timer, "Session-Expires: 1800"}, []string{"Session-Expires: 1800;refresher=uac", "Require: timer"},
			1768 * time.Second, "caller did not refresh the session"},
		{"the callee's", []string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uas", "Require: timer"},
			60 * time.Second, "callee did not refresh the session"},
		{"the caller's alone", []string{timer, "Session-Expires: 90"}, nil,
			60 * time.Second, "caller did not refresh the session"},
		{"the callee's alone", nil, []string{"Session-Expires: 120;refresher=uas"},
			88 * time.Second, "callee did not refresh the session"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.timed(tt.asked, tt.answered)
				pass(tt.after - time.Millisecond)
				w.alice.nothing()
				w.bob.nothing()
				pass(time.Millisecond)
				w.over(oldExpiry)
				w.heard("ending session-expired(408)", "ended session-expired(408) confirmed/confirmed")
				same(w.T, w.obs.ended[0].End.Text, tt.text)
				pass(time.Hour)
				w.alice.nothing()
			})
		})
	}
}

func TestARefreshOfEitherKindStartsTheIntervalAgain(t *testing.T) {
	for _, method := range []string{"INVITE", "UPDATE"} {
		for _, side := range store.Sides {
			t.Run(method+" of the "+side.String(), func(t *testing.T) {
				inWorld(t, nil, func(w *world) {
					from, to, who := w.alice, w.bob, "uac"
					if side == store.Callee {
						from, to, who = w.bob, w.alice, "uas"
					}
					w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=" + who})
					for range 3 {
						pass(45 * time.Second)
						w.exchange(from, to, method, []string{timer, "Session-Expires: 90;refresher=uac"},
							[]string{"Session-Expires: 90;refresher=uac", "Require: timer"})
					}
					same(w.T, w.stored().Legs[side].Session.Refreshed.String(), time.Now().String())
					pass(60*time.Second - time.Millisecond)
					w.alice.nothing()
					pass(time.Millisecond)
					w.over(oldExpiry)
				})
			})
		}
	}
}

func TestARefreshThatFailsExtendsNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		pass(45 * time.Second)
		w.alice.request("UPDATE", "", timer, "Session-Expires: 90;refresher=uac")
		w.bob.respond(w.bob.next("UPDATE"), 500, "")
		w.alice.next("500 UPDATE")
		pass(15 * time.Second)
		w.over(oldExpiry)
	})
}

func TestAReinviteThatIsStillOnItsWayHoldsTheEndUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		pass(55 * time.Second)
		w.alice.request("INVITE", offer, timer, "Session-Expires: 90;refresher=uac")
		w.alice.next("100 INVITE")
		m := w.bob.next("INVITE")
		w.bob.respond(m, 180, "")
		w.alice.next("180 INVITE")
		pass(10 * time.Second)
		w.bob.respond(m, 491, "") // at 65 s
		w.bob.next("ACK")
		w.alice.refused("491")
		pass(25*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.over(oldExpiry)
	})
}

func TestAnUpdateThatIsStillOnItsWayHoldsTheEndUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		pass(50 * time.Second)
		w.alice.request("UPDATE", "", timer, "Session-Expires: 90;refresher=uac")
		m := w.bob.next("UPDATE")
		pass(14 * time.Second)
		w.bob.all() // repetitions: its answers were lost
		w.bob.respond(m, 200, "", "Session-Expires: 90;refresher=uac", "Require: timer")
		w.alice.next("200 UPDATE") // at 64 s
		pass(60*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.over(oldExpiry)
	})
}

func TestAProcessThatWasStalledWaitsOnceMore(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		pass(58 * time.Second)
		w.obs.slow = 4 * time.Second // from 58 s to 62 s nothing is done for this call
		w.bob.request("OPTIONS", "")
		pass(4 * time.Second)
		w.bob.next("200 OPTIONS")
		pass(30*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.over(oldExpiry)
	})
}

func TestAProcessThatHasLostItsLeaseByAStallWaitsOnceMore(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		pass(58 * time.Second)
		may.Store(false)
		w.obs.slow = 4 * time.Second // from 58 s to 62 s nothing is done for this call
		w.bob.request("OPTIONS", "")
		pass(5 * time.Second)
		w.bob.next("200 OPTIONS")
		may.Store(true)
		pass(29*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.over(oldExpiry)
	})
}

func TestAClockThatWasSetMeanwhileEndsNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		pass(59 * time.Second)
		w.alice.request("UPDATE", "", timer, "Session-Expires: 90;refresher=uac")
		m := w.bob.next("UPDATE")
		w.obs.slow = 1500 * time.Millisecond
		w.bob.request("OPTIONS", "")
		pass(400 * time.Millisecond)
		w.bob.respond(m, 200, "", "Session-Expires: 90;refresher=uac") // is waiting when the clock fires
		pass(1100 * time.Millisecond)
		w.bob.next("200 OPTIONS")
		w.alice.next("200 UPDATE")
		pass(time.Minute - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.over(oldExpiry)
	})
}

func TestTheClockEndsWithItsCall(t *testing.T) {
	timed := func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
	}
	t.Run("by BYE", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			timed(w)
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.respond(w.bob.next("BYE"), 200, "")
			pass(time.Hour)
			w.alice.nothing()
			w.bob.nothing()
		})
	})
	t.Run("by another owner", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			timed(w)
			w.agent.Drop(w.id)
			pass(time.Hour)
			w.alice.nothing()
			w.bob.nothing()
		})
	})
}

func TestARestartGivesAFarEndTheWholeIntervalAgain(t *testing.T) {
	idleWorld(t, func(w *world) {
		rec := w.remembered(store.Confirmed)
		s := store.Session{Interval: 90 * time.Second, Refresher: store.Peer, Refreshed: time.Now()}
		rec.Legs[store.Caller].Session = s
		s.Refresher = store.Other
		rec.Legs[store.Callee].Session = s
		pass(time.Hour) // down
		w.restore(rec)
		w.serve()
		w.heard("confirmed")
		pass(45 * time.Second)
		w.exchange(w.alice, w.bob, "UPDATE", []string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		pass(60*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.over(oldExpiry)
	})
}
