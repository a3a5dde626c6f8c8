package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

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

func (h *host) Settled(ctx context.Context) (bool, error) {
	if err := h.reach(ctx); err != nil {
		return false, err
	}
	defer h.shop.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.partial, nil
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
