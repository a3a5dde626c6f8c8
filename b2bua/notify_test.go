package b2bua_test

import (
	"testing"
	"time"

	"sipvigil/store"
)

// notify has one phone notify the other one, and returns the Event that
// arrived.
func (w *world) notify(from, to *phone, event, state string, status int) string {
	w.Helper()
	from.request("NOTIFY", "SIP/2.0 100 Trying\r\n", "Event: "+event, "Subscription-State: "+state)
	m := to.next("NOTIFY")
	w.done(m, to, from, status)
	return m.Get("Event")
}

func TestTheIdOfAReferIsItsNumberOnEachLeg(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.cseq = 70
		w.connect() // 71 of alice is 1 of bob
		w.bob.cseq = 3
		refer := func(from, to *phone) {
			w.Helper()
			from.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.done(to.next("REFER"), to, from, 202)
		}
		refer(w.alice, w.bob) // 72 and 2
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		refer(w.alice, w.bob) // 73 and 4
		refer(w.bob, w.alice) // 4 and 1: the same number as the one before, but bob's

		same(w.T, w.notify(w.bob, w.alice, "refer", "active", 200), "refer")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "active", 200), "refer;id=73")
		same(w.T, w.notify(w.bob, w.alice, "Refer ; x=1;id=2", "active", 200), "Refer ; x=1;id=72")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=9", "active", 200), "refer;id=9")
		same(w.T, w.notify(w.bob, w.alice, "dialog;id=4", "active", 200), "dialog;id=4")
		same(w.T, w.notify(w.alice, w.bob, "refer;id=1", "active", 200), "refer;id=4")

		w.alice.request("SUBSCRIBE", "", "o: refer;id=73", "Expires: 0")
		m := w.bob.next("SUBSCRIBE")
		same(w.T, m.Get("Event"), "refer;id=4")
		w.done(m, w.bob, w.alice, 200)
		w.bob.request("SUBSCRIBE", "", "Event: refer;id=4")
		m = w.alice.next("SUBSCRIBE")
		same(w.T, m.Get("Event"), "refer;id=1")
		w.done(m, w.alice, w.bob, 200)

		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "terminated;reason=timeout", 401), "refer;id=73")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "terminated;reason=timeout", 200), "refer;id=73")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "active", 481), "refer;id=4") // is over
	})
}

// hangUp has alice end the call.
func (w *world) hangUp() {
	w.Helper()
	w.alice.request("BYE", "")
	w.alice.next("200 BYE")
	w.bob.respond(w.bob.next("BYE"), 200, "")
}

func TestASubscriptionOutlivesTheBye(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
		w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
		w.alice.request("SUBSCRIBE", "", "Event: dialog")
		w.done(w.bob.next("SUBSCRIBE"), w.bob, w.alice, 200)
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		bye := w.bob.next("BYE")
		same(w.T, w.notify(w.bob, w.alice, "refer", "active", 200), "refer") // before the BYE was answered
		w.bob.respond(bye, 200, "")
		w.heard("evidence caller: REFER", "evidence callee: 202 REFER", "evidence caller: SUBSCRIBE", "evidence callee: 200 SUBSCRIBE",
			"ending caller-bye", "ended caller-bye confirmed/confirmed")
		delete(w.store.saved, w.id)
		w.store.marks = nil
		if _, ok := w.agent.Call(w.id); ok {
			w.Error("the call goes on")
		}
		w.bob.cseq += 5
		same(w.T, w.notify(w.bob, w.alice, "refer", "active;expires=60", 200), "refer")
		w.alice.request("SUBSCRIBE", "", "Event: refer", "Expires: 0")
		m := w.bob.next("SUBSCRIBE")
		same(w.T, m.Get("CSeq"), "5 SUBSCRIBE")
		w.done(m, w.bob, w.alice, 200)
		for _, method := range []string{"INFO", "OPTIONS", "INVITE", "REFER", "UPDATE"} {
			w.bob.request(method, "", "Refer-To: <sip:carol@h>")
			w.bob.next("481 " + method)
			if method == "INVITE" {
				w.bob.say(w.bob.build("ACK", w.bob.cseq, ""))
			}
		}
		w.bob.request("NOTIFY", "", "Event: presence", "Subscription-State: active")
		w.bob.next("481 NOTIFY")
		w.bob.cseq -= 2
		w.bob.request("NOTIFY", "", "Event: refer", "Subscription-State: active")
		w.bob.next("500 NOTIFY") // an old number
		w.bob.cseq += 2
		w.notify(w.bob, w.alice, "refer", "terminated;reason=noresource", 200)
		w.notify(w.bob, w.alice, "dialog", "active", 481)
		w.bob.request("NOTIFY", "", "Event: dialog", "Subscription-State: active")
		w.bob.next("481 NOTIFY")
		w.alice.nothing()
		w.heard()
		if len(w.store.saved)+len(w.store.marks) > 0 {
			w.Errorf("the store got %v and %v of a call that had ended", w.store.saved, w.store.marks)
		}
	})
}

