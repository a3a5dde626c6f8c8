package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"sipvigil/b2bua"
	"sipvigil/b2bua/dialog"
	"sipvigil/store"
	"sipvigil/store/redis"
)

// shop is what the nodes of the model share. It does what the scripts in
// store/redis do.
type shop struct {
	mu sync.Mutex // guards what is below
	shelves
	replica shelves // as they were a moment ago
	ends    endpoint
}

// shelves are what a failover may lose the latest of.
type shelves struct {
	epoch   int64
	leases  map[string]store.Node
	expires map[string]time.Time
	fences  map[string]int64
	records map[string]store.Call
}

func (s *shelves) clone() shelves {
	return shelves{s.epoch, maps.Clone(s.leases), maps.Clone(s.expires), maps.Clone(s.fences), maps.Clone(s.records)}
}

// follow has the replica catch up.
func (s *shop) follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replica = s.clone()
}

// failOver has the replica take the master's place.
func (s *shop) failOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shelves = s.replica.clone()
}

// endpoint is the far end of all calls, which knows what it was asked.
type endpoint struct {
	last   map[string]uint32
	asked  map[string]string // call and epoch → node
	total  int
	faults []string
}

func (e *endpoint) ask(node string, c *store.Call, n uint32) {
	e.total++
	if last := e.last[c.ID]; n <= last {
		e.faults = append(e.faults, fmt.Sprintf("%s asked %s with %d after %d", node, c.ID, n, last))
	}
	e.last[c.ID] = max(e.last[c.ID], n)
	key := fmt.Sprintf("%s under epoch %d", c.ID, c.Epoch)
	if by := cmp.Or(e.asked[key], node); by != node {
		e.faults = append(e.faults, fmt.Sprintf("%s was asked by %s and %s", key, by, node))
	}
	e.asked[key] = node
}

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

// reach is deferred execution at the shop; the lock is held when it returns nil.
func (h *host) reach(ctx context.Context) error {
	h.mu.Lock()
	away, slow := h.away, h.slow
	h.mu.Unlock()
	time.Sleep(slow)
	if away || ctx.Err() != nil {
		return store.ErrUnavailable
	}
	h.shop.mu.Lock()
	return nil
}

func (h *host) Renew(ctx context.Context, n store.Node) (redis.Leased, error) {
	if err := h.reach(ctx); err != nil {
		return "", err
	}
	defer h.shop.mu.Unlock()
	held := h.shop.leases[n.Name]
	if time.Now().After(h.shop.expires[n.Name]) {
		held = store.Node{}
	}
	if held.Epoch > n.Epoch {
		return redis.LeaseTaken, nil
	}
	h.shop.leases[n.Name], h.shop.expires[n.Name] = n, time.Now().Add(redis.LeaseTime)
	h.shop.replica = h.shop.clone()
	if held.Epoch == n.Epoch {
		return redis.LeaseKept, nil
	}
	return redis.LeaseNew, nil
}

func (h *host) Nodes(ctx context.Context) ([]store.Node, error) {
	if err := h.reach(ctx); err != nil {
		return nil, err
	}
	defer h.shop.mu.Unlock()
	var list []store.Node
	for _, name := range slices.Sorted(maps.Keys(h.shop.leases)) {
		n := h.shop.leases[name]
		if time.Now().After(h.shop.expires[name]) {
			n = store.Node{Name: name, State: store.NodeDead}
		}
		list = append(list, n)
	}
	return list, nil
}

func (h *host) NextEpoch(ctx context.Context) (int64, error) {
	if err := h.reach(ctx); err != nil {
		return 0, err
	}
	defer h.shop.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shop.epoch = max(h.shop.epoch, h.highest) + 1
	h.highest = h.shop.epoch
	return h.shop.epoch, nil
}

