package web

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"sipvigil/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunEndsWithItsContextAndGivesUpProbes(t *testing.T) {
	f := &fakeCalls{calls: map[string]store.Call{"x": confirmed()}, probing: make(chan struct{})}
	s := newServer(t, f, healthy)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()

	status := make(chan int, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Post("http://"+ln.Addr().String()+"/api/v1/calls/x/probe", "", nil)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	<-f.probing
	cancel()
	if got := <-status; got != http.StatusServiceUnavailable {
		t.Errorf("the probe under way was answered %d", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}

func TestRunFailsWithItsListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := newServer(t, &fakeCalls{}, healthy).Run(t.Context(), ln); err == nil {
		t.Error("no error")
	}
}

func TestNewRefusesABadConfig(t *testing.T) {
	for _, cfg := range []Config{{Listen: "nowhere", Probe: time.Second}, {Listen: "localhost:1"}} {
		if _, err := New(cfg, nil, nil, nil, nil, zap.NewNop()); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}
