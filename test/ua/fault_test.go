package ua_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"sipvigil/test/ua"
)

func TestALost200IsRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		bob.Drop(ua.First(2, ua.Is(ua.Out, "200 INVITE")))
		caller, callee := connect(t, alice, bob)
		ask(t, caller, 200, "INFO", "")
		inOrder(t, caller, callee)
	})
}

func TestALostACKIsRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		alice.Drop(ua.First(2, ua.Is(ua.Out, "ACK")))
		_, callee := connect(t, alice, bob)
		must[ua.Received](t)(callee.Wait(t.Context(), ua.Method("ACK")))
	})
}

func TestAnAnswerThatIsNeverAcknowledgedIsHungUp(t *testing.T) {
	onEach(t, func(t *testing.T, alice, _ *ua.Phone) {
		bob := listenHasty(t, "bob", transportOf(alice))
		alice.Drop(ua.Is(ua.Out, "ACK"))
		out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
		in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
		callee := must[*ua.Dialog](t)(in.Accept(ua.SDP(40002)))
		caller := must[*ua.Dialog](t)(out.Wait(t.Context()))
		ends(t, callee, ua.NoACK)
		ends(t, caller, ua.ByPeer)
	})
}

func TestLostRequestsAndResponsesAreRepeated(t *testing.T) {
	t.Parallel()
	alice, bob := listen(t, "alice", "udp"), listen(t, "bob", "udp")
	bob.Drop(ua.First(2, ua.Is(ua.In, "INVITE")))
	caller, callee := connect(t, alice, bob)

	bob.Drop(ua.First(1, ua.Is(ua.In, "INFO")))
	ask(t, caller, 200, "INFO", "")
	if r := must[ua.Received](t)(callee.Next(t.Context(), ua.Method("INFO"))); r.CSeq != 2 {
		t.Errorf("INFO has CSeq %d", r.CSeq)
	}

	bob.Drop(ua.First(1, ua.Is(ua.Out, "200 OPTIONS")))
	ask(t, caller, 200, "OPTIONS", "")
	again := must[ua.Received](t)(callee.Wait(t.Context(), func(r ua.Received) bool { return r.Retransmission }))
	if again.Method != "OPTIONS" || again.CSeq != 3 {
		t.Errorf("repeated %s with CSeq %d", again.Method, again.CSeq)
	}
	inOrder(t, caller, callee)
}

func TestCallsSurviveLoss(t *testing.T) {
	t.Parallel()
	alice, bob := listen(t, "alice", "udp"), listen(t, "bob", "udp")
	alice.Drop(ua.Loss(1, 0.15))
	for range 5 {
		caller, callee := connect(t, alice, bob)
		ask(t, callee, 200, "INFO", "")
		ask(t, caller, 200, "INVITE", ua.SDP(40000))
		if err := caller.Bye(t.Context()); err != nil {
			t.Error(err)
		}
		inOrder(t, caller, callee)
	}
}

func TestAForgottenCallIsAnswered481(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		caller, callee := connect(t, alice, bob)
		other, _ := connect(t, alice, bob)
		callee.Forget()
		for _, method := range []string{"OPTIONS", "INFO", "UPDATE", "INVITE"} {
			ask(t, caller, 481, method, "")
		}
		bob.AnswerUnknown("OPTIONS", 200, "")
		ask(t, caller, 200, "OPTIONS", "")
		wantStatus(t, caller.Bye(t.Context()), 481)
		must[ua.Received](t)(callee.Wait(t.Context(), ua.Method("BYE")))
		ends(t, callee, ua.ByPeer)
		ask(t, other, 200, "OPTIONS", "")
	})
}

func TestASilentCallTimesOutAndRecordsWhatCame(t *testing.T) {
	onEach(t, func(t *testing.T, _, bob *ua.Phone) {
		alice := listenHasty(t, "alice", transportOf(bob))
		caller, callee := connect(t, alice, bob)
		other, _ := connect(t, alice, bob)
		callee.Silence()
		if _, err := caller.Request(t.Context(), "OPTIONS", ""); !errors.Is(err, ua.ErrTimeout) {
			t.Errorf("error %v, want ErrTimeout", err)
		}
		must[ua.Received](t)(callee.Wait(t.Context(), ua.Method("OPTIONS")))
		ask(t, other, 200, "OPTIONS", "")
		callee.Speak()
		ask(t, caller, 200, "OPTIONS", "")
		inOrder(t, caller, callee)
	})
}

