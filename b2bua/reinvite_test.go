package b2bua_test

import (
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
)

// reinviting runs a test with a confirmed call whose legs may be asked with
// INVITE.
func reinviting(t *testing.T, f func(w *world)) {
	t.Helper()
	inWorld(t, func(c *b2bua.Config) { c.Reinvite = true }, func(w *world) {
		w.connect()
		f(w)
	})
}

// asks has the leg of a phone asked with INVITE.
func (w *world) asks(p *phone) *ua.Message {
	w.Helper()
	side := store.Callee
	if p == w.alice {
		side = store.Caller
	}
	w.agent.Probe(w.id, side, "INVITE", 32*time.Second)
	return p.next("INVITE")
}

// changed is a description of another session.
func changed(body string) string { return strings.Replace(body, "40", "50", 1) }

func TestAReinviteThatAsksOffersTheSessionAsItStands(t *testing.T) {
	reinviting(t, func(w *world) {
		check := func(p *phone, cseq, body string) {
			t.Helper()
			m := w.asks(p)
			same(t, m.Get("CSeq")+" "+m.Get("Content-Type")+"\n"+string(m.Body), cseq+" INVITE application/sdp\n"+body)
			p.respond(m, 200, "v=0\r\n", sdp)
			same(t, p.next("ACK").Get("CSeq"), cseq+" ACK")
			p.respond(m, 200, "v=0\r\n", sdp) // the ACK was lost
			same(t, p.next("ACK").Get("CSeq"), cseq+" ACK")
		}
		check(w.bob, "2", offer)
		check(w.alice, "1", answer)
		w.heard("probe callee INVITE: answered 200 after 0s", "probe caller INVITE: answered 200 after 0s")

		// A re-INVITE that is refused changes nothing.
		w.alice.request("INVITE", changed(offer), sdp)
		w.alice.next("100 INVITE")
		w.bob.respond(w.bob.next("INVITE"), 488, "")
		w.bob.next("ACK")
		w.alice.refused("488")
		check(w.bob, "4", offer)
		check(w.alice, "2", answer)

		// One that succeeds does, and so does an UPDATE.
		w.alice.request("INVITE", changed(offer), sdp)
		w.alice.next("100 INVITE")
		w.bob.respond(w.bob.next("INVITE"), 200, changed(answer), sdp)
		w.alice.next("200 INVITE")
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		w.bob.next("ACK")
		check(w.bob, "6", changed(offer))
		check(w.alice, "3", changed(answer))
		w.bob.request("UPDATE", answer, sdp)
		w.alice.respond(w.alice.next("UPDATE"), 200, offer, sdp)
		w.bob.next("200 UPDATE")
		check(w.bob, "7", offer)
		check(w.alice, "5", answer)
	})
}

func TestNoReinviteAsksWhereTheSessionIsNotKnown(t *testing.T) {
	refusedAfterAnswer := func(w *world) {
		w.alice.reinvite()
		m := w.bob.next("INVITE")
		w.bob.respond(m, 183, changed(answer), sdp)
		w.alice.next("183 INVITE")
		w.bob.respond(m, 500, "")
		w.bob.next("ACK")
		w.alice.refused("500")
	}
	for name, tt := range map[string]struct {
		known bool
		do    func(w *world)
	}{
		"it was not asked for": {false, func(w *world) { w.connect() }},
		"the description has several parts": {true, func(w *world) {
			w.alice.request("INVITE", "--x--", `Content-Type: multipart/mixed;boundary="x"`)
			w.alice.next("100 INVITE")
			w.take(w.bob)
			w.accept()
			w.ack()
		}},
		"an offer was answered and then refused": {true, func(w *world) { w.connect(); refusedAfterAnswer(w) }},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(c *b2bua.Config) { c.Reinvite = tt.known }, func(w *world) {
				tt.do(w)
				pass(0)
				w.obs.heard()
				w.agent.Probe(w.id, store.Callee, "INVITE", time.Minute)
				w.heard("probe callee INVITE: unable")
				w.bob.nothing()
			})
		})
	}
}

