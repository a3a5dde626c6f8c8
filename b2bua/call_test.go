package b2bua_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sipvigil/b2bua"
)

func TestTheCalleesInviteIsARequestOfItsOwnWithTheCallersContent(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		body := "v=0\r\nodd:  bytes \x00\xff\r\n"
		w.alice.request("INVITE", body, "Content-Type: application/sdp", "X-Odd: a,b ;; c=\"d;e\"",
			"Subject: caf\xe9", "Record-Route: <sip:127.0.0.1:5071;lr;x=\"y\">", "P-Asserted-Identity: <tel:+1>")
		trying := w.alice.next("100 INVITE")
		same(w.T, trying.Raw, "SIP/2.0 100 Trying\r\n"+
			"Via: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bK-alice-1\r\n"+
			"From: \"alice\" <sip:alice@127.0.0.1:5071>;tag=alice-tag\r\n"+
			"To: <sip:bob@example.com>\r\nCall-ID: call-1@alice\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n")
		w.take(w.bob)
		m := w.invite
		same(w.T, m.Raw, "INVITE sip:bob@127.0.0.1:5072 SIP/2.0\r\n"+
			"Via: SIP/2.0/UDP 127.0.0.1:5060;branch="+m.Branch()+";rport\r\n"+
			"Max-Forwards: 69\r\n"+
			"From: \"alice\" <sip:alice@127.0.0.1:5071>;tag="+m.FromTag()+"\r\n"+
			"To: <sip:bob@example.com>\r\n"+
			"Call-ID: "+m.CallID()+"\r\nCSeq: 1 INVITE\r\n"+
			"Contact: <sip:alice@127.0.0.1:5060>\r\n"+
			"Content-Type: application/sdp\r\nX-Odd: a,b ;; c=\"d;e\"\r\nSubject: caf\xe9\r\n"+
			"P-Asserted-Identity: <tel:+1>\r\nSession-ID: "+m.Get("Session-ID")+"\r\n"+
			fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))+body)
		if m.CallID() == "call-1@alice" || m.FromTag() == "alice-tag" || m.Branch() == "z9hG4bK-alice-1" {
			w.Errorf("the callee's INVITE shares an identity with the caller's:\n%s", m.Raw)
		}
		w.heard("started")
		w.bob.respond(m, 486, "")
		w.alice.next("486 INVITE")
		w.bob.next("ACK")
	})
}

func TestAnswersAreRelayedWithOurTagAndContact(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("Record-Route: <sip:127.0.0.1:5071;lr>")
		w.bob.respond(w.invite, 100, "")
		w.alice.nothing()
		var tag string
		for _, status := range []int{180, 183, 200} {
			w.bob.respond(w.invite, status, answer, "Content-Type: application/sdp", "X-Bob: 1, 2", "Record-Route: <sip:127.0.0.1:5072;lr>")
			m := w.alice.next(fmt.Sprintf("%d INVITE", status))
			if tag == "" {
				tag = m.ToTag()
			}
			same(w.T, m.Raw, fmt.Sprintf("SIP/2.0 %d Phrase of bob\r\n", status)+
				"Via: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bK-alice-1\r\n"+
				"From: \"alice\" <sip:alice@127.0.0.1:5071>;tag=alice-tag\r\n"+
				"To: <sip:bob@example.com>;tag="+tag+"\r\nCall-ID: call-1@alice\r\nCSeq: 1 INVITE\r\n"+
				fmt.Sprintf("Content-Length: %d\r\n", len(answer))+
				"Record-Route: <sip:127.0.0.1:5071;lr>\r\n"+
				"Contact: <sip:bob@127.0.0.1:5060>\r\n"+
				"Content-Type: application/sdp\r\nX-Bob: 1, 2\r\nSession-ID: "+m.Get("Session-ID")+"\r\n\r\n"+answer)
		}
		w.alice.remoteTag, w.alice.target = tag, "sip:bob@127.0.0.1:5060"
		w.alice.say(w.alice.build("ACK", 1, answer, "Content-Type: application/sdp", "X-Ack: yes"))
		ack := w.bob.next("ACK")
		same(w.T, ack.Raw, "ACK sip:bob@127.0.0.1:5072 SIP/2.0\r\n"+
			"Via: SIP/2.0/UDP 127.0.0.1:5060;branch="+ack.Branch()+";rport\r\nMax-Forwards: 70\r\n"+
			"Route: <sip:127.0.0.1:5072;lr>\r\n"+
			"From: "+w.invite.Get("From")+"\r\nTo: <sip:bob@example.com>;tag=bob-tag\r\n"+
			"Call-ID: "+w.invite.CallID()+"\r\nCSeq: 1 ACK\r\n"+
			"Content-Type: application/sdp\r\nX-Ack: yes\r\nSession-ID: "+ack.Get("Session-ID")+"\r\n"+
			fmt.Sprintf("Content-Length: %d\r\n\r\n", len(answer))+answer)
		if ack.Branch() == w.invite.Branch() {
			w.Error("the ACK of a 2xx has the branch of its INVITE")
		}
		w.heard("started", "evidence caller: ACK", "confirmed")
		rec, _ := w.agent.Call(w.id)
		if got := w.store.saved[w.id]; got.Legs[1].RemoteTag != "bob-tag" || rec.State != "confirmed" || got.Answered.IsZero() {
			w.Errorf("saved record: %+v", got)
		}
	})
}

