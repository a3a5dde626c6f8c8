package b2bua_test

import (
	"fmt"
	"testing"
	"time"

	"sipvigil/store"
)

// fork is the phone as another fork of it.
func (p *phone) fork(tag string) *phone {
	f := *p
	f.tag = tag
	f.from = without(p.from)
	return &f
}

// early has a fork ring; alice gets an early dialog of its own.
func (w *world) early(f *phone, status int, extra ...string) *phone {
	w.Helper()
	f.respond(w.invite, status, "", extra...)
	m := w.alice.next(fmt.Sprintf("%d INVITE", status))
	a := *w.alice
	a.remoteTag, a.target = m.ToTag(), uri(m.Get("Contact"))
	return &a
}

func TestEachForkIsADialogOfItsOwnTowardsTheCaller(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.alice.sent = 100
		desk, mobile := w.bob.fork("desk"), w.carol.fork("mobile")
		mobile.callID, mobile.remoteTag, mobile.from, mobile.uri, mobile.target =
			w.bob.callID, w.bob.remoteTag, w.bob.from, w.bob.uri, w.bob.target
		a1 := w.early(desk, 183, "RSeq: 7", "Require: 100rel")
		a2 := w.early(mobile, 183, "RSeq: 900", "Require: 100rel")
		a2.sent = 200
		again := w.early(desk, 180)
		if a1.remoteTag == a2.remoteTag || again.remoteTag != a1.remoteTag {
			t.Fatalf("tags: %s, %s, %s", a1.remoteTag, a2.remoteTag, again.remoteTag)
		}

		// Requests of the caller reach the fork that they are for, each with
		// the numbers of its dialog.
		a2.request("PRACK", "", "RAck: 900 1 INVITE")
		m := w.carol.next("PRACK")
		same(w.T, m.Get("RAck")+" "+m.Get("CSeq")+" "+m.ToTag()+" "+m.RequestURI, "900 1 INVITE 2 PRACK mobile sip:carol@127.0.0.1:5073")
		mobile.respond(m, 200, "")
		same(w.T, w.alice.next("200 PRACK").ToTag(), a2.remoteTag)
		a1.request("PRACK", "", "RAck: 7 1 INVITE")
		m = w.bob.next("PRACK")
		same(w.T, m.Get("RAck")+" "+m.Get("CSeq")+" "+m.ToTag()+" "+m.RequestURI, "7 1 INVITE 2 PRACK desk sip:bob@127.0.0.1:5072")
		a2.request("UPDATE", "")
		m2 := w.carol.next("UPDATE")
		same(w.T, m2.Get("CSeq"), "3 UPDATE")
		mobile.respond(m2, 200, "")
		w.alice.next("200 UPDATE")
		desk.respond(m, 200, "")
		same(w.T, w.alice.next("200 PRACK").ToTag(), a1.remoteTag)

		// And the other way round.
		mobile.request("INFO", "")
		m = w.alice.next("INFO")
		same(w.T, m.FromTag()+" "+m.Get("CSeq"), a2.remoteTag+" 1 INFO")
		w.alice.respond(m, 200, "")
		w.carol.next("200 INFO")
		desk.request("INFO", "")
		m = w.alice.next("INFO")
		same(w.T, m.FromTag()+" "+m.Get("CSeq"), a1.remoteTag+" 1 INFO")
		w.alice.respond(m, 200, "")
		w.bob.next("200 INFO")

		// The second fork answers: its dialogs are the call's.
		mobile.respond(w.invite, 200, answer)
		m = w.alice.next("200 INVITE")
		same(w.T, m.ToTag(), a2.remoteTag)
		a2.cseq++
		ack := *a2
		w.alice.say(ack.build("ACK", 1, ""))
		m = w.carol.next("ACK")
		same(w.T, m.ToTag()+" "+m.Get("CSeq"), "mobile 1 ACK")
		legs := w.store.saved[w.id].Legs
		same(w.T, legs[0].LocalTag+" "+legs[1].RemoteTag, a2.remoteTag+" mobile")

		// The first one answers as well: ACK and BYE with its own next number.
		second := desk.response(w.invite, 200, answer)
		desk.say(second)
		same(w.T, w.bob.next("ACK").ToTag(), "desk")
		bye := w.bob.next("BYE")
		same(w.T, bye.ToTag()+" "+bye.Get("CSeq"), "desk 3 BYE")
		desk.say(second)
		w.bob.next("ACK")
		w.bob.nothing()
		desk.respond(bye, 200, "")
		desk.request("INFO", "")
		w.bob.next("481 INFO")
		w.alice.nothing()

		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		same(w.T, w.carol.next("OPTIONS").Get("CSeq"), "4 OPTIONS")
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		m = w.alice.next("OPTIONS")
		same(w.T, m.FromTag()+" "+m.Get("CSeq"), a2.remoteTag+" 2 OPTIONS")
		w.obs.heard()
		mobile.request("BYE", "")
		w.carol.next("200 BYE")
		m = w.alice.next("BYE")
		same(w.T, m.FromTag()+" "+m.Get("CSeq"), a2.remoteTag+" 3 BYE")
		w.alice.respond(m, 200, "")
		w.heard("ending callee-bye", "ended callee-bye confirmed/confirmed")
		pass(3 * time.Minute)
		same(w.T, w.agent.Left(), "")
	})
}