func TestWhatAReinviteThatAsksGets(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   string
	}{{200, "answered 200"}, {481, "answered 481"}, {491, "answered 491"}, {401, "answered 401"}, {405, "answered 405"},
		{408, "answered 408"}, {500, "answered 500"}} {
		t.Run(tt.want, func(t *testing.T) {
			reinviting(t, func(w *world) {
				m := w.asks(w.bob)
				w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
				w.heard("probe callee OPTIONS: deferred")
				w.bob.respond(m, 100, "")
				pass(time.Second)
				w.bob.respond(m, tt.status, "")
				w.bob.next("ACK")
				w.heard("probe callee INVITE: " + tt.want + " after 1s")
				pass(time.Minute)
				w.heard()
				w.bob.nothing()
				w.alice.nothing()
				w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
				w.bob.respond(w.bob.next("OPTIONS"), 200, "")
			})
		})
	}
}

func TestAReinviteThatAsksAndIsNotAnswered(t *testing.T) {
	t.Run("at all is a miss after its time", func(t *testing.T) {
		reinviting(t, func(w *world) {
			w.agent.Probe(w.id, store.Callee, "INVITE", 5*time.Second)
			m := w.bob.next("INVITE")
			pass(5 * time.Second)
			w.heard("probe callee INVITE: timeout")
			w.bob.all() // repetitions
			w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
			w.heard("probe callee OPTIONS: deferred") // it may still come to be
			w.bob.respond(m, 180, "")                 // late: it is cancelled
			same(t, w.bob.next("CANCEL").Get("CSeq"), "2 CANCEL")
			w.bob.respond(m, 487, "")
			w.bob.next("ACK")
			w.heard("evidence callee: 180 INVITE")
			w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
			w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		})
	})
	t.Run("for good ends with its transaction", func(t *testing.T) {
		reinviting(t, func(w *world) {
			w.asks(w.bob)
			pass(32 * time.Second)
			w.heard("probe callee INVITE: timeout")
			pass(time.Second)
			w.bob.all()
			w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
			w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		})
	})
	t.Run("finally is cancelled", func(t *testing.T) {
		reinviting(t, func(w *world) {
			m := w.asks(w.bob)
			w.bob.respond(m, 180, "")
			pass(32 * time.Second)
			w.heard("evidence callee: 180 INVITE", "probe callee INVITE: timeout")
			w.bob.next("CANCEL")
			w.bob.respond(m, 200, answer, sdp) // crossed it
			w.bob.next("ACK")
			w.heard("evidence callee: 200 INVITE")
			pass(time.Minute)
			w.bob.all()
			w.heard()
		})
	})
}

func TestAReinviteThatAsksGivesWayToThoseOfTheFarEnds(t *testing.T) {
	reinviting(t, func(w *world) {
		m := w.asks(w.bob)
		for _, p := range []*phone{w.bob, w.alice} {
			p.request("INVITE", offer, sdp)
			p.refused("491")
			p.request("UPDATE", offer, sdp)
			p.next("491 UPDATE")
		}
		w.bob.respond(m, 491, "")
		w.bob.next("ACK")
		w.heard("evidence callee: INVITE", "evidence callee: UPDATE", "evidence caller: INVITE", "evidence caller: UPDATE",
			"probe callee INVITE: answered 491 after 0s")
		w.alice.reinvite()
		w.bob.next("INVITE")
	})
}

func TestACallThatEndsDuringAReinviteThatAsksIsReleased(t *testing.T) {
	reinviting(t, func(w *world) {
		m := w.asks(w.bob)
		w.release(store.End{Reason: store.Operator})
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.bob.respond(m, 200, answer, sdp)
		w.bob.next("ACK")
		pass(time.Minute)
		w.bob.nothing()
	})
}