func (h *host) Fence(ctx context.Context, epoch int64) error {
	if err := h.reach(ctx); err != nil {
		return err
	}
	defer h.shop.mu.Unlock()
	h.shop.fences[h.name] = max(h.shop.fences[h.name], epoch)
	h.shop.replica = h.shop.clone()
	return nil
}

func (h *host) Lost(ctx context.Context, held map[string]int64) (lost, behind []string, err error) {
	if err := h.reach(ctx); err != nil {
		return nil, nil, err
	}
	defer h.shop.mu.Unlock()
	for id, epoch := range held {
		switch c := h.shop.records[id]; {
		case c.Epoch < epoch:
			behind = append(behind, id)
		case c.Epoch > epoch || c.Node != h.name:
			lost = append(lost, id)
		}
	}
	return lost, behind, nil
}

func (h *host) Get(ctx context.Context, id string) (store.Call, error) {
	if err := h.reach(ctx); err != nil {
		return store.Call{}, err
	}
	defer h.shop.mu.Unlock()
	if c, ok := h.shop.records[id]; ok {
		return c, nil
	}
	return store.Call{}, store.ErrNotFound
}

func (h *host) Nowhere(ctx context.Context, id string) (bool, error) {
	if err := h.reach(ctx); err != nil {
		return false, err
	}
	defer h.shop.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	by := h.shop.records[id].Node
	return !h.partial && (by == "" || by == h.name), nil
}

func (h *host) Stranded(ctx context.Context, node string) (ending, others []string, err error) {
	if err := h.reach(ctx); err != nil {
		return nil, nil, err
	}
	defer h.shop.mu.Unlock()
	return nil, h.shop.of(node), nil
}

