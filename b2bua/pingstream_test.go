package b2bua

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua/locate"
)

// asks pings an address and waits for what becomes of it.
func asks(a *Agent, with, addr string, timeout time.Duration) string {
	became := make(chan Traffic, 1)
	a.Ping(Ping{
		Target: "sip:" + addr + ";transport=tcp", With: with, Timeout: timeout,
		Hop: locate.Hop{Transport: "tcp", Addr: netip.MustParseAddrPort(addr)},
	}, func(t Traffic) { became <- t })
	t := <-became
	return fmt.Sprint(t.Kind == Answer, t.Kind == NoReply, " ", t.Method, " ", t.Reason)
}

func TestAConnectionIsAliveWhenItAnswersOurLineEnds(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		p := l.connect(n.T, 5071)
		p.write(options("known")) // what is known rests
		p.statuses()
		at := netip.AddrPortFrom(callerAddr.AddrPort().Addr(), 5071).String()
		pong := func(text string) {
			time.Sleep(time.Second)
			_, _ = p.conn.Write([]byte(text))
		}
		for range 3 {
			before := len(p.text())
			go pong("\r\n")
			if got, want := asks(n.agent, PingCRLF, at, 10*time.Second), "true false ping "; got != want {
				t.Errorf("it answers: %q, want %q", got, want)
			}
			synctest.Wait()
			if got := p.text()[before:]; got != "\r\n\r\n" { // and its answers are no pings of its own
				t.Errorf("it was sent %q", got)
			}
		}
		before := len(p.text())
		p.write([]byte("\r\n\r\n"))
		if got := p.text()[before:]; got != "\r\n" {
			t.Errorf("its own ping is answered with %q", got)
		}
		if got, want := asks(n.agent, PingCRLF, at, 10*time.Second), "false true ping "; got != want || p.open() {
			t.Errorf("it is silent: %q, want %q, open: %v", got, want, p.open())
		}
	})
}

func TestAConnectionThatCanBeOpenedIsAnAnswer(t *testing.T) {
	cfg := Default()
	cfg.Node = "edge-1"
	a, err := New(cfg, nil, nil, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	close(a.serving)
	defer func() { close(a.closed); a.work.Wait() }()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	if got, want := asks(a, PingTCP, at, 20*time.Second), "true false connection "; got != want {
		t.Errorf("it listens: %q, want %q", got, want)
	}
	_ = ln.Close()
	if got, want := asks(a, PingTCP, at, 20*time.Second), "false false connection connection refused"; got != want {
		t.Errorf("nobody listens: %q, want %q", got, want)
	}
}
