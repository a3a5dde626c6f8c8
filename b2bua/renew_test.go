package b2bua_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/store"
)

const byReinvite = "Allow: INVITE, ACK, BYE"

// ours makes a call one leg of which we refresh every 45 s, and gives its far
// end: the caller when it wanted us to and the callee knows no timers, or the
// callee when it wants its caller to, which knows none.
func (w *world) ours(side store.Side, allow string) *phone {
	w.Helper()
	if side == store.Caller {
		w.timed([]string{timer, "Session-Expires: 90;refresher=uas", allow}, []string{sdp})
		return w.alice
	}
	w.timed([]string{sdp}, []string{timer, "Session-Expires: 90;refresher=uac", "Require: timer", allow, sdp})
	return w.bob
}

const renewed = "Session-Expires: 90;refresher=uac"

func TestWeRefreshByUpdateAfterHalfTheInterval(t *testing.T) {
	for _, side := range store.Sides {
		t.Run(side.String(), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				p := w.ours(side, "Allow: INVITE, UPDATE")
				cseq := w.rec().Legs[side].LocalCSeq
				for range 3 {
					pass(45*time.Second - time.Millisecond)
					p.nothing()
					pass(time.Millisecond)
					m := p.next("UPDATE")
					cseq++
					same(w.T, m.Get("CSeq")+" "+timerOf(m)+" "+m.Get("Supported")+" "+m.Get("Contact")+string(m.Body),
						fmt.Sprintf("%d UPDATE 90;refresher=uac|| timer <sip:%s@127.0.0.1:5060>", cseq,
							map[store.Side]string{store.Caller: "bob", store.Callee: "alice"}[side]))
					p.respond(m, 200, "", renewed, "Require: timer")
					w.heard("evidence " + side.String() + ": 200 UPDATE")
					same(w.T, w.stored().Legs[side].Session.Refreshed.String(), time.Now().String())

					w.agent.Probe(w.id, side, "OPTIONS", 5*time.Second) // in between
					m = p.next("OPTIONS")
					cseq++
					same(w.T, m.Get("CSeq"), fmt.Sprintf("%d OPTIONS", cseq))
					p.respond(m, 200, "")
					w.heard("probe " + side.String() + " OPTIONS: answered 200 after 0s")
				}
				w.alice.nothing()
				w.bob.nothing()
			})
		})
	}
}

func TestWeRefreshByReinviteWithWhatWasSaidLast(t *testing.T) {
	for _, side := range store.Sides {
		t.Run(side.String(), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				p := w.ours(side, byReinvite)
				said, other := answer, w.bob
				if side == store.Callee {
					said, other = offer, w.alice
				}
				again := func() {
					t.Helper()
					pass(45 * time.Second)
					m := p.next("INVITE")
					same(w.T, string(m.Body)+m.Get("Content-Type")+timerOf(m), said+"application/sdp90;refresher=uac||")
					p.respond(m, 180, "")
					p.user += "x" // moves its Contact
					p.respond(m, 200, "theirs", renewed)
					ack := p.next("ACK")
					n, _ := m.CSeq()
					same(w.T, ack.Get("CSeq")+string(ack.Body)+ack.RequestURI,
						fmt.Sprintf("%d ACKsip:%s@%s", n, p.user, p.host.addr))
					p.respond(m, 200, "theirs", renewed) // its ACK was lost
					p.next("ACK")
					other.nothing()
				}
				again()
				again()

				// The other side changes the session; a change that is refused is none.
				hold := strings.Replace(offer, "1 1 IN", "1 2 IN", 1)
				other.request("INVITE", "never", sdp)
				other.next("100 INVITE")
				p.respond(p.next("INVITE"), 488, "")
				p.next("ACK")
				other.refused("488")
				other.request("INVITE", hold, sdp)
				other.next("100 INVITE")
				p.respond(p.next("INVITE"), 200, answer, sdp, renewed)
				other.next("200 INVITE")
				other.say(other.build("ACK", other.cseq, ""))
				p.next("ACK")
				said = hold
				again()

				// An answer in the ACK is what was said last, too.
				other.request("INVITE", "")
				other.next("100 INVITE")
				p.respond(p.next("INVITE"), 200, offer, sdp, renewed)
				other.next("200 INVITE")
				said = strings.Replace(answer, "2 2 IN", "2 3 IN", 1)
				other.say(other.build("ACK", other.cseq, said, sdp))
				p.next("ACK")
				again()
				same(w.T, w.stored().Legs[side].Session.Offer, said)

				// What cannot be offered again takes the place of what could.
				other.request("INVITE", "--x", "Content-Type: Multipart/mixed;boundary=x")
				other.next("100 INVITE")
				p.respond(p.next("INVITE"), 200, answer, sdp, renewed)
				other.next("200 INVITE")
				other.say(other.build("ACK", other.cseq, ""))
				p.next("ACK")
				same(w.T, w.stored().Legs[side].Session.Offer, "")
				pass(time.Hour)
				p.nothing()
			})
		})
	}
}

