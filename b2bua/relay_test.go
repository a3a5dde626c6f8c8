package b2bua_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/test/ua"
)

func TestRequestsAreRelayedWithEachLegsOwnNumbers(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		toBob, toAlice := uint32(1), uint32(0)
		check := func(m string, got string, counter *uint32) {
			w.Helper()
			*counter++
			same(w.T, got, fmt.Sprintf("%d %s", *counter, m))
		}
		for range 8 {
			for _, method := range []string{"INFO", "MESSAGE", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE"} {
				w.alice.request(method, "x\x00y", "Content-Type: text/x", "X-Odd: ;;"+method)
				m := w.bob.next(method)
				check(method, m.Get("CSeq"), &toBob)
				same(w.T, string(m.Body)+m.Get("X-Odd")+m.Get("Max-Forwards"), "x\x00y;;"+method+"69")
				w.bob.respond(m, 202, "fine", "X-Bob: yes")
				res := w.alice.next("202 " + method)
				same(w.T, string(res.Body)+res.Get("X-Bob")+res.Get("CSeq"), fmt.Sprintf("fineyes%d %s", w.alice.cseq, method))

				w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
				m = w.bob.next("OPTIONS")
				check("OPTIONS", m.Get("CSeq"), &toBob)
				w.bob.respond(m, 200, "")

				w.bob.request(method, "")
				m = w.alice.next(method)
				check(method, m.Get("CSeq"), &toAlice)
				w.agent.Probe(w.id, store.Caller, "OPTIONS", 5*time.Second)
				p := w.alice.next("OPTIONS")
				check("OPTIONS", p.Get("CSeq"), &toAlice)
				w.alice.respond(m, 200, "")
				w.bob.next("200 " + method)
				w.alice.respond(p, 200, "")
			}
		}
		w.obs.heard()
	})
}

func TestARelayedRequestCarriesTheRouteSetOfItsLeg(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("Record-Route: <sip:127.0.0.1:5071;lr;a>, <sip:192.0.2.1;lr;b>")
		w.accept("Record-Route: <sip:192.0.2.2;lr;c>, <sip:127.0.0.1:5072;lr;d>")
		w.ack()
		w.alice.request("INFO", "")
		same(w.T, fmt.Sprint(w.bob.next("INFO").Values("Route")), "[<sip:127.0.0.1:5072;lr;d> <sip:192.0.2.2;lr;c>]")
		w.bob.request("INFO", "")
		same(w.T, fmt.Sprint(w.alice.next("INFO").Values("Route")), "[<sip:127.0.0.1:5071;lr;a> <sip:192.0.2.1;lr;b>]")
	})
}

func TestPrackNamesTheInviteOfItsLeg(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.cseq = 4710
		w.dial("Supported: 100rel")
		w.bob.respond(w.invite, 183, answer, "Require: 100rel", "RSeq: 9021")
		m := w.alice.next("183 INVITE")
		same(w.T, m.Get("RSeq")+m.Get("Require"), "9021100rel")
		w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
		w.alice.request("PRACK", "", "RAck: 9021 4711 INVITE")
		prack := w.bob.next("PRACK")
		same(w.T, prack.Get("RAck")+", "+prack.Get("CSeq"), "9021 1 INVITE, 2 PRACK")
		w.bob.respond(prack, 200, "")
		w.alice.next("200 PRACK")
		w.alice.request("PRACK", "", "RAck: 9021 4712 INVITE")
		w.alice.next("481 PRACK")
		w.bob.nothing()
		w.bob.respond(w.invite, 200, "")
		w.alice.next("200 INVITE")
		w.alice.say(w.alice.build("ACK", 4711, ""))
		w.bob.next("ACK")
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

func TestAPrackThatComesAfterTheAckIsPassedOn(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.cseq = 4710
		w.dial("Supported: 100rel")
		w.bob.respond(w.invite, 180, "", "Require: 100rel", "RSeq: 9021")
		m := w.alice.next("180 INVITE")
		w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
		w.accept()
		w.ack()
		w.alice.request("PRACK", "", "RAck: 9021 4711 INVITE")
		prack := w.bob.next("PRACK")
		same(w.T, prack.Get("RAck")+", "+prack.Get("CSeq"), "9021 1 INVITE, 2 PRACK")
		w.bob.respond(prack, 200, "")
		w.alice.next("200 PRACK")
		w.bob.request("PRACK", "", "RAck: 9021 1 INVITE") // it has sent none
		w.bob.next("481 PRACK")
		w.alice.nothing()
	})
}

