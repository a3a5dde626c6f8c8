package b2bua_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
)

func TestARefusalIsRelayed(t *testing.T) {
	for _, status := range []int{302, 400, 404, 486, 500, 503, 600} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.dial()
				w.bob.respond(w.invite, status, "sorry", "Contact: <sip:new@example.org>;q=0.5, <sip:other@example.org>", "X-Why: because")
				m := w.alice.next(fmt.Sprintf("%d INVITE", status))
				same(w.T, m.Get("Contact"), "<sip:new@example.org>;q=0.5, <sip:other@example.org>")
				same(w.T, m.Get("X-Why")+" "+m.Reason+" "+string(m.Body), "because Phrase of bob sorry")
				same(w.T, w.bob.next("ACK").Branch(), w.invite.Branch())
				w.heard("started", fmt.Sprintf("ended callee-rejected(%d) /", status))
			})
		})
	}
}

func twoTargets(c *b2bua.Config) {
	c.NextHop = ""
	c.Trunks = []b2bua.Trunk{{Name: "pbx", Targets: []string{"sip:" + bobAddr, "sip:" + carolAddr}}}
	c.Routes = []b2bua.Route{{To: []string{"pbx"}}}
}

func TestTheNextTargetIsTriedAfter503(t *testing.T) {
	inWorld(t, twoTargets, func(w *world) {
		w.dial()
		first := w.invite
		w.bob.respond(first, 503, "")
		w.bob.next("ACK")
		w.take(w.carol)
		same(w.T, w.invite.RequestURI, "sip:bob@127.0.0.1:5073")
		if w.invite.Branch() == first.Branch() || w.invite.CallID() != first.CallID() || w.invite.Get("CSeq") != "1 INVITE" {
			w.Errorf("second try:\n%s", w.invite.Raw)
		}
		w.alice.nothing()
		w.carol.respond(w.invite, 486, "")
		w.alice.next("486 INVITE")
		w.carol.next("ACK")
		w.heard("started", "ended callee-rejected(486) /")
	})
}

func TestTheNextTargetIsTriedWhenTheFirstDoesNotAnswer(t *testing.T) {
	inWorld(t, twoTargets, func(w *world) {
		w.dial()
		pass(4*time.Second - time.Millisecond)
		w.carol.nothing()
		pass(time.Millisecond)
		w.take(w.carol)
		w.carol.respond(w.invite, 200, answer)
		w.alice.next("200 INVITE")
	})
}

func TestACalleeThatNeverAnswersIs408(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		pass(32*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.alice.next("408 INVITE")
		w.heard("started", "ended unreachable(408) /")
		same(w.T, strings.Join(w.bob.all(), " "), "INVITE INVITE INVITE INVITE INVITE INVITE")
	})
}

// cancel is the CANCEL of alice's INVITE.
func (w *world) cancel() {
	w.Helper()
	text := w.alice.build("CANCEL", w.alice.cseq, "", `Reason: SIP;cause=200;text="elsewhere"`)
	w.alice.say(strings.Replace(text, fmt.Sprintf("alice-%d", w.alice.sent), "alice-1", 1))
	w.alice.next("200 CANCEL")
	w.alice.next("487 INVITE")
}

// cancelled has bob get the CANCEL and answer as he should.
func (w *world) cancelled() {
	w.Helper()
	m := w.bob.next("CANCEL")
	if m.Branch() != w.invite.Branch() || m.Get("CSeq") != "1 CANCEL" || m.RequestURI != w.invite.RequestURI ||
		m.Get("To") != w.invite.Get("To") || m.Get("From") != w.invite.Get("From") || len(m.All("Via")) != 1 {
		w.Errorf("CANCEL does not match its INVITE:\n%s", m.Raw)
	}
	w.bob.respond(m, 200, "")
	w.bob.respond(w.invite, 487, "")
	w.bob.next("ACK")
}

func TestACancelGoesOnAfterAProvisionalResponse(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 180, "")
		w.alice.next("180 INVITE")
		w.cancel()
		w.cancelled()
		w.heard("started", "ended caller-cancel(487) /")
		w.bob.nothing()
	})
}

func TestACancelWaitsForAProvisionalResponse(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.cancel()
		pass(300 * time.Millisecond)
		w.bob.nothing()
		w.bob.respond(w.invite, 100, "")
		w.cancelled()
		w.alice.nothing()
		w.heard("started", "ended caller-cancel(487) /")
	})
}

func TestA200ThatCrossesTheCancelIsAcknowledgedAndEnded(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 180, "")
		w.alice.next("180 INVITE")
		w.cancel()
		cancel := w.bob.next("CANCEL")
		w.bob.respond(w.invite, 200, answer)
		same(w.T, w.bob.next("ACK").Get("CSeq"), "1 ACK")
		bye := w.bob.next("BYE")
		same(w.T, bye.Get("CSeq"), "2 BYE")
		w.bob.respond(cancel, 200, "")
		w.bob.respond(bye, 200, "")
		w.alice.nothing()
		w.heard("started", "ending caller-cancel(487)", "ended caller-cancel(487) confirmed/confirmed")
	})
}

func TestACancelledCalleeThatStaysSilentIsForgottenAfter32Seconds(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 180, "")
		w.alice.next("180 INVITE")
		w.cancel()
		w.bob.next("CANCEL")
		pass(32*time.Second - time.Millisecond)
		w.heard("started")
		pass(time.Millisecond)
		w.heard("ended caller-cancel(487) /")
	})
}

func TestACallThatRingsTooLongEndsWith408(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) { c.RingTimeout = 20 * time.Second }, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 180, "")
		w.alice.next("180 INVITE")
		pass(20*time.Second - time.Millisecond)
		w.alice.nothing()
		w.bob.nothing()
		pass(time.Millisecond)
		w.alice.next("408 INVITE")
		w.cancelled()
		w.heard("started", "ended no-answer(487) /")
	})
}

func TestACallThatRingsIsGivenUpOnRelease(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 180, "")
		w.alice.next("180 INVITE")
		if !w.agent.Release(w.id, store.End{Reason: store.Operator, Text: "enough"}) {
			w.Error("Release found no call")
		}
		w.alice.next("487 INVITE")
		w.cancelled()
		w.heard("started", "ended operator(487) /")
		if w.agent.Release(w.id, store.End{Reason: store.Operator}) {
			w.Error("a second Release found a call")
		}
	})
}

func TestNoCallIsTakenWhileTheStoreIsDownIfSoConfigured(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) { c.RejectDown = true }, func(w *world) {
		w.store.down = true
		w.alice.request("INVITE", "")
		w.alice.next("100 INVITE")
		same(w.T, w.alice.next("503 INVITE").Get("Retry-After"), "10")
		w.bob.nothing()
	})
}

func TestACancelThatCrossesOur200ChangesNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.accept()
		text := w.alice.build("CANCEL", w.alice.cseq, "")
		w.alice.say(strings.Replace(text, "alice-2", "alice-1", 1))
		w.alice.next("200 CANCEL")
		w.alice.nothing()
		w.bob.nothing()
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}