func TestWhatWasSaidBeforeTheAnswerCounts(t *testing.T) {
	asked := []string{timer, "Session-Expires: 90;refresher=uas", byReinvite}
	answered := []string{timer, "Session-Expires: 90;refresher=uac", byReinvite}
	for _, tt := range []struct {
		name                  string
		asked, answered       []string
		prack, answer, result string
	}{
		{"to the caller, in a 183", asked, nil, "", "", "early"},
		{"to the caller, in the 200 to PRACK", asked, nil, "new offer", "second", "second"},
		{"to the callee, in PRACK", nil, answered, "new offer", "second", "new offer"},
		{"to the callee, in the INVITE", nil, answered, "", "", offer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.dial(append(tt.asked, "Supported: 100rel")...)
				w.bob.respond(w.invite, 183, "early", sdp, "Require: 100rel", "RSeq: 1")
				m := w.alice.next("183 INVITE")
				w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
				w.alice.request("PRACK", tt.prack, sdp, "RAck: 1 1 INVITE")
				w.bob.respond(w.bob.next("PRACK"), 200, tt.answer, sdp)
				w.alice.next("200 PRACK")
				w.bob.respond(w.invite, 200, "", tt.answered...)
				w.alice.next("200 INVITE")
				w.alice.cseq = 1
				w.ack()
				pass(45 * time.Second)
				p := w.alice
				if tt.asked == nil {
					p = w.bob
				}
				same(w.T, string(p.next("INVITE").Body), tt.result)
			})
		})
	}
}

func TestWhatWeCouldNotRefreshWeDoNotPromiseTo(t *testing.T) {
	for kind, body := range map[string]string{
		"Content-Type: multipart/mixed;boundary=x":                     "--x",
		"Content-Type: application/sdp\r\nContent-Encoding: gzip":      "odd",
		"Content-Type: application/sdp;charset=x\r\nX-Too: much of it": answer + strings.Repeat("a=x\r\n", 2000),
	} {
		inWorld(t, nil, func(w *world) {
			w.dial(timer, "Session-Expires: 90;refresher=uas", byReinvite)
			w.bob.respond(w.invite, 200, body, kind)
			same(w.T, timerOf(w.alice.next("200 INVITE")), "||")
			same(w.T, w.sessions(), "")
		})
	}
}

func TestAFarEndThatSentUpdateIsRefreshedByUpdate(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.exchange(w.alice, w.bob, "UPDATE", []string{timer, "Session-Expires: 90;refresher=uas"}, nil)
		same(w.T, w.sessions(), "caller 1m30s self")
		pass(45 * time.Second)
		w.alice.next("UPDATE")
	})
}

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
func (p *phone) waiting() int { return len(p.host.in) }

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

func TestA2xxToOurRefreshMayChangeTheTimer(t *testing.T) {
	t.Run("off", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			p := w.ours(store.Caller, "Allow: UPDATE")
			pass(45 * time.Second)
			p.respond(p.next("UPDATE"), 200, "")
			same(w.T, w.sessions(), "")
			pass(time.Hour)
			p.nothing()
		})
	})
	t.Run("to the far end", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			p := w.ours(store.Caller, "Allow: UPDATE")
			pass(45 * time.Second)
			p.respond(p.next("UPDATE"), 200, "", "Session-Expires: 90;refresher=uas")
			same(w.T, w.sessions(), "caller 1m30s peer")
			pass(time.Minute)
			w.over(oldExpiry)
		})
	})
}

