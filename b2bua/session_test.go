package b2bua_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/test/ua"
)

const (
	timer     = "Supported: timer"
	sdp       = "Content-Type: application/sdp"
	askUAS    = "Session-Expires: 1800;refresher=uas"
	oldExpiry = `SIP;cause=408;text="Session expired", Q.850;cause=102`
)

// timed makes a confirmed call; the caller asks for a session timer with these
// header lines, and the callee answers with those.
func (w *world) timed(asked, answered []string) *ua.Message {
	w.Helper()
	w.dial(asked...)
	m := w.accept(answered...)
	w.ack()
	w.heard("started", "evidence caller: ACK", "confirmed")
	return m
}

// sessions are the session timers of both legs in the record.
func (w *world) sessions() string {
	synctest.Wait()
	rec, _ := w.agent.Call(w.id)
	var all []string
	for _, side := range store.Sides {
		if s := rec.Legs[side].Session; s != (store.Session{}) {
			all = append(all, fmt.Sprintf("%v %v %s", side, s.Interval, s.Refresher))
		}
	}
	return strings.Join(all, ", ")
}

func timerOf(m *ua.Message) string {
	return m.Get("Session-Expires") + "|" + strings.Join(m.Values("Require"), ",") + "|" + strings.Join(m.Values("Min-SE"), ",")
}

// over has both phones let go of a call that is being ended.
func (w *world) over(reason string) {
	w.Helper()
	for _, p := range []*phone{w.alice, w.bob} {
		m := p.next("BYE")
		same(w.T, m.Get("Reason"), reason)
		p.respond(m, 200, "")
	}
}

func TestWhatBothFarEndsNegotiatePassesThrough(t *testing.T) {
	for _, tt := range []struct {
		asked, answered []string
		got             string // by the caller
		sessions        string
	}{
		{[]string{timer, "Session-Expires: 1800"}, []string{"Session-Expires: 1800;refresher=uac", "Require: timer"},
			"1800;refresher=uac|timer|", "caller 30m0s peer, callee 30m0s other"},
		{[]string{timer, "x: 3600;refresher=uas", "Min-SE: 100"}, []string{"Session-Expires: 200;refresher=uas", "Require: timer"},
			"200;refresher=uas|timer|", "caller 3m20s other, callee 3m20s peer"},
		{[]string{"k: 100rel,timer"}, []string{"Session-Expires: 600;refresher=uac", "Require: timer"},
			"600;refresher=uac|timer|", "caller 10m0s peer, callee 10m0s other"},
		{[]string{timer, "Session-Expires: 1800"}, []string{timer}, "||", ""},
		{[]string{timer}, nil, "||", ""},
		{nil, nil, "||", ""},
	} {
		t.Run(strings.Join(append(tt.asked, tt.answered...), " "), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				res := w.timed(tt.asked, tt.answered)
				same(w.T, timerOf(res), tt.got)
				same(w.T, w.sessions(), tt.sessions)
				for _, line := range tt.asked {
					if !strings.Contains(w.invite.Raw, "\r\n"+line+"\r\n") {
						w.Errorf("%s did not reach the callee", line)
					}
				}
				for _, side := range store.Sides {
					if diff := cmp.Diff(w.stored().Legs[side].Session, w.rec().Legs[side].Session); diff != "" {
						w.Errorf("%v: not what is stored: %s", side, diff)
					}
				}
			})
		})
	}
}

// stored is the record that the store was given last.
func (w *world) stored() store.Call {
	synctest.Wait()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.saved[w.id]
}

func (w *world) rec() store.Call { rec, _ := w.agent.Call(w.id); return rec }

