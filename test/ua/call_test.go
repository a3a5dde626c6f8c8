package ua_test

import (
	"context"
	"errors"
	"testing"

	"sipvigil/test/ua"
)

func TestACallRingsIsAnsweredAndHungUpByTheCaller(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000), Headers: []ua.Header{ua.H("X-Test", "1")}})
		in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
		if got := in.Request.Get("x-test"); got != "1" {
			t.Errorf("X-Test is %q", got)
		}
		in.Ring(180)
		must[*ua.Message](t)(out.Provisional(t.Context(), 180))
		in.Progress(183, ua.SDP(40002))
		early := must[*ua.Message](t)(out.Provisional(t.Context(), 183))
		if string(early.Body) != ua.SDP(40002) || early.Get("c") != "application/sdp" {
			t.Errorf("183 carries %q", early.Raw)
		}
		callee := must[*ua.Dialog](t)(in.Accept(ua.SDP(40002)))
		caller := must[*ua.Dialog](t)(out.Wait(t.Context()))
		if caller != out.Early() {
			t.Error("the answer made another dialog than the 180")
		}
		if caller.LocalTag != callee.RemoteTag || caller.RemoteTag != callee.LocalTag || caller.CallID != callee.CallID {
			t.Error("the two ends name different dialogs")
		}
		if caller.RemoteTarget() != bob.URI() || callee.RemoteTarget() != alice.URI() {
			t.Errorf("targets %s and %s", caller.RemoteTarget(), callee.RemoteTarget())
		}
		if err := caller.Bye(t.Context(), ua.H("Reason", "Q.850;cause=16")); err != nil {
			t.Fatal(err)
		}
		ends(t, caller, ua.ByUs)
		if end := ends(t, callee, ua.ByPeer); end.Reason != "Q.850;cause=16" {
			t.Errorf("Reason is %q", end.Reason)
		}
		inOrder(t, caller, callee)
	})
}

func TestTheCalleeHangsUpAfterTheACK(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		bob.Handle(func(in *ua.Incoming) {
			if d, err := in.Accept(ua.SDP(40002)); err == nil {
				_ = d.Bye(t.Context()) // at once: it waits for the ACK by itself
			}
		})
		caller := must[*ua.Dialog](t)(alice.Call(t.Context(), bob.URI(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)}))
		ends(t, caller, ua.ByPeer)
	})
}

func TestRequestsPassBothWaysWithRisingNumbers(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		caller, callee := connect(t, alice, bob)
		for range 3 {
			ask(t, caller, 200, "INFO", "Signal=1", ua.H("Content-Type", "application/dtmf-relay"))
			ask(t, callee, 200, "INFO", "Signal=2", ua.H("Content-Type", "application/dtmf-relay"))
		}
		if got := ask(t, callee, 200, "OPTIONS", "").Get("Allow"); got == "" {
			t.Error("200 to OPTIONS has no Allow")
		}
		ask(t, caller, 200, "MESSAGE", "hello")
		ask(t, caller, 202, "REFER", "", ua.H("Refer-To", "<sip:carol@127.0.0.1>"))
		ask(t, callee, 200, "NOTIFY", "", ua.H("Event", "refer"))
		ask(t, caller, 481, "PRACK", "", ua.H("RAck", "1 1 INVITE"))
		ask(t, caller, 405, "PUBLISH", "")

		info := must[ua.Received](t)(callee.Next(t.Context(), ua.Method("INFO")))
		if info.CSeq != 2 || string(info.Message.Body) != "Signal=1" {
			t.Errorf("the callee's first INFO is %s", info.Message.Raw)
		}
		if next := must[ua.Received](t)(callee.Next(t.Context(), ua.Method("INFO"))); next.CSeq != 3 {
			t.Errorf("the callee's second INFO has CSeq %d", next.CSeq)
		}
		if got := callee.RemoteCSeq(); got != caller.LocalCSeq() {
			t.Errorf("the callee saw CSeq %d, the caller used %d", got, caller.LocalCSeq())
		}
		inOrder(t, caller, callee)
	})
}

