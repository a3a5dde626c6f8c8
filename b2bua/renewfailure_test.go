package b2bua_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/store"
)

// refuses has a far end refuse a refresh that is due now.
func (w *world) refuses(p *phone, method string, status int, extra ...string) {
	w.Helper()
	m := p.next(method)
	p.respond(m, status, "", extra...)
	if method == "INVITE" {
		p.next("ACK")
	}
}

func TestA422ToOurRefreshRaisesTheInterval(t *testing.T) {
	for _, tt := range []struct{ allow, method string }{{"Allow: UPDATE", "UPDATE"}, {byReinvite, "INVITE"}} {
		t.Run(tt.method, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.ours(store.Callee, tt.allow)
				pass(45 * time.Second)
				w.refuses(w.bob, tt.method, 422, "Min-SE: 300")
				m := w.bob.next(tt.method)
				same(w.T, m.Get("CSeq")+" "+timerOf(m), "3 "+tt.method+" 300;refresher=uac||300")
				w.bob.respond(m, 200, "", "Session-Expires: 300;refresher=uac")
				if tt.method == "INVITE" {
					w.bob.next("ACK")
				}
				same(w.T, w.sessions(), "callee 5m0s self")
				pass(150*time.Second - time.Millisecond)
				w.bob.nothing()
				pass(time.Millisecond)
				same(w.T, timerOf(w.bob.next(tt.method)), "300;refresher=uac||300")
			})
		})
	}
}

func TestA422WithoutEndIsNotFollowed(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.ours(store.Callee, "Allow: UPDATE")
		pass(45 * time.Second)
		for i := range 4 {
			w.refuses(w.bob, "UPDATE", 422, fmt.Sprintf("Min-SE: %d", 100+i))
		}
		w.bob.nothing()
		pass(22500 * time.Millisecond) // half of what is left
		w.refuses(w.bob, "UPDATE", 422)
		w.bob.nothing()
	})
}

func TestOurRefreshWaitsAfterA491AsLongAsTheCallIDSays(t *testing.T) {
	for _, side := range store.Sides {
		t.Run(side.String(), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				p := w.ours(side, byReinvite)
				pass(45 * time.Second)
				low, high := 2100*time.Millisecond, 4*time.Second
				if side == store.Caller {
					low, high = 0, 2*time.Second
				}
				for range 5 {
					w.refuses(p, "INVITE", 491)
					start, waited := time.Now(), time.Duration(0)
					for p.waiting() == 0 && waited < time.Minute {
						pass(time.Millisecond)
						waited = time.Since(start)
					}
					if waited < low || waited > high+time.Millisecond {
						w.Errorf("waited %v, want %v to %v", waited, low, high)
					}
				}
			})
		})
	}
}

// waiting is how many datagrams have arrived.
func (p *phone) waiting() int { return len(p.host.In) }

func TestARefreshThatNobodyAnswersEndsTheCallWhenTheSessionIsOver(t *testing.T) {
	for _, method := range []string{"UPDATE", "INVITE"} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.ours(store.Caller, "Allow: "+method) // for 90 s, and 30 s before that it is over
				pass(45 * time.Second)
				pass(32*time.Second - time.Millisecond)
				w.bob.nothing()
				w.alice.all()
				pass(time.Millisecond)
				w.over(`SIP;cause=408;text="No answer inside the dialog", Q.850;cause=102`)
				w.heard("ending caller-silent(408)", "ended caller-silent(408) confirmed/confirmed")
			})
		})
	}
}