func TestASideThatTakesNoPartIsSpared(t *testing.T) {
	for _, tt := range []struct {
		asked, answered []string
		got, sessions   string
	}{
		{[]string{timer, "Session-Expires: 1800"}, nil, "1800;refresher=uac|timer|", "caller 30m0s peer"},
		{[]string{timer, "Session-Expires: 1800;refresher=uac"}, nil, "1800;refresher=uac|timer|", "caller 30m0s peer"},
		{[]string{timer, askUAS}, nil, "1800;refresher=uas|timer|", "caller 30m0s self"},
		{nil, []string{"Session-Expires: 1800;refresher=uas", "Require: timer, x", "Require: y"}, "|x,y|", "callee 30m0s peer"},
		{nil, []string{"x: 1800;refresher=uac", "Require: Timer"}, "||", "callee 30m0s self"},
		{nil, []string{timer}, "||", ""},
	} {
		t.Run(strings.Join(append(tt.asked, tt.answered...), " "), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				same(w.T, timerOf(w.timed(tt.asked, tt.answered)), tt.got)
				same(w.T, w.sessions(), tt.sessions)
			})
		})
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

// exchange has a request of one phone answered by the other and gives both as
// they arrived.
func (w *world) exchange(from, to *phone, method string, asked, answered []string) (*ua.Message, *ua.Message) {
	w.Helper()
	body := ""
	if method == "INVITE" {
		body, asked, answered = offer, append(asked, sdp), append(answered, sdp)
	}
	from.request(method, body, asked...)
	if method == "INVITE" {
		from.next("100 INVITE")
	}
	req := to.next(method)
	to.respond(req, 200, body, answered...)
	res := from.next("200 " + method)
	if method == "INVITE" {
		from.say(from.build("ACK", from.cseq, ""))
		to.next("ACK")
	}
	return req, res
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

func TestA2xxWithoutATimerTurnsItOff(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		req, _ := w.exchange(w.alice, w.bob, "UPDATE", []string{timer}, []string{timer})
		same(w.T, timerOf(req), "||")
		same(w.T, w.sessions(), "")
		if s := w.stored().Legs[0].Session; s != (store.Session{}) {
			w.Errorf("%+v is stored", s)
		}
		pass(time.Hour)
		w.alice.nothing()
		w.bob.nothing()
	})
}

// refused has a phone take a refusal of the INVITE that it sent last.
func (p *phone) refused(status string) *ua.Message {
	p.t.Helper()
	m := p.next(status + " INVITE")
	p.sent--
	p.say(p.build("ACK", p.cseq, ""))
	return m
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

func TestAnIntervalThatIsTooShortIsRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		short := []string{timer, "Session-Expires: 89"}
		w.alice.request("INVITE", offer, short...)
		w.alice.next("100 INVITE")
		same(w.T, timerOf(w.alice.refused("422")), "||90")
		w.bob.nothing()
		w.heard()

		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		for _, p := range []*phone{w.alice, w.bob} {
			p.request("UPDATE", "", short...)
			same(w.T, timerOf(p.next("422 UPDATE")), "||90")
			p.request("INVITE", offer, short...)
			same(w.T, timerOf(p.refused("422")), "||90")
		}
		w.alice.nothing()
		w.bob.nothing()
		pass(60 * time.Second) // none of them refreshed anything
		w.over(oldExpiry)
	})
}

func TestAnIntervalOfAProxyIsNotRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("Session-Expires: 30")
		same(w.T, timerOf(w.invite), "30||")
	})
}

func TestA422OfTheFarEndPassesThrough(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial(timer, "Session-Expires: 100")
		w.bob.respond(w.invite, 422, "", "Min-SE: 600")
		same(w.T, timerOf(w.alice.next("422 INVITE")), "||600")
		w.bob.next("ACK")
		w.heard("started", "ended callee-rejected(422) /")
		res := w.timed([]string{timer, "Session-Expires: 600", "Min-SE: 600"}, []string{"Session-Expires: 600;refresher=uac", "Require: timer"})
		same(w.T, timerOf(w.invite)+" "+timerOf(res), "600||600 600;refresher=uac|timer|")
		for _, p := range [][2]*phone{{w.alice, w.bob}, {w.bob, w.alice}} {
			p[0].request("UPDATE", "", timer, "Session-Expires: 600")
			p[1].respond(p[1].next("UPDATE"), 422, "", "Min-SE: 700")
			same(w.T, timerOf(p[0].next("422 UPDATE")), "||700")
		}
		same(w.T, w.sessions(), "caller 10m0s peer, callee 10m0s other")
	})
}