func TestReINVITEAndUPDATEMoveTheTarget(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		caller, callee := connect(t, alice, bob)
		hold := ua.Media{Port: 40000, Version: 1, Direction: "sendonly"}.String()
		moved := alice.URI() + ";moved=1"
		response := ask(t, caller, 200, "INVITE", hold, ua.H("Contact", "<"+moved+">"))
		if string(response.Body) != ua.SDP(40002) {
			t.Errorf("answer to the re-INVITE is %q", response.Body)
		}
		must[ua.Received](t)(callee.Wait(t.Context(), func(r ua.Received) bool { return r.Method == "ACK" && r.CSeq == 2 }))
		if callee.RemoteTarget() != moved {
			t.Errorf("target after the re-INVITE is %s", callee.RemoteTarget())
		}
		ask(t, caller, 200, "OPTIONS", "", ua.H("Contact", "<sip:elsewhere@127.0.0.1>"))
		if callee.RemoteTarget() != moved {
			t.Errorf("OPTIONS moved the target to %s", callee.RemoteTarget())
		}
		ask(t, caller, 200, "UPDATE", "")
		if callee.RemoteTarget() != alice.URI() {
			t.Errorf("target after the UPDATE is %s", callee.RemoteTarget())
		}
		ask(t, callee, 200, "INVITE", ua.SDP(40002))
		inOrder(t, caller, callee)
	})
}

func TestAReINVITEWithoutOfferIsAnsweredInTheACK(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		caller, callee := connect(t, alice, bob)
		ask(t, callee, 200, "INVITE", "")
		ack := must[ua.Received](t)(caller.Wait(t.Context(), ua.Method("ACK")))
		if string(ack.Message.Body) != ua.SDP(40002) {
			t.Errorf("ACK carries %q", ack.Message.Body)
		}
	})
}

func TestACallIsRejected(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		bob.Handle(func(in *ua.Incoming) {
			in.Ring(180)
			in.Reject(486, "Gone Fishing", ua.H("Retry-After", "5"))
		})
		_, err := alice.Call(t.Context(), bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
		wantStatus(t, err, 486)
		var status *ua.StatusError
		if errors.As(err, &status); status.Reason != "Gone Fishing" || status.Response.Get("Retry-After") != "5" {
			t.Errorf("rejected with %s", status.Response.Raw)
		}
	})
}

func TestCANCELWaitsForAProvisionalResponse(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		ctx, cancel := context.WithCancel(t.Context())
		bob.Handle(func(in *ua.Incoming) {
			in.Ring(180)
			<-in.Cancelled()
			if _, err := in.Accept(ua.SDP(40002)); err == nil {
				t.Error("a cancelled call can be accepted")
			}
		})
		alice.Drop(func(d ua.Direction, m *ua.Message) bool {
			if ua.Is(ua.In, "180 INVITE")(d, m) {
				cancel()
			}
			return false
		})
		_, err := alice.Call(ctx, bob.Addr(), bob.URI(), ua.Offer{})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want that of the context", err)
		}
		out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{})
		out.Cancel() // before any response
		_, err = out.Wait(t.Context())
		wantStatus(t, err, 487)
	})
}

func TestAnAnswerThatCrossesTheCANCELIsHungUp(t *testing.T) {
	alice, bob := listen(t, "alice", "udp"), listen(t, "bob", "udp")
	alice.Drop(ua.First(1000, ua.Is(ua.Out, "CANCEL")))
	out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
	in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
	out.Cancel()
	callee := must[*ua.Dialog](t)(in.Accept(ua.SDP(40002)))
	if _, err := out.Wait(t.Context()); !errors.Is(err, ua.ErrOver) {
		t.Errorf("error %v, want ErrOver", err)
	}
	ends(t, callee, ua.ByPeer)
}

func TestACallToNobodyTimesOut(t *testing.T) {
	t.Parallel()
	alice, bob := listenHasty(t, "alice", "udp"), listen(t, "bob", "udp")
	bob.Close()
	_, err := alice.Call(t.Context(), bob.Addr(), bob.URI(), ua.Offer{})
	if !errors.Is(err, ua.ErrTimeout) {
		t.Errorf("error %v, want ErrTimeout", err)
	}
}

func TestACallOverTCPToNobodyFailsAtOnce(t *testing.T) {
	alice, bob := listen(t, "alice", "tcp"), listen(t, "bob", "tcp")
	bob.Close()
	if _, err := alice.Call(t.Context(), bob.Addr(), bob.URI(), ua.Offer{}); err == nil || errors.Is(err, ua.ErrTimeout) {
		t.Errorf("error %v, want a refused connection", err)
	}
}
