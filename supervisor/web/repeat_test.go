package web

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
)

func TestARequestThatIsSentAgainIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCalls{calls: map[string]store.Call{"x": confirmed()}}
		s := newServer(t, f, healthy)
		test := func(times, status int, target, body, key string) {
			t.Helper()
			before := len(f.probed)
			w := post(s, target, body, "Idempotency-Key", key)
			if w.Code != status || len(f.probed)-before != times {
				t.Errorf("%s with key %q: %d, done %d times, want %d and %d", target, key, w.Code, len(f.probed)-before, status, times)
			}
			if status == 200 && (w.Body.Len() == 0 || w.Header().Get("Content-Type") != "application/json") {
				t.Errorf("answered %q, %v", w.Body, w.Header())
			}
		}
		const probe = "/api/v1/calls/x/probe"
		test(1, 200, probe, "", "1")
		test(0, 200, probe, "", "1")
		test(0, 422, probe, "other", "1")
		test(1, 200, probe, "", "2")
		test(1, 200, probe, "", "")
		test(1, 200, probe, "", "")
		test(0, 400, probe, "", "\x01")
		test(0, 404, "/api/v1/calls/y/probe", "", "1") // another request
		time.Sleep(repeatTime + time.Second)
		test(1, 200, probe, "", "1") // forgotten
		f.err = store.ErrUnavailable
		test(1, 503, probe, "", "3")
		f.err = nil
		test(1, 200, probe, "", "3") // nothing was done before
		for i := range 2 * mostKept {
			post(s, "/api/v1/calls/y/probe", "", "Idempotency-Key", fmt.Sprint("many-", i))
		}
		if n := len(s.repeats.order); n > mostKept || n != len(s.repeats.known) {
			t.Errorf("%d are kept, %d known", n, len(s.repeats.known))
		}
	})
}

func TestARequestIsNotDoneTwiceAtATime(t *testing.T) {
	f := &fakeCalls{calls: map[string]store.Call{"x": confirmed()}, probing: make(chan struct{})}
	s := newServer(t, f, healthy)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := httptest.NewRequestWithContext(ctx, "POST", "http://localhost/api/v1/calls/x/probe", nil)
		r.Header.Set("Idempotency-Key", "k")
		s.ServeHTTP(httptest.NewRecorder(), r)
	}()
	<-f.probing
	if w := post(s, "/api/v1/calls/x/probe", "", "Idempotency-Key", "k"); w.Code != 409 {
		t.Errorf("while the first is under way: %d", w.Code)
	}
	leave()
	<-done
}
