package daemon

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
)

// Redis forgets a call that nobody writes for 24 h: the owner writes each in time,
// of those that come meanwhile, too, and evenly.
func TestACallInWhichNothingHappensIsWrittenAgainInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newShop(0).host("edge-1", 0)
		began := make(map[string]time.Time)
		begin := func(n int) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for range n {
				id := fmt.Sprint("call-", len(began))
				h.calls[id], began[id] = &store.Call{ID: id}, time.Now()
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.refresh(ctx); close(done) }()
		defer func() { stop(); <-done }()
		time.Sleep(time.Minute)
		for _, n := range []int{1, 0, 1000, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0} { // in an hour
			begin(n)
			time.Sleep(time.Hour)
		}
		for range 24 * 60 {
			time.Sleep(time.Minute)
			h.mu.Lock()
			written := maps.Clone(h.resaved)
			h.mu.Unlock()
			for id, at := range began {
				if w, ok := written[id]; ok {
					at = w
				}
				if gap := time.Since(at); gap > 2*refreshTime+time.Minute {
					t.Fatalf("%s was not written for %v", id, gap)
				}
			}
			lately := 0
			for _, at := range written {
				if time.Since(at) < time.Minute {
					lately++
				}
			}
			if most := len(began)/300 + 1; lately > most {
				t.Fatalf("%d of %d calls were written within a minute", lately, len(began))
			}
		}
	})
}

func TestANodeThatMayHaveLostItsCallsWritesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newShop(0).host("edge-1", 0)
		h.calls["call-0"] = &store.Call{ID: "call-0"}
		h.lease.Store(&lease{at: time.Now(), clear: true}) // and it is not renewed
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.refresh(ctx); close(done) }()
		time.Sleep(24 * time.Hour)
		stop()
		<-done
		if len(h.resaved) > 0 {
			t.Errorf("written: %v", h.resaved)
		}
	})
}