func TestABusyNumberOfForksIsNotHeard(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		for i := range 16 {
			w.early(w.bob.fork(fmt.Sprint("fork-", i)), 180)
		}
		w.bob.fork("one too many").respond(w.invite, 180, "")
		w.alice.nothing()
		f := w.bob.fork("one too many")
		f.respond(w.invite, 200, answer) // but answering it has the call
		m := w.alice.next("200 INVITE")
		w.alice.remoteTag, w.alice.target, w.alice.sent = m.ToTag(), uri(m.Get("Contact")), 100
		w.ack()
		for i := range 20 {
			w.bob.fork(fmt.Sprint("more-", i)).respond(w.invite, 200, answer)
		}
		byes := 0
		for m := w.bob.poll(); m != nil; m = w.bob.poll() {
			if m.Method == "BYE" {
				byes++
				w.bob.respond(m, 200, "")
			}
		}
		same(w.T, fmt.Sprint(byes), "15") // 32 forks in all
		w.release(store.End{Reason: store.Operator})
		pass(3 * time.Minute)
		same(w.T, w.agent.Left(), "")
	})
}

func TestAnAnswerToAForkThatLostGets487(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		a1 := w.early(w.bob.fork("desk"), 180)
		w.early(w.bob.fork("mobile"), 180)
		a1.request("INFO", "")
		m := w.bob.next("INFO")
		w.bob.fork("mobile").respond(w.invite, 200, answer)
		w.alice.next("200 INVITE")
		w.bob.fork("desk").respond(m, 200, "")
		w.alice.next("487 INFO")
	})
}

func TestOnlyAReliableProvisionalResponseMovesAnEarlyTarget(t *testing.T) {
	for _, reliable := range []bool{false, true} {
		inWorld(t, nil, func(w *world) {
			w.dial()
			a := w.early(w.bob, 180)
			w.bob.user = "moved"
			want := "sip:bob@127.0.0.1:5072"
			if reliable {
				w.early(w.bob, 183, "RSeq: 1", "Require: 100rel")
				want = "sip:moved@127.0.0.1:5072"
			} else {
				w.early(w.bob, 183)
			}
			a.sent = 50
			a.request("INFO", "")
			same(w.T, w.bob.next("INFO").RequestURI, want)
		})
	}
}