func TestASilentPhoneAnswersNothing(t *testing.T) {
	t.Parallel()
	alice, bob := listenHasty(t, "alice", "udp"), listen(t, "bob", "udp")
	caller, callee := connect(t, alice, bob)
	bob.Silence()
	for _, err := range []error{
		func() error { _, err := caller.Request(soon(t), "OPTIONS", ""); return err }(),
		func() error { _, err := alice.Request(soon(t), bob.Addr(), "OPTIONS", bob.URI(), ""); return err }(),
		func() error { _, err := alice.Call(soon(t), bob.Addr(), bob.URI(), ua.Offer{}); return err }(),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
	}
	if err := caller.Bye(t.Context()); !errors.Is(err, ua.ErrTimeout) {
		t.Errorf("error %v, want ErrTimeout", err)
	}
	ends(t, callee, ua.ByPeer)
}

func TestAPhoneThatVanishesEndsItsWaits(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		caller, callee := connect(t, alice, bob)
		asked := make(chan error, 1)
		callee.Silence()
		go func() {
			_, err := caller.Request(t.Context(), "OPTIONS", "")
			asked <- err
		}()
		must[ua.Received](t)(callee.Wait(t.Context(), ua.Method("OPTIONS")))
		ringing := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{})
		in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
		alice.Close()
		if err := <-asked; !errors.Is(err, ua.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		if _, err := ringing.Wait(t.Context()); !errors.Is(err, ua.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		ends(t, caller, ua.Vanished)
		bob.Close()
		<-in.Cancelled()
		ends(t, callee, ua.Vanished)
		if _, err := callee.Wait(t.Context(), ua.Method("BYE")); !errors.Is(err, ua.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		if _, err := callee.Request(t.Context(), "INFO", ""); !errors.Is(err, ua.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	})
}

func TestCheckCSeqCatchesWrongNumbers(t *testing.T) {
	for name, test := range map[string]struct {
		number uint32
		status int
		fault  string
	}{
		"a gap":     {9, 200, "has CSeq 9, the request before it 2"},
		"the same":  {2, 200, "has CSeq 2, the request before it 2"},
		"one lower": {1, 500, "has CSeq 1, the request before it 2"},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := listen(t, "alice", "udp"), listen(t, "bob", "udp")
			caller, callee := connect(t, alice, bob)
			ask(t, caller, 200, "INFO", "")
			inOrder(t, callee)
			response := must[*ua.Message](t)(caller.RequestWithCSeq(t.Context(), test.number, "OPTIONS", ""))
			if response.Status != test.status {
				t.Errorf("answered %d, want %d", response.Status, test.status)
			}
			if err := callee.CheckCSeq(); err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("CheckCSeq says %v, want %q", err, test.fault)
			}
		})
	}
}

// A BYE may take long to go out, when it opens a connection. Who says 481 before
// it does has lost the call, and not hung up.
func TestAPhoneKnowsItsCallUntilItsBYEIsOut(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		caller, callee := connect(t, alice, bob)
		held, goOn := make(chan struct{}), make(chan struct{})
		hold := sync.OnceFunc(func() { close(held); <-goOn })
		alice.Drop(func(d ua.Direction, m *ua.Message) bool {
			if ua.Is(ua.Out, "BYE")(d, m) {
				hold()
			}
			return false
		})
		hungUp := make(chan error, 1)
		go func() { hungUp <- caller.Bye(t.Context()) }()
		<-held
		ask(t, callee, 200, "OPTIONS", "")
		close(goOn)
		if err := <-hungUp; err != nil {
			t.Fatal(err)
		}
		ends(t, callee, ua.ByPeer)
	})
}
