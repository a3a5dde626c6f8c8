package b2bua_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
)

// cancel is the CANCEL of an INVITE of the phone.
func (p *phone) cancel(invite string) string { return swapMethod(invite, "CANCEL") }

// together sends messages before anything is done about the first of them.
func (p *phone) together(messages ...string) {
	p.t.Helper()
	for _, m := range messages {
		p.say(m)
	}
	synctest.Wait()
}

func TestRequestsThatComeTogetherGoOnInTheirOrder(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		var all []string
		for range 200 {
			w.alice.cseq++
			all = append(all, w.alice.build("INFO", w.alice.cseq, fmt.Sprint(w.alice.cseq)))
		}
		w.alice.together(all...)
		for i := range 200 {
			m := w.bob.next("INFO")
			same(w.T, string(m.Body)+" "+m.Get("CSeq"), fmt.Sprintf("%d %d INFO", i+2, i+2))
			w.bob.respond(m, 200, "")
			w.alice.next("200 INFO")
		}
	})
}

func TestAWholeCallMayComeTogether(t *testing.T) {
	for range 50 {
		inWorld(t, nil, func(w *world) {
			w.dial()
			w.alice.all()
			// The callee answers, asks and hangs up at once: each finds what
			// went before served.
			w.bob.together(w.bob.response(w.invite, 180, ""), w.bob.response(w.invite, 200, answer),
				w.bob.build("INFO", 101, ""), w.bob.build("BYE", 102, ""))
			same(w.T, fmt.Sprint(w.bob.all()), "[200 BYE 487 INFO ACK]")
			same(w.T, fmt.Sprint(w.alice.all()), "[180 INVITE 200 INVITE INFO]")
		})
	}
}

func TestACancelRightBehindItsInviteEndsTheCall(t *testing.T) {
	for range 50 {
		inWorld(t, nil, func(w *world) {
			invite := w.alice.build("INVITE", 1, offer)
			w.alice.together(invite, w.alice.cancel(invite))
			w.alice.next("100 INVITE")
			ok, terminated := w.alice.next("200 CANCEL"), w.alice.next("487 INVITE")
			if ok.ToTag() == "" || ok.ToTag() != terminated.ToTag() {
				w.Errorf("To tags: %q and %q", ok.ToTag(), terminated.ToTag())
			}
		})
	}
}

func TestACancelBeforeItsInviteIsRememberedForAMoment(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		invite := w.alice.build("INVITE", 1, offer)
		w.alice.say(w.alice.cancel(invite))
		w.alice.nothing()
		pass(499 * time.Millisecond)
		w.alice.say(invite)
		w.alice.next("100 INVITE")
		got := w.alice.all()
		slices.Sort(got) // either may go first
		same(w.T, fmt.Sprint(got), "[200 CANCEL 487 INVITE]")
		w.bob.nothing()
		w.heard("started", "ended caller-cancel(487) /")
		pass(time.Minute)
		w.alice.say(w.alice.cancel(w.alice.build("INVITE", 2, offer)))
		pass(500*time.Millisecond - time.Nanosecond)
		w.alice.all()
		pass(time.Nanosecond)
		w.alice.next("481 CANCEL")
	})
}

func TestACopyOfARequestThatCameAnotherWayGets482(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		copied := w.alice.build("INVITE", 1, offer) // the same but for its branch
		w.alice.say(copied)
		w.alice.next("482 INVITE")
		w.alice.say(swapMethod(copied, "ACK"))
		w.accept()
		w.ack()
		w.alice.say(w.alice.build("INVITE", 2, offer)) // inside the dialog
		w.alice.next("100 INVITE")
	})
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.alice.next("503 INVITE")
		w.alice.cseq--
		w.dial() // tried once more, RFC 3263 section 4.3
		w.bob.respond(w.invite, 486, "")
		w.alice.next("486 INVITE")
	})
}

func TestNothingIsLeftOfCallsThatEnded(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("INFO", "")
		w.alice.say(w.alice.cancel(w.alice.build("INVITE", 9, "")))
		w.release(store.End{Reason: store.Operator})
		pass(3 * time.Minute)
		if left := w.agent.Left(); left != "" {
			w.Error(left)
		}
	})
}

// swapMethod is the ACK or CANCEL of an INVITE as the phone wrote it.
func swapMethod(invite, method string) string {
	return strings.Replace(strings.Replace(invite, "INVITE ", method+" ", 1), " INVITE\r\n", " "+method+"\r\n", 1)
}

func TestAnInviteThatHasToWaitIsToldSo(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.obs.slow = 300 * time.Millisecond // the next line
		w.alice.request("INFO", "")
		w.alice.request("INVITE", offer)
		pass(200 * time.Millisecond)
		w.alice.next("100 INVITE")
		pass(100 * time.Millisecond)
		w.bob.respond(w.bob.next("INFO"), 200, "")
		w.bob.respond(w.bob.next("INVITE"), 486, "")
	})
}
