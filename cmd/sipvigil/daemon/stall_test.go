package daemon

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
)

// stalled is a node that had two calls and stood still until its lease was over,
// when another one adopted the first of them.
func stalled(t *testing.T) (h *host, wake func()) {
	h = newShop(2).host("edge-1", 0)
	h.shop.leases["edge-2"], h.shop.expires["edge-2"] = store.Node{Name: "edge-2", State: store.NodeUp}, time.Now().Add(time.Hour)
	epoch, err := h.join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range h.shop.records {
		c.Epoch = epoch
		h.calls[c.ID] = &c
		h.shop.records[c.ID] = c
	}
	time.Sleep(redis.LeaseTime)
	c := h.shop.records["call-0"]
	c.Node, c.Epoch = "edge-2", epoch+10
	h.shop.records["call-0"] = c
	ctx, stop := context.WithCancel(t.Context())
	var holding sync.WaitGroup
	t.Cleanup(func() { stop(); holding.Wait() })
	return h, func() { holding.Go(func() { h.hold(ctx) }) }
}

func TestWhoStoodStillServesNothingBeforeItKnowsWhichCallsAreItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, wake := stalled(t)
		go func() {
			time.Sleep(time.Millisecond) // what was read may come before all else
			wake()
		}()
		h.recollect()
		if !h.may() {
			t.Error("the lease is not back")
		}
		if _, here := h.Held()["call-0"]; here || h.Count() != 1 {
			t.Errorf("it has %v", h.Held())
		}
	})
}

func TestWhoStoodStillServesWhenTheStoreCannotBeReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, wake := stalled(t)
		h.away = true
		wake()
		began := time.Now()
		h.recollect()
		if took := time.Since(began); took > renewEvery {
			t.Errorf("what was read waited for %v", took)
		}
		for range 60 { // seconds of an outage
			time.Sleep(time.Second)
			began = time.Now()
			if h.recollect(); !time.Now().Equal(began) {
				t.Errorf("what was read waited for %v", time.Since(began))
			}
		}
	})
}

// A try that was under way when the process stood still fails at once, which says
// nothing about the store.
func TestATryFromBeforeAStallCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, wake := stalled(t)
		h.member.shared = &outlived{host: h}
		wake()
		synctest.Wait()
		time.Sleep(time.Minute) // and while it stood still
		h.recollect()
		if _, here := h.Held()["call-0"]; here || !h.may() {
			t.Errorf("it has %v, and may ask: %v", h.Held(), h.may())
		}
	})
}

// outlived is a shop whose first renewal fails long after its context has ended.
type outlived struct {
	*host
	tries atomic.Int32
}

func (o *outlived) Renew(ctx context.Context, n store.Node) (redis.Leased, error) {
	if o.tries.Add(1) == 1 {
		time.Sleep(time.Minute)
		return "", store.ErrUnavailable
	}
	return o.host.Renew(ctx, n)
}

// A store that hangs has every try last as long as it may.
func TestNothingWaitsWhileTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newShop(0).host("edge-1", 0)
		h.shop.leases["edge-2"], h.shop.expires["edge-2"] = store.Node{Name: "edge-2", State: store.NodeUp}, time.Now().Add(time.Hour)
		st := &hanging{host: h}
		h.member.shared = st
		ctx, stop := context.WithCancel(t.Context())
		if _, err := h.join(ctx); err != nil {
			t.Fatal(err)
		}
		var holding sync.WaitGroup
		holding.Go(func() { h.hold(ctx) })
		time.Sleep(10 * time.Second)
		st.hangs.Store(true)
		var waited []time.Duration
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			if h.recollect(); !time.Now().Equal(began) {
				waited = append(waited, time.Since(began))
			}
		}
		if len(waited) > 0 {
			t.Errorf("what was read waited for %v", slices.Max(waited))
		}
		stop()
		holding.Wait()
	})
}

// hanging is a shop that answers no renewal once it hangs.
type hanging struct {
	*host
	hangs atomic.Bool
}

func (h *hanging) Renew(ctx context.Context, n store.Node) (redis.Leased, error) {
	if h.hangs.Load() {
		<-ctx.Done()
		return "", store.ErrUnavailable
	}
	return h.host.Renew(ctx, n)
}