// reinvite has a phone send a re-INVITE.
func (p *phone) reinvite() {
	p.t.Helper()
	p.request("INVITE", offer, "Content-Type: application/sdp")
	p.next("100 INVITE")
}

func TestOnlyASuccessfulReinviteMovesTheTargets(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		old := [2]string{w.target(store.Caller), w.target(store.Callee)}

		w.alice.user, w.bob.user = "alice2", "bob2" // in their Contacts
		w.alice.reinvite()
		m := w.bob.next("INVITE")
		same(w.T, m.Get("CSeq")+m.Get("Contact"), "2 INVITE<sip:alice@127.0.0.1:5060>")
		same(w.T, string(m.Body), offer)
		w.bob.respond(m, 488, "")
		w.alice.next("488 INVITE")
		w.bob.next("ACK")
		same(w.T, w.target(store.Caller)+w.target(store.Callee), old[0]+old[1])

		w.alice.reinvite()
		m = w.bob.next("INVITE")
		w.bob.respond(m, 180, "")
		w.alice.next("180 INVITE")
		same(w.T, w.target(store.Caller)+w.target(store.Callee), old[0]+old[1])
		w.bob.respond(m, 200, answer, "Content-Type: application/sdp")
		res := w.alice.next("200 INVITE")
		same(w.T, res.Get("Contact")+string(res.Body), "<sip:bob@127.0.0.1:5060>"+answer)
		w.alice.say(w.alice.build("ACK", w.alice.cseq, "sdp"))
		ack := w.bob.next("ACK")
		same(w.T, ack.Get("CSeq")+string(ack.Body)+ack.RequestURI, "3 ACKsdpsip:bob2@127.0.0.1:5072")
		same(w.T, w.target(store.Caller), "sip:alice2@127.0.0.1:5071")
		same(w.T, w.target(store.Callee), "sip:bob2@127.0.0.1:5072")
		w.heard("evidence caller: INVITE", "evidence callee: 488 INVITE",
			"evidence caller: INVITE", "evidence callee: 180 INVITE", "evidence callee: 200 INVITE", "evidence caller: ACK")
	})
}

func (w *world) target(side store.Side) string {
	rec, _ := w.agent.Call(w.id)
	return rec.Legs[side].Target
}

func TestASuccessfulUpdateMovesTheTargets(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.bob.user = "bob2"
		w.bob.request("UPDATE", "")
		m := w.alice.next("UPDATE")
		same(w.T, m.Get("Contact"), "<sip:bob@127.0.0.1:5060>")
		w.alice.respond(m, 500, "")
		w.bob.next("500 UPDATE")
		same(w.T, w.target(store.Callee), "sip:bob@127.0.0.1:5072")
		w.bob.request("UPDATE", "")
		w.alice.respond(w.alice.next("UPDATE"), 200, "", "Contact: <sip:alice3@127.0.0.1:5071>")
		w.bob.next("200 UPDATE")
		same(w.T, w.target(store.Caller)+" "+w.target(store.Callee), "sip:alice3@127.0.0.1:5071 sip:bob2@127.0.0.1:5072")
	})
}

func TestReinvitesThatCrossGet491(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.reinvite()
		m := w.bob.next("INVITE")
		w.bob.request("INVITE", offer)
		w.bob.next("491 INVITE")
		w.alice.nothing()
		w.bob.respond(m, 200, answer)
		w.alice.next("200 INVITE")
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		w.bob.next("ACK")
	})
}

func TestASecondReinviteOfTheSameSideGets500WithRetryAfter(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.reinvite()
		w.bob.next("INVITE")
		w.alice.request("INVITE", offer)
		res := w.alice.next("500 INVITE")
		if n, err := strconv.Atoi(res.Get("Retry-After")); err != nil || n < 0 || n > 10 {
			w.Errorf("Retry-After: %q", res.Get("Retry-After"))
		}
		w.bob.nothing()
	})
}