func TestAByeIsAnsweredAndRelayedWithItsReason(t *testing.T) {
	for _, side := range []string{"caller", "callee"} {
		t.Run(side, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				by, to, cseq := w.alice, w.bob, 2
				if side == "callee" {
					by, to, cseq = w.bob, w.alice, 1
				}
				by.request("BYE", "", "Reason: Q.850;cause=16;text=\"a, b\"")
				by.next("200 BYE")
				bye := to.next("BYE")
				same(w.T, bye.Get("Reason"), "Q.850;cause=16;text=\"a, b\"")
				same(w.T, bye.Get("CSeq"), fmt.Sprintf("%d BYE", cseq))
				w.heard("ending " + side + "-bye")
				to.respond(bye, 200, "")
				w.heard("ended " + side + "-bye confirmed/confirmed")
				if len(w.store.finished) != 1 || len(slices.Collect(w.agent.Calls)) != 0 {
					w.Errorf("finished: %v", w.store.finished)
				}
				pass(time.Minute)
				by.nothing()
				to.nothing()
			})
		})
	}
}

func TestACallFromAnAddressThatIsNotAdmittedGets403(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		mallory := w.phone("mallory", "192.0.2.66:5060")
		mallory.callID, mallory.tag, mallory.uri = "m", "m", "<sip:bob@example.com>"
		mallory.request("INVITE", "")
		mallory.next("403 INVITE")
		w.bob.nothing()
		w.heard()
	})
}

func TestACallToOurselvesGets404(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) { c.NextHop = "" }, func(w *world) {
		w.alice.target = "sip:bob@127.0.0.1:5060"
		w.alice.request("INVITE", "")
		w.alice.next("100 INVITE")
		w.alice.next("404 INVITE")
		w.heard()
	})
}

func TestCompactAndFoldedHeadersAreUnderstood(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.say("INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bK-c\r\n" +
			"f: Alice\r\n <sip:alice@127.0.0.1:5071> ; TAG = alice-tag\r\nt: sip:bob@example.com\r\ni: call-1@alice\r\n" +
			"CSeq: 0001\r\n INVITE\r\nm: sip:alice@127.0.0.1:5071\r\ns: hello\r\nc: application/sdp\r\nl: 1\r\n\r\nx")
		w.alice.next("100 INVITE")
		w.take(w.bob)
		m := w.invite
		same(w.T, fmt.Sprint(m.Get("Max-Forwards"), m.Get("Subject"), m.Get("Content-Type"), string(m.Body)), "70helloapplication/sdpx")
		same(w.T, m.Get("To"), "sip:bob@example.com")
		w.alice.cseq = 1
		w.alice.uri = "<sip:bob@example.com>"
		w.accept()
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}
