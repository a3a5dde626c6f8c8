package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
)

// fakePinger takes its time.
type fakePinger struct{ takes time.Duration }

func (f *fakePinger) Targets(trunk string) ([]string, error) {
	if trunk != "carrier" {
		return nil, fmt.Errorf("trunk: %w", store.ErrNotFound)
	}
	return []string{"sip:one", "sip:two"}, nil
}

func (f *fakePinger) Ping(_ context.Context, target string, timeout time.Duration) Pinged {
	time.Sleep(f.takes)
	return Pinged{Target: target, Kind: "timeout", Reason: timeout.String(), Can: CanOf([]string{"invite", "refer"}, nil)}
}

func pingServer(t *testing.T, p Pinger) func(body string) *httptest.ResponseRecorder {
	s := newPingServer(t, p, time.Minute)
	return func(body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8080/api/v1/ping", strings.NewReader(body)))
		return w
	}
}

func newPingServer(t *testing.T, p Pinger, probe time.Duration) *Server {
	s, err := New(Config{Listen: "127.0.0.1:8080", Probe: probe, Pinger: p}, &fakeCalls{},
		func() store.Status { return store.Status{} }, func() []string { return nil }, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPingOfATargetAndOfATrunk(t *testing.T) {
	post := pingServer(t, &fakePinger{})
	can := Can{Refer: "yes", Update: "no", Info: "no", Message: "no", Subscribe: "no", Reliable: "unknown", Timer: "unknown", Replaces: "unknown"}
	for body, want := range map[string][]Pinged{
		`{"target": "sip:any", "timeout_ms": 200}`: {{Target: "sip:any", Kind: "timeout", Reason: "200ms", Can: can}},
		`{"trunk": "carrier"}`:                     {{Target: "sip:one", Kind: "timeout", Reason: "5s", Can: can}, {Target: "sip:two", Kind: "timeout", Reason: "5s", Can: can}},
	} {
		w := post(body)
		var got Pings
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
		if diff := cmp.Diff(want, got.Pings); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	for body, code := range map[string]int{
		``: 400, `{}`: 400, `{"target": "sip:any", "trunk": "carrier"}`: 400, `{"target": "sip:any", "timeout_ms": -1}`: 400,
		`{"target": "sip:any", "timeout_ms": 32001}`: 400, `{"target": "sip:any", "count": 9}`: 400, `{"target": "sip:any"} 1`: 400,
		`{"trunk": "nobody"}`: 404,
	} {
		if w := post(body); w.Code != code || !strings.Contains(w.Body.String(), `"detail"`) {
			t.Errorf("%s: %d %s, want %d", body, w.Code, w.Body, code)
		}
	}
}

func TestOnlySoManyPingsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		post := pingServer(t, &fakePinger{takes: 10 * time.Second})
		const fit = mostPings / 2 // each is of two targets
		for range fit {
			go post(`{"trunk": "carrier"}`)
		}
		time.Sleep(9 * time.Second)
		if w := post(`{"target": "sip:any"}`); w.Code != 503 || w.Header().Get("Retry-After") != "5" {
			t.Errorf("one more: %d %s", w.Code, w.Body)
		}
		time.Sleep(2 * time.Second)
		if w := post(`{"target": "sip:any"}`); w.Code != 200 {
			t.Errorf("once the others are over: %d %s", w.Code, w.Body)
		}
	})
}

// oneConn is a listener with one connection.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) {
	if conn, ok := <-l; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l oneConn) Close() error   { close(l); return nil }
func (l oneConn) Addr() net.Addr { return new(net.TCPAddr) }

func TestThatNobodyAnswersAPingIsToldHoweverShortProbesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPingServer(t, &fakePinger{takes: mostPing + 10*time.Second}, time.Second) // the DNS takes its time, too
		here, there := net.Pipe()
		ln := make(oneConn, 1)
		ln <- there
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, ln) }()
		r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:8080/api/v1/ping", strings.NewReader(`{"target": "sip:any", "timeout_ms": 32000}`))
		if err != nil {
			t.Fatal(err)
		}
		go r.Write(here)
		if res, err := http.ReadResponse(bufio.NewReader(here), r); err != nil {
			t.Error(err)
		} else if res.StatusCode != 200 {
			t.Error(res.Status)
		}
		here.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