// cancelledReinvite has alice send a re-INVITE, and cancel it while bob's phone
// rings; it returns the CANCEL that bob gets.
func (w *world) cancelledReinvite() *ua.Message {
	w.Helper()
	w.connect()
	w.alice.sent = 40
	w.alice.reinvite()
	w.invite = w.bob.next("INVITE")
	w.bob.respond(w.invite, 180, "")
	w.alice.next("180 INVITE")
	cancel := w.alice.build("CANCEL", w.alice.cseq, "")
	w.alice.say(replaceBranch(cancel, "alice-42", "alice-41"))
	w.alice.next("200 CANCEL")
	return w.bob.next("CANCEL")
}

func TestACancelOfAReinviteLeavesTheCallAlone(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		m := w.cancelledReinvite()
		same(w.T, m.Get("CSeq"), "2 CANCEL")
		w.bob.respond(m, 200, "")
		w.alice.nothing()
		w.bob.respond(w.invite, 487, "")
		w.bob.next("ACK")
		w.alice.next("487 INVITE")
		if rec, ok := w.agent.Call(w.id); !ok || rec.State != store.Confirmed {
			w.Errorf("the call is %v", rec.State)
		}
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		same(w.T, w.bob.next("OPTIONS").Get("CSeq"), "3 OPTIONS")
	})
}

// Both phones have the session that bob has accepted.
func TestA200ThatCrossesTheCancelOfAReinviteGoesOn(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		m := w.cancelledReinvite()
		w.bob.respond(w.invite, 200, answer, "Content-Type: application/sdp")
		w.bob.respond(m, 200, "")
		same(w.T, string(w.alice.next("200 INVITE").Body), answer)
		same(w.T, w.ack().Get("CSeq"), "2 ACK")
		pass(time.Minute)
		w.alice.nothing()
		w.bob.nothing()
		if rec, ok := w.agent.Call(w.id); !ok || rec.State != store.Confirmed {
			w.Errorf("the call is %v", rec.State)
		}
	})
}

func TestARelayedRequestThatGetsNoAnswerGetsNoneFromUs(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("INFO", "")
		w.bob.next("INFO")
		pass(2 * time.Minute)
		w.alice.nothing()
		w.heard("evidence caller: INFO")
		w.bob.all()
		w.alice.request("INFO", "")
		m := w.bob.next("INFO")
		same(w.T, m.Get("CSeq"), "3 INFO")
		w.bob.respond(m, 200, "")
		w.alice.next("200 INFO")
		w.release(store.End{Reason: store.Operator})
		pass(3 * time.Minute)
		same(w.T, w.agent.Left(), "") // nor do we wait for one for ever
	})
}

func TestRequestsOfACallThatAreOnTheirWayAreBounded(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		for range 256 {
			w.alice.request("INFO", "")
		}
		first := w.bob.next("INFO")
		w.alice.nothing()
		w.alice.request("INFO", "")
		same(w.T, w.alice.next("503 INFO").Get("Retry-After"), "2")
		w.bob.respond(first, 200, "")
		w.alice.next("200 INFO")
		w.alice.request("INFO", "")
		w.alice.nothing()
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
	})
}

func TestA481ToARelayedInfoEndsTheCall(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 481, "")
		w.alice.next("481 INFO")
		bye := w.alice.next("BYE")
		same(w.T, bye.Get("Reason"), `SIP;cause=481;text="Call/Transaction Does Not Exist", Q.850;cause=41`)
		w.alice.respond(bye, 200, "")
		w.bob.respond(w.bob.next("BYE"), 481, "")
		w.heard("evidence caller: INFO", "ending callee-gone(481)", "ended callee-gone(481) confirmed/already-gone")
	})
}

func TestA481ToARelayedNotifyEndsNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.bob.request("NOTIFY", "", "Event: refer")
		w.alice.respond(w.alice.next("NOTIFY"), 481, "")
		w.bob.next("481 NOTIFY")
		w.bob.nothing()
		w.alice.nothing()
		w.heard("evidence callee: NOTIFY")
	})
}

func TestA481ToAReinviteEndsTheCall(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.bob.request("INVITE", offer)
		w.bob.next("100 INVITE")
		w.alice.respond(w.alice.next("INVITE"), 481, "")
		w.bob.next("481 INVITE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.alice.next("ACK")
		w.alice.respond(w.alice.next("BYE"), 481, "")
		w.heard("evidence callee: INVITE", "ending caller-gone(481)", "ended caller-gone(481) already-gone/confirmed")
	})
}
