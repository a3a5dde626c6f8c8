package b2bua_test

import (
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
)

func TestAProbeIsAWholeRequestInsideTheDialog(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("Record-Route: <sip:127.0.0.1:5071;lr>, <sip:192.0.2.1;lr>")
		w.accept("Record-Route: <sip:127.0.0.1:5072;lr;x=1>")
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
		m := w.bob.next("OPTIONS")
		same(w.T, m.Raw, "OPTIONS sip:bob@127.0.0.1:5072 SIP/2.0\r\n"+
			"Via: SIP/2.0/UDP 127.0.0.1:5060;branch="+m.Branch()+";rport\r\nMax-Forwards: 70\r\n"+
			"Route: <sip:127.0.0.1:5072;lr;x=1>\r\n"+
			"From: "+w.invite.Get("From")+"\r\nTo: <sip:bob@example.com>;tag=bob-tag\r\n"+
			"Call-ID: "+w.invite.CallID()+"\r\nCSeq: 2 OPTIONS\r\nContact: <sip:alice@127.0.0.1:5060>\r\n"+
			"Accept: application/sdp\r\nAllow: "+allowed+"\r\nSupported: 100rel, timer\r\nUser-Agent: sipvigil\r\n"+
			"Session-ID: "+m.Get("Session-ID")+"\r\nContent-Length: 0\r\n\r\n")
		w.agent.Probe(w.id, store.Caller, "OPTIONS", 32*time.Second)
		m = w.alice.next("OPTIONS")
		same(w.T, m.Raw, "OPTIONS sip:alice@127.0.0.1:5071 SIP/2.0\r\n"+
			"Via: SIP/2.0/UDP 127.0.0.1:5060;branch="+m.Branch()+";rport\r\nMax-Forwards: 70\r\n"+
			"Route: <sip:127.0.0.1:5071;lr>\r\nRoute: <sip:192.0.2.1;lr>\r\n"+
			"From: <sip:bob@example.com>;tag="+w.alice.remoteTag+"\r\nTo: \"alice\" <sip:alice@127.0.0.1:5071>;tag=alice-tag\r\n"+
			"Call-ID: call-1@alice\r\nCSeq: 1 OPTIONS\r\nContact: <sip:bob@127.0.0.1:5060>\r\n"+
			"Accept: application/sdp\r\nAllow: "+allowed+"\r\nSupported: 100rel, timer\r\nUser-Agent: sipvigil\r\n"+
			"Session-ID: "+m.Get("Session-ID")+"\r\nContent-Length: 0\r\n\r\n")
	})
}

func TestAnAnswerToAProbeIsReportedWithItsRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   string
	}{{200, "200"}, {481, "481"}, {500, "500"}, {405, "405"}} {
		t.Run(tt.want, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
				m := w.bob.next("OPTIONS")
				pass(20 * time.Millisecond)
				w.bob.respond(m, 100, "")
				pass(23 * time.Millisecond)
				w.bob.respond(m, tt.status, "")
				w.heard("probe callee OPTIONS: answered " + tt.want + " after 43ms")
				pass(time.Minute)
				w.heard()
				w.bob.nothing()
				w.alice.nothing()
			})
		})
	}
}

func TestAProbeThatNobodyAnswersTimesOutExactly(t *testing.T) {
	for _, timeout := range []time.Duration{700 * time.Millisecond, 5 * time.Second, 31 * time.Second, 32 * time.Second, time.Minute} {
		t.Run(timeout.String(), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				w.agent.Probe(w.id, store.Caller, "UPDATE", timeout)
				real := min(timeout, 32*time.Second)
				pass(real - time.Millisecond)
				w.heard()
				pass(time.Millisecond)
				w.heard("probe caller UPDATE: timeout")
				w.alice.all()
				pass(time.Minute)
				w.alice.nothing()
				w.heard()
			})
		})
	}
}

func TestNoProbeGoesOutBeforeTheAckOrDuringAReinvite(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.agent.Probe("00000000-0000-7000-8000-000000000000", store.Caller, "OPTIONS", time.Second)
		w.heard("probe caller OPTIONS: no call")
		w.dial()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.heard("started", "probe callee OPTIONS: no call")
		w.accept()
		for _, side := range store.Sides {
			w.agent.Probe(w.id, side, "OPTIONS", time.Second)
		}
		w.heard("probe caller OPTIONS: deferred", "probe callee OPTIONS: deferred")
		w.ack()
		w.heard("evidence caller: ACK", "confirmed")
		w.alice.reinvite()
		m := w.bob.next("INVITE")
		for _, side := range store.Sides {
			w.agent.Probe(w.id, side, "OPTIONS", time.Second)
		}
		w.heard("evidence caller: INVITE", "probe caller OPTIONS: deferred", "probe callee OPTIONS: deferred")
		w.bob.nothing()
		w.alice.nothing()
		w.bob.respond(m, 200, "")
		w.alice.next("200 INVITE")
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		w.bob.next("ACK")
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		same(w.T, w.bob.next("OPTIONS").Get("CSeq"), "3 OPTIONS")
	})
}

