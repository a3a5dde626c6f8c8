package daemon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/store/redis"
)

// breaking is a shop that goes away just when the nodes are listed.
type breaking struct {
	*host
	now atomic.Bool
}

func (b *breaking) Nodes(ctx context.Context) ([]store.Node, error) {
	if b.now.Load() {
		b.mu.Lock()
		b.away = true
		b.mu.Unlock()
	}
	return b.host.Nodes(ctx)
}

// A node that was alone goes on without the store, whichever exchange with it was
// the first to fail.
func TestANodeThatWasAloneGoesOnWhereverTheStoreBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newShop(0).host("edge-1", 0)
		st := &breaking{host: h}
		h.member.shared = st
		ctx, stop := context.WithCancel(t.Context())
		if _, err := h.join(ctx); err != nil {
			t.Fatal(err)
		}
		var holding sync.WaitGroup
		holding.Go(func() { h.hold(ctx) })
		time.Sleep(time.Minute)
		st.now.Store(true)
		for range 60 {
			time.Sleep(time.Second)
			if !h.may() {
				t.Error("calls are not watched")
				break
			}
		}
		stop()
		holding.Wait()
	})
}

// A store that was emptied knows of the other nodes again when these have renewed
// their leases.
func TestANodeIsNotAloneBecauseTheStoreWasEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(0)
		h := s.host("edge-1", 0)
		other := func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.leases["edge-2"], s.expires["edge-2"] = store.Node{Name: "edge-2", State: store.NodeUp}, time.Now().Add(redis.LeaseTime)
		}
		other()
		ctx, stop := context.WithCancel(t.Context())
		if _, err := h.join(ctx); err != nil {
			t.Fatal(err)
		}
		var holding sync.WaitGroup
		holding.Go(func() { h.hold(ctx) })
		time.Sleep(5 * time.Second)
		s.mu.Lock()
		clear(s.leases)
		clear(s.expires)
		s.mu.Unlock()
		for renewed := false; !renewed; {
			time.Sleep(10 * time.Millisecond)
			s.mu.Lock()
			_, renewed = s.leases["edge-1"]
			s.mu.Unlock()
		}
		other()
		h.mu.Lock()
		h.away = true
		h.mu.Unlock()
		time.Sleep(redis.LeaseUse)
		if h.may() {
			t.Error("it goes on without the store, and edge-2 may have its calls")
		}
		stop()
		holding.Wait()
	})
}

// lagging is a shop whose next renewal fails, and the one after that takes long.
type lagging struct {
	*host
	left atomic.Int32 // of the two
}

func (l *lagging) Renew(ctx context.Context, n store.Node) (redis.Leased, error) {
	switch l.left.Add(-1) {
	case 1:
		return "", store.ErrUnavailable
	case 0:
		time.Sleep(renewEvery - 100*time.Millisecond)
	}
	return l.host.Renew(ctx, n)
}

// called counts how often the calls are told to go on.
type called struct {
	*host
	goOn atomic.Int32
}

func (c *called) GoOn() { c.goOn.Add(1) }

// What was put off while the lease was in doubt begins when it is not any more,
// though the lease was never lost.
func TestCallsGoOnOnceTheLeaseStandsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(0)
		s.leases["edge-2"], s.expires["edge-2"] = store.Node{Name: "edge-2", State: store.NodeUp}, time.Now().Add(time.Hour)
		h := s.host("edge-1", 0)
		st, calls := &lagging{host: h}, &called{host: h}
		h.shared, h.member.calls = st, calls
		ctx, stop := context.WithCancel(t.Context())
		if _, err := h.join(ctx); err != nil {
			t.Fatal(err)
		}
		var holding sync.WaitGroup
		holding.Go(func() { h.hold(ctx) })
		time.Sleep(10 * time.Second)
		st.left.Store(2)
		for h.may() {
			time.Sleep(10 * time.Millisecond)
		}
		calls.goOn.Store(0)
		for !h.may() {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Millisecond)
		if calls.goOn.Load() == 0 {
			t.Error("they are not told to go on")
		}
		stop()
		holding.Wait()
	})
}

// A store that has just come back may lack a call, or have it under an owner that
// has lost it: neither ends the call.
func TestACallThatTheStoreMayHaveLostIsNotSaidToBeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newShop(0).host("edge-1", 0)
		h.shop.records["stale"] = store.Call{ID: "stale", Node: "edge-1", State: store.Confirmed}
		if _, err := h.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.partial = true
		for _, id := range []string{"lost", "stale"} {
			if place, err := h.find(t.Context(), id); !errors.Is(err, errUnsettled) {
				t.Errorf("%s, while the store may lack calls: %v, %v", id, place, err)
			}
		}
		h.partial = false
		for id, want := range map[string]b2bua.Place{"lost": {}, "stale": {Here: true}} {
			if place, err := h.find(t.Context(), id); err != nil || place != want {
				t.Errorf("%s, when it has all: %v, %v", id, place, err)
			}
		}
		h.away = true
		if place, err := h.find(t.Context(), "lost"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("while the store is away: %v, %v", place, err)
		}
	})
}
