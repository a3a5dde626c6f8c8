package b2bua_test

import (
	"fmt"
	"strings"
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
						fmt.Sprintf("%d ACKsip:%s@%s", n, p.user, p.host.Addr))
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