func TestARequestThatFindsNoRoomInOurQueueIsSentAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.network.Fill(2)
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
		pass(1499 * time.Millisecond)
		w.bob.nothing()
		pass(time.Millisecond)
		w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		w.heard("probe callee OPTIONS: answered 200 after 1.5s")
		w.network.Fill(1)
		w.agent.Probe(w.id, store.Callee, "UPDATE", 32*time.Second)
		w.bob.nothing()
		pass(500 * time.Millisecond)
		w.bob.respond(w.bob.next("UPDATE"), 200, "")
		w.heard("probe callee UPDATE: answered 200 after 500ms")
		w.network.Fill(2)
		w.agent.Release(w.id, store.End{Reason: store.Operator})
		pass(500 * time.Millisecond)
		w.bob.next("BYE")
		w.alice.next("BYE")
	})
}

// Else it might count for another leg of the same call: one that was dropped and
// adopted again meanwhile.
func TestWhatBecomesOfAProbeComesWithItsQuestion(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int // 0 = nothing comes back
		want   string
	}{
		{"OPTIONS", 200, "answered 200 after 0s"}, {"OPTIONS", 0, "timeout"},
		{"UPDATE", 200, "answered 200 after 0s"}, {"UPDATE", 0, "timeout"},
		{"INVITE", 0, "unable"}, // the session is not known
	} {
		inWorld(t, nil, func(w *world) {
			w.connect()
			w.agent.Ask([]store.Question{{ID: w.id, Side: store.Callee, Method: tt.method, Of: "it"}}, 5*time.Second)
			synctest.Wait()
			if tt.method != "INVITE" {
				if m := w.bob.next(tt.method); tt.status != 0 {
					w.bob.respond(m, tt.status, "")
				}
			}
			pass(5 * time.Second)
			w.heard("probe callee " + tt.method + ": " + tt.want + " of it")
		})
	}
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		ask := func(method string) {
			w.agent.Ask([]store.Question{{ID: w.id, Side: store.Callee, Method: method, Of: "it"}}, 5*time.Second)
		}
		ask("OPTIONS")
		w.heard("probe callee OPTIONS: unsent of it")
		ask("UPDATE")
		w.heard("probe callee UPDATE: unsent of it")
		for _, err := range []error{syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EINVAL, syscall.EPERM} {
			w.network.Refuse(bobAddr, &net.OpError{Op: "write", Err: os.NewSyscallError("sendto", err)})
			for _, method := range []string{"OPTIONS", "UPDATE"} {
				ask(method)
				w.heard("probe callee " + method + ": unsent for want of a network of it")
			}
		}
		w.agent.Drop(w.id)
		ask("OPTIONS")
		w.heard("probe callee OPTIONS: no call of it")
	})
}

func TestALateAnswerToAProbeIsEvidence(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
		m := w.bob.next("OPTIONS")
		pass(6 * time.Second)
		w.heard("probe callee OPTIONS: timeout")
		w.bob.respond(m, 200, "")
		w.heard("evidence callee: late 200 OPTIONS")
	})
}

func TestALateAnswerWithForgedTagsIsNoEvidence(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		m := w.bob.next("OPTIONS")
		pass(2 * time.Second)
		w.heard("probe callee OPTIONS: timeout")
		w.bob.say(replaceBranch(w.bob.response(m, 200, ""), "bob-tag", "eve-tag"))
		w.heard()
	})
}

func TestAProbeIsDeferredWhenTheStoreCoversNoNumbers(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.store.held = true
		sent := 0
		for range 5000 {
			w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Hour)
			m := w.bob.poll()
			if m == nil {
				break
			}
			sent++
			w.bob.respond(m, 200, "")
		}
		if rec, _ := w.agent.Call(w.id); rec.Legs[1].LocalCSeq > 16+4096 || sent < 1000 {
			w.Errorf("%d probes went out, the last with %d", sent, rec.Legs[1].LocalCSeq)
		}
		w.obs.heard()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Hour)
		w.heard("probe callee OPTIONS: deferred")
		w.store.cover()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Hour)
		w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		w.heard("probe callee OPTIONS: answered 200 after 0s")
	})
}
