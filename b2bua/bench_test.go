package b2bua_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
	"sipvigil/test/udp"
)

// BenchmarkCall is INVITE, 180, 200, ACK, BYE, 200 through the agent, without
// sockets.
func BenchmarkCall(b *testing.B) {
	cfg := b2bua.Default()
	cfg.NextHop = "sip:" + bobAddr
	agent, err := b2bua.New(cfg, &shelf{saved: make(map[string]store.Call)}, &recorder{}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	lan := udp.New()
	to, _ := net.ResolveUDPAddr("udp", agentAddr)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	conn := lan.Listen(agentAddr)
	go func() { done <- agent.Run(ctx, []net.PacketConn{conn}, nil) }()
	defer func() { stop(); <-done }()
	over := make(chan struct{})
	agent.Loaded()
	bob := &phone{host: lan.Listen(bobAddr), to: to, user: "bob", tag: "bob-tag"}
	defer func() { _ = bob.host.Close(); <-over }()
	go func() {
		defer close(over)
		for buf := make([]byte, 2000); ; {
			n, _, err := bob.host.ReadFrom(buf)
			if err != nil {
				return
			}
			m, _ := ua.Parse(buf[:n])
			switch m.Method {
			case "INVITE":
				_, _ = bob.host.WriteTo([]byte(bob.response(m, 180, "")), to)
				_, _ = bob.host.WriteTo([]byte(bob.response(m, 200, answer)), to)
			case "BYE":
				_, _ = bob.host.WriteTo([]byte(bob.response(m, 200, "")), to)
			}
		}
	}()
	alice := &phone{host: lan.Listen(aliceAddr), to: to, user: "alice", tag: "a", from: "<sip:alice@x>", uri: "<sip:bob@example.com>"}
	say := func(text string) { _, _ = alice.host.WriteTo([]byte(text), to) }
	wait := func(want string) *ua.Message {
		for d := range alice.host.In {
			if m, _ := ua.Parse(d.Data); what(m) == want {
				return m
			}
		}
		return nil
	}
	b.ReportAllocs()
	for b.Loop() {
		alice.cseq++
		alice.callID, alice.remoteTag, alice.target = fmt.Sprint("call-", alice.cseq), "", ""
		say(alice.build("INVITE", 1, offer))
		m := wait("200 INVITE")
		alice.remoteTag, alice.target = m.ToTag(), uri(m.Get("Contact"))
		say(alice.build("ACK", 1, ""))
		say(alice.build("BYE", 2, ""))
		wait("200 BYE")
	}
}
