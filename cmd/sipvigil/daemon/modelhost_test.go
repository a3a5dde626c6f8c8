package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// host is one run of a node: a member, its calls, and its way to the shop.
type host struct {
	*member
	shop *shop
	run  string

	mu      sync.Mutex // guards what is below
	calls   map[string]*store.Call
	taken   map[string]bool // calls that it has adopted
	resaved map[string]time.Time
	away    bool          // the shop cannot be reached
	partial bool          // it may lack calls that go on
	slow    time.Duration // what is sent arrives so late
	highest int64         // epoch that it was given
	stop    func()
	down    bool

	claims sync.WaitGroup
}

// host as the part that has the calls:

func (h *host) Count() int { return len(h.Held()) }

func (h *host) Held() map[string]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(map[string]int64)
	for id, c := range h.calls {
		held[id] = c.Epoch
	}
	return held
}

func (h *host) Drop(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.calls, id)
}

func (h *host) Claim(id string, epoch int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls[id]
	if c == nil {
		return false
	}
	c.Epoch = max(c.Epoch, epoch)
	rec := *c
	h.claims.Go(func() { _ = h.save(context.Background(), &rec) })
	return true
}

func (h *host) Resave(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls[id] != nil {
		h.resaved[id] = time.Now()
	}
}

func (h *host) GoOn() {}

func (h *host) Announce([]string) {}

// Restore is that of the agent: nothing is sent before the jump is kept.
func (h *host) Restore(ctx context.Context, calls []store.Call) error {
	var news []store.Call
	for _, c := range calls {
		h.mu.Lock()
		here := h.calls[c.ID]
		if here == nil {
			d := &c.Leg(store.Caller).Dialog
			d.LocalCSeq = d.LocalMark
			dialog.Resume(d)
			here = &c
			h.calls[c.ID] = here
		}
		if waits := dialog.Overdrawn(&here.Leg(store.Caller).Dialog); waits {
			news = append(news, *here)
		}
		h.mu.Unlock()
	}
	for _, c := range news {
		if err := h.cover(ctx, &c); err != nil {
			return err
		}
	}
	lost, err := h.Kept(ctx, news)
	if err != nil {
		return err
	}
	for _, c := range news {
		h.mu.Lock()
		if slices.Contains(lost, c.ID) {
			delete(h.calls, c.ID)
		} else if here := h.calls[c.ID]; here != nil {
			dialog.Covered(&here.Leg(store.Caller).Dialog, c.Leg(store.Caller).LocalAsked)
		}
		h.mu.Unlock()
	}
	if len(lost) > 0 {
		return b2bua.ErrLost
	}
	return nil
}

// cover has the store cover the first numbers of a call. One that was adopted is
// there already: only the mark is written, and never when it is refused.
func (h *host) cover(ctx context.Context, c *store.Call) error {
	h.mu.Lock()
	taken := h.taken[c.ID]
	h.mu.Unlock()
	if !taken {
		return h.save(ctx, c)
	}
	d := &c.Leg(store.Caller).Dialog
	if err := h.reserve(ctx, c, d.LocalAsked); err != nil || !dialog.Overdrawn(d) {
		return err
	}
	for deadline := time.Now().Add(pageTime); h.Held()[c.ID] != 0; time.Sleep(time.Second) { // until it is dropped
		if time.Now().After(deadline) {
			return context.DeadlineExceeded
		}
	}
	return nil
}

// save is put.lua with a record and the mark that was asked for.
func (h *host) save(ctx context.Context, c *store.Call) error {
	if err := h.reach(ctx); err != nil {
		return err
	}
	rec := h.shop.records[c.ID]
	if rec.Epoch > c.Epoch {
		h.shop.mu.Unlock()
		h.refused(c.ID)
		return nil
	}
	rec.Node, rec.Epoch = h.name, c.Epoch
	dialog.Covered(&rec.Leg(store.Caller).Dialog, c.Leg(store.Caller).LocalAsked)
	h.shop.records[c.ID] = rec
	h.shop.mu.Unlock()
	return nil
}

// resave has all calls written again, as when another server answers.
func (h *host) resave() {
	for id := range h.Held() {
		h.mu.Lock()
		c := h.calls[id]
		var rec store.Call
		if c != nil {
			rec = *c
		}
		h.mu.Unlock()
		if c != nil {
			_ = h.save(context.Background(), &rec)
		}
	}
}

// reserve is put.lua with a part.
func (h *host) reserve(ctx context.Context, c *store.Call, mark uint32) error {
	if err := h.reach(ctx); err != nil {
		return err
	}
	rec := h.shop.records[c.ID]
	if rec.Node != h.name || rec.Epoch > c.Epoch {
		h.shop.mu.Unlock()
		h.refused(c.ID)
		return nil
	}
	dialog.Covered(&rec.Leg(store.Caller).Dialog, mark)
	h.shop.records[c.ID] = rec
	h.shop.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	dialog.Covered(&c.Leg(store.Caller).Dialog, mark)
	return nil
}

// probe has the node ask the far end of each of its calls, if it may.
func (h *host) probe() {
	for id := range h.Held() {
		h.mu.Lock()
		c := h.calls[id]
		if c == nil || !h.may() {
			h.mu.Unlock()
			continue
		}
		d := &c.Leg(store.Caller).Dialog
		if dialog.Overdrawn(d) {
			h.mu.Unlock()
			continue
		}
		n, mark := dialog.Spend(d)
		h.shop.mu.Lock()
		h.shop.ends.ask(h.run, c, n)
		h.shop.mu.Unlock()
		h.mu.Unlock()
		if mark != 0 {
			_ = h.reserve(context.Background(), c, mark) // or later
		}
	}
}

// host is a node that does nothing yet.
func (s *shop) host(name string, n int) *host {
	h := &host{shop: s, run: fmt.Sprintf("%s/%d", name, n), calls: make(map[string]*store.Call), taken: make(map[string]bool),
		resaved: make(map[string]time.Time)}
	h.member = newMember(h, h, h.Drop, name, zap.NewNop(), prometheus.NewRegistry())
	h.addr = name + ":5060"
	return h
}

// start begins a run of a node, which goes on with what is its own.
func (s *shop) start(name string, n int) *host {
	h := s.host(name, n)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		var epoch int64
		for ctx.Err() == nil {
			var err error
			if epoch, err = h.join(ctx); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		for ctx.Err() == nil {
			s.mu.Lock()
			var own []store.Call
			for _, id := range s.of(name) {
				c := s.records[id]
				c.Epoch = epoch
				own = append(own, c)
			}
			s.mu.Unlock()
			if h.Restore(ctx, own) == nil {
				break
			}
			time.Sleep(time.Second)
		}
		running.Go(func() { h.watch(ctx) })
		h.hold(ctx)
	})
	h.stop = func() {
		cancel()
		running.Wait()
		h.claims.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.down, h.calls = true, nil
	}
	return h
}
