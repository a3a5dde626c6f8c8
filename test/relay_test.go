package test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

func TestRelayedRequestsAndProbesShareOneSequence(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--probe-timeout", "10s")
	for _, transports := range [][2]string{{"udp", "udp"}, {"tcp", "tcp"}, {"udp", "tcp"}} {
		t.Run(transports[0]+" to "+transports[1], func(t *testing.T) {
			t.Parallel()
			for _, side := range []string{"caller", "callee"} {
				t.Run(side+" hangs up", func(t *testing.T) {
					t.Parallel()
					c := dialOver(t, d, transports[0], transports[1])
					mixed(t, d, c, func() {
						everyMethod(t, c.caller, c.callee, 40010)
						everyMethod(t, c.callee, c.caller, 40020)
						both(func() { burst(t, c.caller) }, func() { burst(t, c.callee) })
					})
					probed(t, c.caller, 2)
					probed(t, c.callee, 1)
					if side == "caller" {
						hangUp(t, c.caller, c.callee)
					} else {
						hangUp(t, c.callee, c.caller)
					}
					if got := d.terminated(c.id).EndedBy; got != side+"-bye" {
						t.Errorf("ended by %q", got)
					}
				})
			}
		})
	}
}

// mixed runs a script while both legs are probed by hand as fast as they
// answer, until each was probed ten times at least.
func mixed(t *testing.T, d *sipvigil, c *talk, script func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if status, body := d.http(http.MethodPost, "/api/v1/calls/"+c.id+"/probe"); status != http.StatusOK {
				t.Errorf("probe: %d %s", status, body)
				return
			}
		}
	}()
	script()
	within(t, patience, "ten probes of both legs", func() bool { return options(c.caller) >= 10 && options(c.callee) >= 10 })
	stop()
	<-done
}

func both(f, g func()) {
	var scripts sync.WaitGroup
	scripts.Go(f)
	scripts.Go(g)
	scripts.Wait()
}

// everyMethod sends one request of each kind from one side and demands that the
// other side got it and that its answer came back.
func everyMethod(t *testing.T, from, to *ua.Dialog, port int) {
	t.Helper()
	sdp := ua.H("Content-Type", "application/sdp")
	for i, r := range []struct {
		method, body string
		status       int
		headers      []ua.Header
	}{
		{"INFO", "Signal=1", 200, []ua.Header{ua.H("Content-Type", "application/dtmf-relay")}},
		{"UPDATE", "", 200, nil},
		{"INVITE", ua.Media{Port: port, Direction: "sendonly", Version: 2}.String(), 200, []ua.Header{sdp}},
		{"UPDATE", ua.Media{Port: port, Version: 3}.String(), 200, []ua.Header{sdp}},
		{"REFER", "", 202, []ua.Header{ua.H("Refer-To", "<sip:carol@127.0.0.1>")}},
		{"NOTIFY", "SIP/2.0 100 Trying\r\n", 200, []ua.Header{
			ua.H("Event", "refer"), ua.H("Subscription-State", "active;expires=60"), ua.H("Content-Type", "message/sipfrag"),
		}},
		{"MESSAGE", "hello", 200, []ua.Header{ua.H("Content-Type", "text/plain")}},
		{"INVITE", ua.Media{Port: port, Version: 4}.String(), 200, []ua.Header{sdp}},
	} {
		seen := len(requests(to, r.method))
		res, err := from.Request(limit(t, patience), r.method, r.body, r.headers...)
		if err != nil || res.Status != r.status {
			t.Errorf("request %d, %s: %v, %v, want status %d", i, r.method, res, err, r.status)
			return
		}
		got := requests(to, r.method)
		if len(got) != seen+1 {
			t.Errorf("the other side got %d of %s, want 1", len(got)-seen, r.method)
			return
		}
		if body := string(got[seen].Message.Body); body != r.body {
			t.Errorf("%s arrived with body %q, want %q", r.method, body, r.body)
		}
	}
}

// burst sends requests one after the other without a pause.
func burst(t *testing.T, from *ua.Dialog) {
	t.Helper()
	for range 15 {
		for _, method := range []string{"INFO", "MESSAGE", "UPDATE"} {
			if res, err := from.Request(limit(t, patience), method, ""); err != nil || res.Status != 200 {
				t.Errorf("%s: %v, %v", method, res, err)
				return
			}
		}
	}
}

// requests is what came of one method, without what repeats it.
func requests(leg *ua.Dialog, method string) []ua.Received {
	var found []ua.Received
	for _, r := range leg.Received() {
		if r.Method == method && !r.Retransmission {
			found = append(found, r)
		}
	}
	return found
}
