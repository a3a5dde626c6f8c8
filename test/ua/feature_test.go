package ua_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"sipvigil/test/ua"
)

func TestScriptedAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		caller, callee := connect(t, alice, bob)
		callee.Answer("OPTIONS", 503, "Busy Out", ua.H("Retry-After", "7"))
		if r := ask(t, caller, 503, "OPTIONS", ""); r.Reason != "Busy Out" || r.Get("Retry-After") != "7" {
			t.Errorf("answered %s", r.Raw)
		}
		callee.Respond("INFO", func(m *ua.Message) ua.Reply {
			return ua.Reply{Status: 200, Body: string(m.Body) + "!"}
		})
		if r := ask(t, caller, 200, "INFO", "echo"); string(r.Body) != "echo!" {
			t.Errorf("answered %s", r.Raw)
		}
		callee.Answer("INVITE", 488, "")
		ask(t, caller, 488, "INVITE", ua.SDP(40000))
		callee.Respond("INVITE", nil)
		ask(t, caller, 200, "INVITE", ua.SDP(40000))
		callee.Respond("BYE", func(*ua.Message) ua.Reply { return ua.Reply{Status: 500} })
		wantStatus(t, caller.Bye(t.Context()), 500)
		ask(t, caller, 200, "MESSAGE", "still there")
	})
}

func TestOutsideADialog(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		outside := func(method string) int {
			return must[*ua.Message](t)(alice.Request(t.Context(), bob.Addr(), method, bob.URI(), "")).Status
		}
		for method, want := range map[string]int{"OPTIONS": 200, "REGISTER": 200, "BYE": 481, "FOO": 405} {
			if got := outside(method); got != want {
				t.Errorf("%s: answered %d, want %d", method, got, want)
			}
		}
		bob.Answer("OPTIONS", 503, "")
		if got := outside("OPTIONS"); got != 503 {
			t.Errorf("OPTIONS: answered %d, want 503", got)
		}
		must[ua.Received](t)(bob.Wait(t.Context(), ua.Method("REGISTER")))

		caller, _ := connect(t, alice, bob)
		stranger := caller.Build("BYE", 7, "", ua.H("To", "<"+bob.URI()+">;tag=unknown"))
		if got := must[*ua.Message](t)(alice.Send(t.Context(), bob.Addr(), stranger)); got.Status != 481 {
			t.Errorf("a stranger's BYE: answered %d, want 481", got.Status)
		}
		ask(t, caller, 200, "OPTIONS", "")
	})
}

func TestOnePhoneForgesTheRequestsOfAnother(t *testing.T) {
	alice, bob, mallory := listen(t, "alice", "udp"), listen(t, "bob", "udp"), listen(t, "mallory", "udp")
	caller, callee := connect(t, alice, bob)
	forged := caller.Build("BYE", caller.LocalCSeq()+1, "")
	if got := must[*ua.Message](t)(mallory.Send(t.Context(), bob.Addr(), forged)); got.Status != 200 {
		t.Errorf("answered %d, want 200", got.Status)
	}
	ends(t, callee, ua.ByPeer)
}

func TestRecordRouteBecomesTheRouteSet(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		outer, inner := "<sip:"+bob.Addr()+";lr>", "<sip:"+alice.Addr()+";lr;x=\"a,b\">"
		out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000), Headers: []ua.Header{
			ua.H("Record-Route", inner+", "+outer),
		}})
		in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
		callee := must[*ua.Dialog](t)(in.Accept(ua.SDP(40002)))
		caller := must[*ua.Dialog](t)(out.Wait(t.Context()))
		<-callee.Confirmed()
		if got, want := fmt.Sprint(callee.Routes()), fmt.Sprint([]string{inner, outer}); got != want {
			t.Errorf("the callee's routes are %s, want %s", got, want)
		}
		if got, want := fmt.Sprint(caller.Routes()), fmt.Sprint([]string{outer, inner}); got != want {
			t.Errorf("the caller's routes are %s, want %s", got, want)
		}
		ask(t, caller, 200, "INFO", "")
		info := must[ua.Received](t)(callee.Wait(t.Context(), ua.Method("INFO"))).Message
		if got, want := fmt.Sprint(info.All("Route")), fmt.Sprint([]string{outer, inner}); got != want {
			t.Errorf("INFO has Route %s, want %s", got, want)
		}
	})
}

