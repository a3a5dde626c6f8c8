package daemon

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
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