func TestAnInviteOfOursThatComesBackIsALoopUnlessItAsksForSomethingElse(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		back := w.bob
		back.callID, back.tag, back.from = "back@bob", w.invite.FromTag(), without(w.invite.Get("From"))
		back.remoteTag, back.uri = "", "<sip:bob@example.com>"
		back.target = "sip:bob@example.com"
		back.request("INVITE", offer)
		back.next("100 INVITE")
		back.next("482 INVITE")
		back.say(back.build("ACK", back.cseq, ""))

		back.callID, back.target = "spiral@bob", "sip:else@example.com"
		back.request("INVITE", offer)
		back.next("100 INVITE")
		m := back.next("INVITE")
		back.callID, back.tag, back.target = "again@bob", m.FromTag(), "sip:bob@example.com"
		back.request("INVITE", offer)
		back.next("100 INVITE")
		back.next("482 INVITE")
	})
}

func TestAnUpdateMovesTheTargetOfItsForkOnly(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		desk, mobile := w.bob.fork("desk"), w.bob.fork("mobile")
		a1 := w.early(desk, 180)
		a2 := w.early(mobile, 180)
		a1.sent, a2.sent = 100, 200
		a1.request("UPDATE", "")
		m := w.bob.next("UPDATE")
		a2.request("INFO", "") // the other fork has its turn in between
		mobile.respond(w.bob.next("INFO"), 200, "")
		w.alice.next("200 INFO")
		desk.respond(m, 200, "", "Contact: <sip:moved@127.0.0.1:5073>")
		w.alice.next("200 UPDATE")
		a2.request("INFO", "")
		same(w.T, w.bob.next("INFO").RequestURI, "sip:bob@127.0.0.1:5072")
		a1.request("INFO", "")
		same(w.T, w.carol.next("INFO").RequestURI, "sip:moved@127.0.0.1:5073")
	})
}

func TestARequestThatOvertakesTheResponseOfItsForkIsToComeAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.request("INFO", "")
		same(w.T, w.bob.next("500 INFO").Get("Retry-After"), "1")
		w.early(w.bob, 180)
		late := w.bob.fork("late")
		late.sent = 100
		late.request("UPDATE", "")
		w.bob.next("500 UPDATE")
		w.bob.request("INFO", "")
		same(w.T, w.alice.next("INFO").Get("CSeq"), "1 INFO")
		late.callID = "another"
		late.request("UPDATE", "")
		w.bob.next("481 UPDATE")
	})
	inWorld(t, nil, func(w *world) { // its 2xx was lost, and it has hung up
		w.dial()
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.alice.next("487 INVITE")
		w.bob.respond(w.invite, 200, answer)
		w.bob.next("ACK")
		w.bob.respond(w.bob.next("BYE"), 481, "")
		w.heard("started", "ending callee-bye(487)", "ended callee-bye(487) confirmed/already-gone")
	})
}

func TestAByeForOneOfTheEarlyDialogsEndsThatOneOnly(t *testing.T) {
	for _, crossed := range []bool{false, true} {
		inWorld(t, nil, func(w *world) {
			w.dial()
			desk, mobile := w.bob.fork("desk"), w.bob.fork("mobile")
			a1 := w.early(desk, 180)
			a2 := w.early(mobile, 180)
			a1.sent, a2.sent = 100, 200
			a1.request("BYE", "", "Reason: Q.850;cause=16")
			w.alice.next("200 BYE")
			bye := w.bob.next("BYE")
			same(w.T, bye.ToTag()+" "+bye.Get("CSeq")+" "+bye.Get("Reason"), "desk 2 BYE Q.850;cause=16")
			if crossed {
				desk.respond(w.invite, 200, answer)
				w.alice.next("487 INVITE")
				same(w.T, w.bob.next("ACK").ToTag(), "desk")
				m := w.bob.next("BYE")
				same(w.T, m.ToTag()+" "+m.Get("CSeq"), "desk 3 BYE")
				desk.respond(m, 200, "")
				w.heard("started", "ending caller-bye(487)", "ended caller-bye(487) confirmed/confirmed")
				return
			}
			desk.respond(bye, 200, "")
			desk.respond(w.invite, 180, "")
			a1.request("INFO", "")
			w.alice.next("481 INFO")
			desk.request("INFO", "")
			w.bob.next("481 INFO")
			w.heard("started")
			a2.request("BYE", "") // the last one
			w.alice.next("200 BYE")
			w.alice.next("487 INVITE")
			w.cancelled()
			w.heard("ended caller-bye(487) /")
		})
	}
}