func TestAnUpdateThatAsksWaitsForWhatIsPendingOnTheLeg(t *testing.T) {
	update := func(w *world, want ...string) {
		t.Helper()
		pass(0)
		w.obs.heard()
		w.agent.Probe(w.id, store.Callee, "UPDATE", 5*time.Second)
		w.heard(want...)
	}
	const deferred = "probe callee UPDATE: deferred"
	t.Run("an UPDATE of either far end", func(t *testing.T) {
		for _, from := range []store.Side{store.Caller, store.Callee} {
			inWorld(t, nil, func(w *world) {
				w.connect()
				p, q := w.alice, w.bob
				if from == store.Callee {
					p, q = q, p
				}
				p.request("UPDATE", "")
				m := q.next("UPDATE")
				update(w, deferred)
				q.respond(m, 200, "")
				p.next("200 UPDATE")
				update(w)
				w.bob.next("UPDATE")
			})
		}
	})
	t.Run("another one of ours", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			w.connect()
			update(w)
			m := w.bob.next("UPDATE")
			update(w, deferred)
			w.bob.respond(m, 200, "")
			update(w)
			w.bob.next("UPDATE")
			pass(5 * time.Second) // no answer: that one is over, too
			w.bob.all()
			update(w)
			w.bob.next("UPDATE")
		})
	})
	t.Run("a refresh of ours", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			p := w.ours(store.Callee, "Allow: UPDATE")
			pass(45 * time.Second)
			m := p.next("UPDATE")
			update(w, deferred)
			p.respond(m, 200, "", renewed)
			update(w)
			p.next("UPDATE")
		})
	})
}

func TestRequestsThatCrossAnUpdateThatAsksAreServed(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Probe(w.id, store.Callee, "UPDATE", 5*time.Second)
		m := w.bob.next("UPDATE")
		w.bob.request("UPDATE", offer, sdp) // RFC 3311 section 5.2: ours offers nothing
		w.alice.respond(w.alice.next("UPDATE"), 200, answer, sdp)
		w.bob.next("200 UPDATE")
		w.bob.reinvite()
		w.alice.respond(w.alice.next("INVITE"), 200, answer, sdp)
		w.bob.next("200 INVITE")
		w.bob.say(w.bob.build("ACK", w.bob.cseq, ""))
		w.alice.next("ACK")
		w.alice.request("UPDATE", "") // to where ours is: its far end decides
		w.bob.respond(w.bob.next("UPDATE"), 500, "", "Retry-After: 3")
		same(t, w.alice.next("500 UPDATE").Get("Retry-After"), "3")
		w.obs.heard()
		w.bob.respond(m, 200, "")
		w.heard("probe callee UPDATE: answered 200 after 0s")
	})
}

func TestA2xxToAnUpdateThatAsksMovesTheTarget(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Probe(w.id, store.Callee, "UPDATE", 5*time.Second)
		w.bob.respond(w.bob.next("UPDATE"), 200, "", "Contact: <sip:bob2@"+bobAddr+">")
		w.heard("probe callee UPDATE: answered 200 after 0s")
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
		same(t, w.bob.next("OPTIONS").RequestURI, "sip:bob2@"+bobAddr)
	})
}

func TestAReinviteThatAsksAnswersAChallenge(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) { withCredentials(t)(c); c.Reinvite = true }, func(w *world) {
		w.authorized()
		m := w.asks(w.bob)
		same(t, m.Get("CSeq"), "3 INVITE")
		w.bob.respond(m, 407, "", proxySHA)
		w.bob.next("ACK")
		m = w.bob.next("INVITE")
		same(t, m.Get("CSeq")+string(m.Body), "4 INVITE"+offer)
		w.proven(m, "Proxy-Authorization", "secret")
		w.bob.respond(m, 200, answer, sdp)
		same(t, w.bob.next("ACK").Get("CSeq"), "4 ACK")
		w.heard("probe callee INVITE: answered 200 after 0s")
	})
}