func TestAStrictRouterBecomesTheRequestURI(t *testing.T) {
	alice, bob := listen(t, "alice", "udp"), listen(t, "bob", "udp")
	strict := "sip:" + bob.Addr() + ";strict"
	out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
	in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
	callee := must[*ua.Dialog](t)(in.Accept(ua.SDP(40002), ua.H("Record-Route", "<"+strict+">")))
	caller := must[*ua.Dialog](t)(out.Wait(t.Context()))
	ask(t, caller, 200, "INFO", "")
	info := must[ua.Received](t)(callee.Wait(t.Context(), ua.Method("INFO"))).Message
	if info.RequestURI != strict || info.Get("Route") != "<"+bob.URI()+">" {
		t.Errorf("sent to %s with Route %s", info.RequestURI, info.Get("Route"))
	}
}

func TestReliableRingingAndEarlyRequests(t *testing.T) {
	onEach(t, func(t *testing.T, alice, bob *ua.Phone) {
		bob.Drop(ua.First(1, ua.Is(ua.Out, "183 INVITE")))
		out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000), Headers: []ua.Header{ua.H("Supported", "100rel")}})
		in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
		if err := in.RingReliably(t.Context(), 183, ua.SDP(40002)); err != nil {
			t.Fatal(err)
		}
		if err := in.RingReliably(t.Context(), 180, ""); err != nil {
			t.Fatal(err)
		}
		early := out.Early()
		ask(t, early, 200, "UPDATE", ua.SDP(40004))
		ask(t, in.Dialog(), 200, "UPDATE", ua.SDP(40006))
		callee := must[*ua.Dialog](t)(in.Accept(""))
		caller := must[*ua.Dialog](t)(out.Wait(t.Context()))
		if caller != early || caller.SDP() != ua.SDP(40004) || callee.SDP() != ua.SDP(40006) {
			t.Errorf("sessions are %q and %q", caller.SDP(), callee.SDP())
		}
		prack := must[ua.Received](t)(callee.Wait(t.Context(), ua.Method("PRACK")))
		if prack.CSeq != 2 || prack.Message.Get("RAck") != "1 1 INVITE" {
			t.Errorf("PRACK is %s", prack.Message.Raw)
		}
		inOrder(t, caller, callee)
	})
}

func TestAReliableResponseWithoutPRACKTimesOut(t *testing.T) {
	t.Parallel()
	alice, bob := listen(t, "alice", "udp"), listenHasty(t, "bob", "udp")
	alice.Drop(ua.Is(ua.Out, "PRACK"))
	alice.Dial(bob.Addr(), bob.URI(), ua.Offer{})
	in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
	if err := in.RingReliably(t.Context(), 180, ""); !errors.Is(err, ua.ErrTimeout) {
		t.Errorf("error %v, want ErrTimeout", err)
	}
}

func TestManyCallsOnOneSocket(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			// The standard T1, because here the machine is busy.
			alice := must[*ua.Phone](t)(ua.Listen(ua.Config{User: "alice", Transport: transport}))
			defer alice.Close()
			bob := must[*ua.Phone](t)(ua.Listen(ua.Config{User: "bob", Transport: transport}))
			defer bob.Close()
			bob.Handle(func(in *ua.Incoming) {
				in.Ring(180)
				_, _ = in.Accept(ua.SDP(40002))
			})
			var all sync.WaitGroup
			for range 300 {
				all.Go(func() { callAndHangUp(t, alice, bob) })
			}
			all.Wait()
		})
	}
}

func callAndHangUp(t *testing.T, alice, bob *ua.Phone) {
	d, err := alice.Call(t.Context(), bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := d.Request(t.Context(), "OPTIONS", ""); err != nil {
		t.Error(err)
	}
	if err := d.Bye(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestARegistrationNamesTheRecordAndWhereThePhoneBelievesToBe(t *testing.T) {
	p, err := ua.Listen(ua.Config{User: "dave", Inner: "10.0.0.7:5060"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	server, err := ua.Listen(ua.Config{User: "registrar"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Answer("REGISTER", 200, "")
	if res, err := p.Register(t.Context(), server.Addr(), "phones.example", ua.H("Supported", "path")); err != nil || res.Status != 200 {
		t.Fatalf("REGISTER: %v, %v", res, err)
	}
	m := server.Received()[0].Message
	for name, want := range map[string]string{"To": "<sip:dave@phones.example>", "Contact": "<sip:dave@10.0.0.7:5060>", "Supported": "path"} {
		if got := m.Get(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if m.RequestURI != "sip:phones.example" || !strings.Contains(m.Get("Via"), "10.0.0.7:5060") {
		t.Errorf("the registrar got\n%s", m.Raw)
	}
}