// A leg's own timer must survive a request of the side that knows no timers.
func TestARequestOfASideWithoutTimersCarriesTheTimerOfTheOtherLeg(t *testing.T) {
	for _, method := range []string{"INVITE", "UPDATE"} {
		for _, tt := range []struct{ asked, keep, left string }{
			{askUAS, "1800;refresher=uac", "caller 30m0s self"},
			{"Session-Expires: 1800", "1800;refresher=uas", "caller 30m0s peer"},
		} {
			t.Run(method+" "+tt.asked, func(t *testing.T) {
				inWorld(t, nil, func(w *world) {
					w.timed([]string{timer, tt.asked, "Allow: INVITE, UPDATE", "Min-SE: 100"}, nil)
					req, res := w.exchange(w.bob, w.alice, method, nil, []string{"Session-Expires: " + tt.keep, "Require: timer"})
					same(w.T, timerOf(req)+req.Get("Supported"), tt.keep+"||100timer")
					same(w.T, timerOf(res), "||")
					same(w.T, w.sessions(), tt.left)

					// It is sent again with what a 422 asks for, with the next number.
					w.bob.request(method, "")
					if method == "INVITE" {
						w.bob.next("100 INVITE")
					}
					for _, p := range []string{"1800", "2000"} {
						req = w.alice.next(method)
						same(w.T, req.Get("Session-Expires"), p+tt.keep[4:])
						if p == "1800" {
							w.alice.respond(req, 422, "", "Min-SE: 2000")
							if method == "INVITE" {
								w.alice.next("ACK")
							}
						}
					}
					same(w.T, req.Get("CSeq")+timerOf(req), "3 "+method+"2000"+tt.keep[4:]+"||2000")
					w.alice.respond(req, 422, "", "Min-SE: 3000")
					w.bob.next("422 " + method)
				})
			})
		}
	}
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

func TestARestartGoesOnWithOurRefreshes(t *testing.T) {
	for _, down := range []time.Duration{10 * time.Second, time.Minute, time.Hour} {
		t.Run(down.String(), func(t *testing.T) {
			idleWorld(t, func(w *world) {
				rec := w.remembered(store.Confirmed)
				rec.Legs[store.Callee].Session = store.Session{Interval: 90 * time.Second, Refresher: store.Self,
					Refreshed: time.Now(), MinSE: 100 * time.Second, Offer: offer}
				pass(down)
				w.restore(rec)
				w.serve()
				if down < 45*time.Second {
					pass(45*time.Second - down - time.Millisecond)
					w.bob.nothing()
					pass(time.Millisecond)
				} else {
					pass(10 * time.Second)
				}
				m := w.bob.next("INVITE")
				same(w.T, m.Get("CSeq")+string(m.Body)+timerOf(m), "4257 INVITE"+offer+"100;refresher=uac||100")
				w.bob.all()
				w.bob.respond(m, 491, "") // there is still time
				w.bob.next("ACK")
				pass(4 * time.Second)
				w.bob.next("INVITE")
			})
		})
	}
}

func TestARefreshIsNotPutOffByARecordFromAClockThatWasAhead(t *testing.T) {
	idleWorld(t, func(w *world) {
		rec := w.remembered(store.Confirmed)
		rec.Legs[store.Callee].Allow = "UPDATE"
		rec.Legs[store.Callee].Session = store.Session{Interval: 90 * time.Second, Refresher: store.Self, Refreshed: time.Now().Add(time.Hour)}
		w.restore(rec)
		w.serve()
		pass(10 * time.Second)
		w.bob.next("UPDATE")
	})
}

func TestBeforeItServesAnAgentRefreshesNothing(t *testing.T) {
	idleWorld(t, func(w *world) {
		rec := w.remembered(store.Confirmed)
		rec.Legs[store.Callee].Allow = "UPDATE"
		rec.Legs[store.Callee].Session = store.Session{Interval: 90 * time.Second, Refresher: store.Self, Refreshed: time.Now()}
		w.restore(rec)
		pass(45500 * time.Millisecond)
		w.serve()
		pass(500 * time.Millisecond)
		w.bob.next("UPDATE")
	})
}
