package b2bua_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// arrivals is what comes to a phone within a time, with the seconds it came
// at.
func (p *phone) arrivals(within time.Duration) map[string][]float64 {
	p.t.Helper()
	got := make(map[string][]float64)
	start := time.Now()
	for {
		for m := p.poll(); m != nil; m = p.poll() {
			got[what(m)] = append(got[what(m)], time.Since(start).Seconds())
		}
		if time.Since(start) >= within {
			return got
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestA2xxIsRepeatedUntilItsAck(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		first := w.accept()
		got := w.alice.arrivals(12 * time.Second)
		want := map[string][]float64{"200 INVITE": {0.5, 1.5, 3.5, 7.5, 11.5}}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Error(diff)
		}
		w.bob.nothing()
		pass(4 * time.Second)
		same(w.T, w.alice.next("200 INVITE").Raw, first.Raw)
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")
		pass(time.Minute)
		w.alice.nothing()
		w.bob.nothing()
	})
}

func TestACallWhoseAckDoesNotComeIsReleased(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.accept()
		pass(32*time.Second - time.Millisecond)
		w.alice.all()
		w.bob.nothing()
		w.heard("started")
		pass(time.Millisecond)
		same(w.T, w.bob.next("ACK").Get("CSeq"), "1 ACK")
		const why = `SIP;cause=408;text="ACK did not come", Q.850;cause=102`
		for _, p := range []*phone{w.bob, w.alice} {
			bye := p.next("BYE")
			same(w.T, bye.Get("Reason"), why)
			p.respond(bye, 200, "")
		}
		w.heard("ending no-ack(408)", "ended no-ack(408) confirmed/confirmed")
	})
}

func TestARepeated2xxOfTheCalleeGetsTheSameAckAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.accept()
		again := w.bob.response(w.invite, 200, answer, "Content-Type: application/sdp")
		w.bob.say(again) // before the caller's ACK there is nothing to say
		w.bob.nothing()
		ack := w.ack()
		for range 3 {
			pass(time.Second)
			w.bob.say(again)
			same(w.T, w.bob.next("ACK").Raw, ack.Raw)
		}
		w.alice.nothing()
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

func TestA2xxOfAnotherForkIsAcknowledgedAndEnded(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.bob.tag = "fork-tag"
		w.bob.say(w.bob.response(w.invite, 200, answer, "Record-Route: <sip:127.0.0.1:5073;lr>"))
		ack, bye := w.carol.next("ACK"), w.carol.next("BYE")
		for _, m := range []string{ack.Get("Route"), bye.Get("Route")} {
			same(w.T, m, "<sip:127.0.0.1:5073;lr>")
		}
		same(w.T, ack.ToTag()+" "+bye.ToTag(), "fork-tag fork-tag")
		same(w.T, ack.Get("CSeq")+", "+bye.Get("CSeq"), "1 ACK, 2 BYE")
		w.carol.respond(bye, 200, "")
		w.heard()
		w.bob.nothing()
		w.alice.nothing()
		if rec, _ := w.agent.Call(w.id); rec.Legs[1].RemoteTag != "bob-tag" || rec.State != "confirmed" {
			w.Errorf("the fork changed the call: %+v", rec)
		}
	})
}

func TestAnAckWithTheBranchOfItsInviteCounts(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.accept()
		w.alice.sent = 0 // the branch of the INVITE
		ack := w.alice.build("ACK", 1, "")
		w.alice.say(ack)
		w.bob.next("ACK")
		w.heard("started", "evidence caller: ACK", "confirmed")
		w.alice.say(ack) // repeated
		pass(time.Minute)
		w.alice.nothing()
		w.bob.nothing()
	})
}

func TestTheAckOfAReinviteIsRepeatedAndItsLackEndsTheCall(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.bob.reinvite()
		m := w.alice.next("INVITE")
		again := w.alice.response(m, 200, answer)
		w.alice.say(again)
		w.bob.next("200 INVITE")
		w.bob.say(w.bob.build("ACK", w.bob.cseq, ""))
		ack := w.alice.next("ACK")
		w.alice.say(again)
		same(w.T, w.alice.next("ACK").Raw, ack.Raw)

		w.bob.reinvite()
		w.alice.respond(w.alice.next("INVITE"), 200, answer)
		w.bob.next("200 INVITE")
		w.obs.heard()
		pass(32*time.Second - time.Millisecond)
		w.heard()
		w.alice.nothing()
		pass(time.Millisecond)
		w.heard("ending no-ack(408)")
		same(w.T, w.alice.next("ACK").Get("CSeq"), "2 ACK")
		w.alice.next("BYE")
	})
}