func TestARefreshThatNobodyAnswersIsSentAgainWhileTheSessionLasts(t *testing.T) {
	const interval = "Session-Expires: 600;refresher=uas"
	begin := func(w *world) {
		w.timed([]string{timer, interval, "Allow: UPDATE"}, []string{sdp})
		pass(300 * time.Second)
	}
	silence := func(w *world) { // of one refresh, and the pause after it
		w.alice.next("UPDATE")
		pass(32 * time.Second)
		w.alice.all()
		w.bob.nothing()
		pass(5*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
	}
	t.Run("until it is answered", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			begin(w)
			for range 5 {
				silence(w)
			}
			w.alice.respond(w.alice.next("UPDATE"), 200, "", "Session-Expires: 600;refresher=uac", "Require: timer")
			w.heard("evidence caller: 200 UPDATE")
			pass(300*time.Second - time.Millisecond)
			w.alice.nothing()
			pass(time.Millisecond)
			w.alice.next("UPDATE")
		})
	})
	t.Run("until it is over", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			begin(w)
			for range 7 { // 259 of 300 s; 32 s before the end it is over
				silence(w)
			}
			w.alice.next("UPDATE")
			pass(32*time.Second - time.Millisecond)
			w.alice.all()
			w.bob.nothing()
			pass(time.Millisecond)
			w.over(`SIP;cause=408;text="No answer inside the dialog", Q.850;cause=102`)
			w.heard("ending caller-silent(408)", "ended caller-silent(408) confirmed/confirmed")
		})
	})
}

func TestARefreshOfAProcessThatWasStalledIsSentAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.ours(store.Caller, "Allow: UPDATE")
		pass(45 * time.Second)
		w.alice.next("UPDATE") // until 77 s
		pass(31 * time.Second)
		w.obs.slow = 4 * time.Second // until 80 s nothing is done for this call
		w.bob.request("OPTIONS", "")
		pass(4 * time.Second)
		w.bob.next("200 OPTIONS")
		w.heard("evidence callee: OPTIONS")
		w.obs.slow = 0
		w.alice.all()
		pass(5 * time.Second)
		w.alice.respond(w.alice.next("UPDATE"), 200, "", renewed, "Require: timer")
		w.heard("evidence caller: 200 UPDATE")
	})
}

func TestARefreshOfACallThatMayBeAnothersByNowEndsNothing(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		w.ours(store.Caller, "Allow: UPDATE")
		pass(45 * time.Second)
		may.Store(false)
		pass(2 * time.Minute)
		w.alice.all()
		may.Store(true)
		w.agent.GoOn()
		pass(2 * time.Second)
		w.alice.respond(w.alice.next("UPDATE"), 200, "", renewed, "Require: timer")
		w.heard("evidence caller: 200 UPDATE")
	})
}

func TestA481ToOurRefreshEndsTheCallAtOnceAnd408WhenTheSessionIsOver(t *testing.T) {
	for _, method := range []string{"UPDATE", "INVITE"} {
		for status, want := range map[int]string{481: "callee-gone(481)", 408: "callee-silent(408)"} {
			inWorld(t, nil, func(w *world) {
				w.ours(store.Callee, "Allow: "+method)
				pass(45 * time.Second)
				w.refuses(w.bob, method, status)
				if status == 408 {
					for range 2 {
						pass(5 * time.Second)
						w.refuses(w.bob, method, status)
					}
				}
				w.alice.respond(w.alice.next("BYE"), 200, "")
				w.bob.respond(w.bob.next("BYE"), 481, "")
				w.heard("ending "+want, "ended "+want+" confirmed/already-gone")
			})
		}
	}
}

func TestARefreshThatIsRefusedIsTriedAgainWhileThereIsTime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Caller, "Allow: UPDATE")
		for _, after := range []time.Duration{45 * time.Second, 22500 * time.Millisecond, 11250 * time.Millisecond,
			5625 * time.Millisecond, 5 * time.Second} {
			pass(after - time.Millisecond)
			p.nothing()
			pass(time.Millisecond)
			w.refuses(p, "UPDATE", 503)
		}
		pass(time.Hour) // it lives, and keeps the time itself
		p.nothing()
		w.bob.nothing()

		// Whatever refreshes it sets the clock again.
		w.exchange(w.alice, w.bob, "UPDATE", []string{timer, "Session-Expires: 90;refresher=uas"}, nil)
		pass(45 * time.Second)
		p.next("UPDATE")
	})
}
