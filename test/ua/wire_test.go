package ua_test

import (
	"fmt"
	"strings"
	"testing"

	"sipvigil/test/ua"
)

// answerByHand is a 200 to an INVITE as another phone at this URI would send it.
func answerByHand(invite *ua.Message, tag, contact string) []byte {
	m := &ua.Message{Status: 200, Reason: "OK"}
	for _, name := range []string{"Via", "From", "Call-ID", "CSeq"} {
		m.Headers = append(m.Headers, ua.H(name, invite.Get(name)))
	}
	m.Headers = append(m.Headers, ua.H("To", invite.Get("To")+";tag="+tag), ua.H("Contact", "<"+contact+">"))
	return m.Bytes()
}

func TestASecondAnswerIsAcknowledgedAndHungUp(t *testing.T) {
	alice, bob, carol := listen(t, "alice", "udp"), listen(t, "bob", "udp"), listen(t, "carol", "udp")
	out := alice.Dial(bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
	in := must[*ua.Incoming](t)(bob.Invited(t.Context()))
	callee := must[*ua.Dialog](t)(in.Accept(ua.SDP(40002)))
	caller := must[*ua.Dialog](t)(out.Wait(t.Context()))
	carol.AnswerUnknown("BYE", 200, "")
	for range 2 {
		if err := carol.Write(alice.Addr(), answerByHand(in.Request, "fork", carol.URI())); err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range []string{"ACK", "BYE"} {
		r := must[ua.Received](t)(carol.Wait(t.Context(), ua.Method(method)))
		if r.Message.ToTag() != "fork" {
			t.Errorf("the fork got %s", r.Message.Raw)
		}
	}
	ask(t, caller, 200, "OPTIONS", "")
	inOrder(t, caller, callee)
}

func TestMalformedMessagesAreFaults(t *testing.T) {
	onEach(t, func(t *testing.T, alice, _ *ua.Phone) {
		target := listen(t, "target", transportOf(alice))
		if err := alice.Write(target.Addr(), []byte("OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := alice.Write(target.Addr(), []byte("\r\n\r\n")); err != nil { // a keep-alive
			t.Fatal(err)
		}
		must[*ua.Message](t)(alice.Request(t.Context(), target.Addr(), "OPTIONS", target.URI(), ""))
		fault := fmt.Sprint(target.Faults())
		if !strings.Contains(fault, "0 header fields From") || strings.Contains(fault, "\n") {
			t.Errorf("faults are %s", fault)
		}
	})
}

func TestAnswersWithoutRportGoToThePortInVia(t *testing.T) {
	alice, bob, nat := listen(t, "alice", "udp"), listen(t, "bob", "udp"), listen(t, "nat", "udp")
	request := &ua.Message{Method: "OPTIONS", RequestURI: bob.URI(), Headers: []ua.Header{
		ua.H("Via", "SIP/2.0/UDP "+alice.Addr()+";branch=z9hG4bKnorport"),
		ua.H("From", "<"+alice.URI()+">;tag=1"),
		ua.H("To", "<"+bob.URI()+">"),
		ua.H("Call-ID", "norport"),
		ua.H("CSeq", "1 OPTIONS"),
	}}
	answered := make(chan *ua.Message, 1)
	alice.Drop(func(d ua.Direction, m *ua.Message) bool {
		if d == ua.In {
			answered <- m
		}
		return false
	})
	if err := nat.Write(bob.Addr(), request.Bytes()); err != nil {
		t.Fatal(err)
	}
	if via := (<-answered).Get("Via"); !strings.HasSuffix(via, ";branch=z9hG4bKnorport;received=127.0.0.1") {
		t.Errorf("Via of the answer is %s", via)
	}
}

func TestHistoryIsBoundedAndCheckCSeqIsNot(t *testing.T) {
	alice := listen(t, "alice", "udp")
	bob := listenWith(t, ua.Config{User: "bob", T1: t1, History: 10})
	caller, callee := connect(t, alice, bob)
	caller.SkipCSeq(1)
	for range 50 {
		ask(t, caller, 200, "OPTIONS", "")
	}
	received := callee.Received()
	if len(received) > 10 || received[len(received)-1].CSeq != 52 {
		t.Errorf("%d requests are kept, the last is %d", len(received), received[len(received)-1].CSeq)
	}
	if callee.CheckCSeq() == nil {
		t.Error("CheckCSeq forgot the gap at the start")
	}
}

func BenchmarkProbe(b *testing.B) {
	alice, err := ua.Listen(ua.Config{User: "alice"})
	if err != nil {
		b.Fatal(err)
	}
	defer alice.Close()
	bob, err := ua.Listen(ua.Config{User: "bob"})
	if err != nil {
		b.Fatal(err)
	}
	defer bob.Close()
	bob.Handle(func(in *ua.Incoming) { _, _ = in.Accept(ua.SDP(40002)) })
	d, err := alice.Call(b.Context(), bob.Addr(), bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Request(b.Context(), "OPTIONS", ""); err != nil {
			b.Fatal(err)
		}
	}
}