func (s *shop) of(node string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(s.records)) {
		if s.records[id].Node == node {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *host) Adopt(ctx context.Context, from string, epoch int64, ids []string) ([]store.Call, error) {
	if err := h.reach(ctx); err != nil {
		return nil, err
	}
	defer h.shop.mu.Unlock()
	var calls []store.Call
	for _, id := range ids {
		c := h.shop.records[id]
		switch {
		case c.Node == h.name && c.Epoch == epoch:
		case c.Node != from || c.Epoch >= epoch || h.shop.fences[from] >= epoch:
			continue
		}
		c.Node, c.Epoch = h.name, epoch
		h.shop.records[id] = c
		calls = append(calls, c)
	}
	h.mu.Lock()
	for _, c := range calls {
		h.taken[c.ID] = true
	}
	lost := h.away // the answer may get lost after the script ran
	h.mu.Unlock()
	if lost {
		return nil, store.ErrUnavailable
	}
	return calls, nil
}

func (h *host) Kept(ctx context.Context, calls []store.Call) (lost []string, err error) {
	if err := h.reach(ctx); err != nil {
		return nil, err
	}
	defer h.shop.mu.Unlock()
	h.shop.replica = h.shop.clone()
	for _, c := range calls {
		rec := h.shop.records[c.ID]
		if rec.Node != h.name || rec.Epoch != c.Epoch || rec.Legs[0].LocalMark < c.Legs[0].LocalAsked {
			lost = append(lost, c.ID)
		}
	}
	return lost, nil
}

func (h *host) Forget(context.Context, string) error { return nil }
func (h *host) Leave(int64)                          {}

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

// newShop has n calls, all of edge-1.
func newShop(n int) *shop {
	s := &shop{shelves: shelves{leases: map[string]store.Node{}, expires: map[string]time.Time{}, fences: map[string]int64{},
		records: map[string]store.Call{}},
		ends: endpoint{last: map[string]uint32{}, asked: map[string]string{}}}
	for i := range n {
		c := store.Call{ID: fmt.Sprintf("call-%d", i), Node: "edge-1"}
		dialog.Start(&c.Leg(store.Caller).Dialog, 1)
		s.records[c.ID] = c
	}
	s.follow()
	return s
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

type deed struct {
	what string
	node int
	wait time.Duration
}

var anyDeed = rapid.Custom(func(t *rapid.T) deed {
	return deed{
		rapid.SampledFrom([]string{"probe", "probe", "burst", "away", "back", "crash", "crash", "start", "slow", "fast", "failover", "failover"}).Draw(t, "what"),
		rapid.IntRange(0, 1).Draw(t, "node"),
		time.Duration(rapid.SampledFrom([]int{1, 100, 1000, 2500, 6000, 8000, 15000, 40000}).Draw(t, "ms")) * time.Millisecond,
	}
})

// live has two nodes go through some deeds, and returns what went wrong.
func live(t *testing.T, deeds []deed) (end endpoint, owned int) {
	synctest.Test(t, func(*testing.T) {
		s := newShop(4)
		replica := time.NewTicker(1900 * time.Millisecond)
		over := make(chan struct{})
		defer close(over)
		go func() {
			for {
				select {
				case <-replica.C:
					s.follow()
				case <-over:
					return
				}
			}
		}()
		hosts := []*host{s.start("edge-1", 0), s.start("edge-2", 0)}
		time.Sleep(5 * time.Second)
		for n, d := range deeds {
			h := hosts[d.node]
			switch d.what {
			case "burst":
				for range 40 {
					h.probe()
				}
			case "away", "back":
				h.mu.Lock()
				h.away = d.what == "away"
				h.mu.Unlock()
			case "slow", "fast":
				h.mu.Lock()
				h.slow = map[string]time.Duration{"slow": 900 * time.Millisecond}[d.what]
				h.mu.Unlock()
			case "crash":
				h.stop()
			case "start":
				if !h.down {
					h.stop()
				}
				hosts[d.node] = s.start(h.name, n+1)
			case "failover": // what was written since the replica followed last is lost
				for _, h := range hosts {
					h.probe()
				}
				s.failOver()
				for _, h := range hosts { // who is connected notices in the end
					time.AfterFunc(5*time.Second, h.resave)
				}
			}
			for range d.wait/time.Second + 1 {
				for _, h := range hosts {
					h.probe()
				}
				time.Sleep(min(d.wait, time.Second))
			}
		}
		for i, h := range hosts { // in the end every call has an owner that asks
			h.mu.Lock()
			h.away, h.slow = false, 0
			down := h.down
			h.mu.Unlock()
			if down {
				hosts[i] = s.start(h.name, len(deeds)+1)
			}
		}
		time.Sleep(time.Minute)
		for _, h := range hosts {
			if h.may() {
				owned += h.Count()
			}
			h.stop()
		}
		end = s.ends
	})
	return end, owned
}

// TestNoTwoNodesAskUnderOneEpoch is a model of two nodes that crash, come back,
// and lose sight of the store, each for itself, while failovers of the store
// lose adoptions, marks, epochs and leases that it has acknowledged.
func TestNoTwoNodesAskUnderOneEpoch(t *testing.T) {
	total := 0
	rapid.Check(t, func(rt *rapid.T) {
		deeds := rapid.SliceOfN(anyDeed, 1, 15).Draw(rt, "deeds")
		end, owned := live(t, deeds)
		for _, f := range end.faults {
			rt.Error(f)
		}
		if owned != 4 {
			rt.Errorf("%d calls have an owner in the end, of 4", owned)
		}
		total += end.total
	})
	if total == 0 {
		t.Error("nobody was asked anything")
	}
}

// TestAFailoverThatLosesAnAdoptionRepeatsNoNumber has a failover at each moment
// around an adoption, and the first owner come back right after it.
func TestAFailoverThatLosesAnAdoptionRepeatsNoNumber(t *testing.T) {
	for at := 7 * time.Second; at < 14*time.Second; at += 100 * time.Millisecond {
		end, owned := live(t, []deed{
			{"crash", 0, at.Truncate(time.Second)}, {"probe", 1, at%time.Second + time.Millisecond},
			{"burst", 1, time.Millisecond}, {"failover", 1, time.Millisecond}, {"start", 0, 15 * time.Second},
		})
		for _, f := range end.faults {
			t.Errorf("failover after %v: %s", at, f)
		}
		if owned != 4 {
			t.Errorf("failover after %v: %d calls have an owner in the end, of 4", at, owned)
		}
	}
}

// TestOneOfTwoNodesAdoptsACallOnTheSpot has two survivors asked for a call at
// the same moment. Who comes second must not say that there is no such call.
func TestOneOfTwoNodesAdoptsACallOnTheSpot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(1)
		dead := s.start("edge-1", 0)
		time.Sleep(5 * time.Second)
		dead.stop()
		survivors := []*host{s.host("edge-2", 1), s.host("edge-3", 2)}
		look := func() {
			for _, h := range survivors {
				if err := h.renew(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, _, err := h.survey(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, h := range survivors {
			if _, err := h.join(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(redis.LeaseTime)
		look()
		look()
		places, errs := make([]b2bua.Place, 2), make([]error, 2)
		var both sync.WaitGroup
		for i, h := range survivors {
			h.slow = time.Millisecond // so that both have looked before one adopts
			both.Go(func() { places[i], errs[i] = h.find(t.Context(), "call-0") })
		}
		both.Wait()
		for i, h := range survivors {
			_, has := h.Held()["call-0"]
			if places[i].Here != has || has == errors.Is(errs[i], errUnsettled) {
				t.Errorf("%s: has it: %t, says %v, %v", h.name, has, places[i], errs[i])
			}
		}
		if a, b := places[0].Here, places[1].Here; a == b {
			t.Errorf("edge-2 has it: %t, edge-3 has it: %t", a, b)
		}
	})
}

// TestACallOfADeadNodeIsAdoptedOnTheSpot asks a survivor for one call before it
// adopts what the dead node had.
func TestACallOfADeadNodeIsAdoptedOnTheSpot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(4)
		dead, h := s.start("edge-1", 0), s.start("edge-2", 0)
		time.Sleep(5 * time.Second)
		if place, err := h.find(t.Context(), "call-0"); err != nil || place != (b2bua.Place{Addr: "edge-1:5060"}) {
			t.Errorf("while its owner lives: %v, %v", place, err)
		}
		dead.stop()
		h.stop() // and what follows is done by hand
		h = s.host("edge-2", 1)
		if _, err := h.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		look := func() {
			if err := h.renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := h.survey(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		look()
		if place, err := h.find(t.Context(), "call-0"); err != nil || place.Addr == "" {
			t.Errorf("while its lease stands: %v, %v", place, err)
		}
		time.Sleep(redis.LeaseTime)
		look()
		if place, err := h.find(t.Context(), "call-0"); !errors.Is(err, errUnsettled) {
			t.Errorf("when its lease is missing for the first time: %v, %v", place, err)
		}
		look()
		if place, err := h.find(t.Context(), "call-0"); err != nil || !place.Here {
			t.Errorf("when it is dead: %v, %v", place, err)
		}
		if got := slices.Collect(maps.Keys(h.Held())); !slices.Equal(got, []string{"call-0"}) {
			t.Errorf("adopted: %v", got)
		}
		if place, err := h.find(t.Context(), "call-0"); err != nil || !place.Here {
			t.Errorf("once more: %v, %v", place, err)
		}
		over := s.records["call-1"]
		over.State, over.End.At = store.Terminated, time.Now()
		s.records["call-1"] = over
		if place, err := h.find(t.Context(), "call-1"); err != nil || place != (b2bua.Place{Ended: over.End.At}) {
			t.Errorf("a call that has ended: %v, %v", place, err)
		}
		if place, err := h.find(t.Context(), "nobody's"); err != nil || place != (b2bua.Place{}) {
			t.Errorf("a call that there never was: %v, %v", place, err)
		}
	})
}