func TestOurReinviteThatCrossesAnotherGivesWay(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.heard("probe callee OPTIONS: deferred")
		for _, q := range []*phone{w.bob, w.alice} { // of this leg, or for it
			q.request("INVITE", offer, sdp)
			q.refused("491")
		}
		w.heard("evidence callee: INVITE", "evidence caller: INVITE")
		p.respond(m, 491, "")
		p.next("ACK")
		p.request("INVITE", offer, sdp, timer, "Session-Expires: 90;refresher=uas")
		p.next("100 INVITE")
		theirs := w.alice.next("INVITE")
		w.alice.respond(theirs, 100, "")
		pass(5 * time.Second) // ours is due again, and waits
		p.nothing()
		w.alice.respond(theirs, 200, answer, sdp)
		same(w.T, timerOf(p.next("200 INVITE")), "90;refresher=uas|timer|")
		p.say(p.build("ACK", p.cseq, ""))
		w.alice.next("ACK")
		pass(45*time.Second - time.Millisecond)
		p.nothing()
		pass(time.Millisecond)
		same(w.T, p.next("INVITE").Get("CSeq"), "3 INVITE")
	})
}

func TestOurReinviteAnswersAChallenge(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := w.plain(p.next("INVITE"))
		p.respond(m, 180, "")
		p.respond(m, 401, "", wwwSHA)
		p.next("ACK")
		m = p.next("INVITE")
		same(w.T, m.Get("CSeq")+string(m.Body)+" "+w.proven(m, "Authorization", "secret"), "3 INVITE"+offer+" n1 00000001 SHA-256")
		p.respond(m, 180, "")
		p.respond(m, 200, answer, renewed)
		same(w.T, p.next("ACK").Get("Authorization"), m.Get("Authorization"))
		w.heard("evidence callee: 200 INVITE")
		pass(45 * time.Second)
		m = p.next("INVITE")
		same(w.T, m.Get("CSeq")+" "+w.proven(m, "Authorization", "secret"), "4 INVITE n1 00000002 SHA-256")
		p.respond(m, 401, "", wwwSHA) // refused
		p.next("ACK")
		w.heard("evidence callee: 401 INVITE")
		pass(22500 * time.Millisecond)
		p.next("INVITE")
	})
}

func TestARefreshWaitsForAnInviteThatIsOnItsWay(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, "Allow: UPDATE")
		pass(44 * time.Second)
		w.alice.request("INVITE", offer, sdp)
		w.alice.next("100 INVITE")
		m := p.next("INVITE")
		p.respond(m, 180, "")
		w.alice.next("180 INVITE")
		pass(10 * time.Second)
		p.nothing()
		p.respond(m, 500, "") // at 54 s
		p.next("ACK")
		w.alice.refused("500")
		pass(time.Second)
		same(w.T, p.next("UPDATE").Get("CSeq"), "3 UPDATE")
	})
}

func TestOurReinviteThatOnlyRingsIsCancelled(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		p.respond(m, 180, "")
		pass(32*time.Second - time.Millisecond)
		p.nothing()
		pass(time.Millisecond)
		same(w.T, p.next("CANCEL").Get("CSeq"), "2 CANCEL")
		p.respond(m, 487, "")
		p.next("ACK")
		w.heard("evidence callee: 487 INVITE")
		w.alice.nothing()
	})
}

func TestOneRefreshIsOnItsWayAtATime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		p.respond(m, 180, "")
		w.exchange(w.bob, w.alice, "UPDATE", []string{timer, "Session-Expires: 90;refresher=uas"}, nil)
		pass(32 * time.Second)
		cancel := p.next("CANCEL")
		p.respond(cancel, 200, "")
		pass(13 * time.Second) // due again, and the INVITE has no final response
		p.nothing()
		p.respond(m, 487, "")
		p.next("ACK")
		pass(22500 * time.Millisecond) // half of what is left
		p.next("UPDATE")
	})
}

func TestAReleaseOvertakesOurReinvite(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		p.respond(p.next("BYE"), 200, "")
		w.heard("ending caller-bye", "ended caller-bye confirmed/confirmed")
		p.respond(m, 200, answer, renewed)
		p.next("ACK")
		pass(time.Hour)
		p.nothing()
		w.heard()
	})
}

func TestWithoutCoveredNumbersARefreshWaits(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, "Allow: UPDATE")
		w.store.held = true
		for range 5000 {
			w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Hour)
			m := p.poll()
			if m == nil {
				break
			}
			p.respond(m, 200, "")
		}
		pass(46 * time.Second)
		p.nothing()
		w.store.cover()
		pass(time.Second)
		p.next("UPDATE")
	})
}