func TestANotifyThatCrossesTheByeIsAnswered(t *testing.T) {
	for _, released := range []bool{false, true} {
		inWorld(t, nil, func(w *world) {
			w.connect()
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
			w.bob.request("NOTIFY", "", "Event: refer", "Subscription-State: active")
			w.bob.request("INFO", "")
			m := w.alice.next("NOTIFY")
			w.alice.next("INFO")
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.next("487 INFO")
			bye := w.bob.next("BYE")
			if released {
				w.bob.respond(bye, 200, "")
			}
			w.alice.respond(m, 200, "")
			w.bob.next("200 NOTIFY")
			if !released {
				w.bob.respond(bye, 200, "")
			}
			w.notify(w.bob, w.alice, "refer", "terminated;reason=noresource", 200)
		})
	}
}

func TestWhatOutlivesACallIsForgottenInTime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
		w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
		w.hangUp()
		const rings = 3*time.Minute + 32*time.Second
		pass(rings - time.Second)
		w.notify(w.bob, w.alice, "refer", "active", 200)
		pass(time.Second)
		w.bob.request("NOTIFY", "", "Event: refer", "Subscription-State: active")
		w.bob.next("481 NOTIFY")
		w.alice.nothing()
	})
}

func TestNothingOutlivesACallWithoutSubscription(t *testing.T) {
	for name, script := range map[string]func(w *world){
		"no REFER":      func(*world) {},
		"REFER refused": func(w *world) { w.refer(603, "") },
		"Refer-Sub":     func(w *world) { w.refer(200, "Refer-Sub: false;x=y") },
		"nosub": func(w *world) {
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>", "Require: tdialog, NoSub")
			w.done(w.bob.next("REFER"), w.bob, w.alice, 200)
		},
		"NOTIFY refused": func(w *world) { w.refer(202, ""); w.notify(w.bob, w.alice, "refer", "active", 489) },
		"terminated":     func(w *world) { w.refer(202, ""); w.notify(w.bob, w.alice, "refer", "Terminated ;reason=x", 200) },
		"refreshed": func(w *world) {
			w.subscribe(200)
			w.subscribe(200)
			w.notify(w.bob, w.alice, "dialog", "terminated", 200)
		},
		"lost":    func(w *world) { w.subscribe(200); w.subscribe(481) },
		"refused": func(w *world) { w.subscribe(403) },
		"unanswered": func(w *world) {
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.bob.next("REFER")
			pass(time.Minute)
			w.bob.all()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				script(w)
				w.hangUp()
				for _, event := range []string{"refer", "dialog"} {
					w.bob.request("NOTIFY", "", "Event: "+event, "Subscription-State: active")
					w.bob.next("481 NOTIFY")
				}
				w.alice.nothing()
			})
		})
	}
}

func (w *world) subscribe(status int) {
	w.Helper()
	w.alice.request("SUBSCRIBE", "", "Event: dialog")
	w.done(w.bob.next("SUBSCRIBE"), w.bob, w.alice, status)
}

func TestARefreshThatFailsLeavesTheSubscription(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.subscribe(200)
		w.subscribe(423)
		w.hangUp()
		w.notify(w.bob, w.alice, "dialog", "terminated", 200)
	})
}

func (w *world) refer(status int, extra string) {
	w.Helper()
	w.alice.request("REFER", "", "Refer-To: <sip:carol@h>", "Refer-Sub: false", "Require: norefersub")
	w.done(w.bob.next("REFER"), w.bob, w.alice, status, extra)
}

func TestAReferWithoutReferSubInTheAnswerMakesASubscription(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.refer(200, "")
		w.hangUp()
		w.notify(w.bob, w.alice, "refer", "terminated", 200)
	})
}

func TestACallRemembersNoMoreThanItsLatestSubscriptions(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.cseq = 100
		w.connect()
		for range 17 { // 102 to 118 are 2 to 18
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
		}
		same(w.T, w.notify(w.bob, w.alice, "refer;id=2", "active", 200), "refer;id=2")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=3", "active", 200), "refer;id=103")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=18", "active", 200), "refer;id=118")
	})
}