func TestA481WhileItRingsIsPassedOnAndEndsNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.early(w.bob, 180)
		w.bob.request("INFO", "")
		w.alice.respond(w.alice.next("INFO"), 481, "")
		w.bob.next("481 INFO")
		w.accept()
		w.ack()
	})
}

// forked has a call with credentials ring at two forks; a1 and a2 are alice in
// the dialog of each.
func forked(w *world) (desk, mobile, a1, a2 *phone) {
	w.dial()
	w.alice.sent = 100
	desk, mobile = w.bob.fork("desk"), w.carol.fork("mobile")
	mobile.callID, mobile.remoteTag, mobile.from, mobile.uri, mobile.target =
		w.bob.callID, w.bob.remoteTag, w.bob.from, w.bob.uri, w.bob.target
	a1, a2 = w.early(desk, 183), w.early(mobile, 183)
	a2.sent = 200
	return desk, mobile, a1, a2
}

func TestAChallengeIsAnsweredWithTheNumberOfItsFork(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		desk, mobile, a1, a2 := forked(w)
		a1.request("INFO", "")
		m := w.bob.next("INFO")
		for range 3 { // the other one is further
			a2.request("INFO", "")
			mobile.respond(w.carol.next("INFO"), 200, "")
			w.alice.next("200 INFO")
		}
		desk.respond(m, 401, "", wwwSHA)
		m = w.bob.next("INFO")
		same(w.T, m.Get("CSeq")+" "+m.ToTag(), "3 INFO desk")
		w.proven(m, "Authorization", "secret")
		a2.request("INFO", "")
		m2 := w.carol.next("INFO")
		same(w.T, m2.Get("CSeq")+" "+m2.ToTag(), "5 INFO mobile")
		mobile.respond(m2, 200, "")
		same(w.T, w.alice.next("200 INFO").ToTag(), a2.remoteTag)
		desk.respond(m, 200, "")
		same(w.T, w.alice.next("200 INFO").ToTag(), a1.remoteTag)

		a1.request("INFO", "")
		m = w.bob.next("INFO")
		mobile.respond(w.invite, 200, answer)
		w.alice.next("200 INVITE")
		desk.respond(m, 401, "", stale) // it has lost the call
		w.alice.next("487 INFO")
		w.bob.nothing()
	})
}

func TestAChallengeToTheInviteEndsItsForks(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		desk, _, a1, _ := forked(w)
		a1.request("INFO", "")
		desk.respond(w.bob.next("INFO"), 200, "")
		w.alice.next("200 INFO")
		desk.respond(w.invite, 401, "", wwwSHA)
		w.bob.next("ACK")
		w.take(w.bob)
		same(w.T, w.invite.Get("CSeq"), "2 INVITE")
		a3 := w.early(desk, 183)
		if a3.remoteTag == a1.remoteTag {
			w.Error("a new dialog has the tag of one that is over")
		}
		a3.sent = 300
		a3.request("INFO", "")
		same(w.T, w.bob.next("INFO").Get("CSeq"), "3 INFO")
	})
}

func TestAForkThatAnswersTooLateGetsCredentials(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 401, "", wwwSHA)
		w.bob.next("ACK")
		w.take(w.bob)
		w.accept()
		w.ack()
		late := w.bob.fork("late")
		late.respond(w.invite, 200, answer)
		same(w.T, w.bob.next("ACK").Get("Authorization"), w.invite.Get("Authorization"))
		bye := w.bob.next("BYE")
		same(w.T, w.proven(bye, "Authorization", "secret"), "n1 00000002 SHA-256")
		late.respond(bye, 401, "", stale)
		again := w.bob.next("BYE")
		same(w.T, again.Get("CSeq")+" "+w.proven(again, "Authorization", "secret"), "4 BYE n2 00000001 SHA-256")
		late.respond(again, 401, "", otherSHA)
		w.bob.nothing()
	})
}
