package daemon

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
)

// Times of channels.
const (
	// channelTime is how long a channel lasts that nobody vouches for. The calls
	// of a node that is gone are adopted sooner than that.
	channelTime = time.Minute
	vouchEvery  = 10 * time.Second
	vouchTime   = 5 * time.Second       // bounds one round
	claimTime   = 2 * time.Second       // bounds what a call waits for a store that does not answer and is not known to be away
	claimPause  = 50 * time.Millisecond // before the next try of a claim that failed at once
	freeTime    = time.Second
	mostFreed   = 100_000 // channels that wait to be given back; others come back by themselves
)

// channelStore is where the channels of all nodes are.
type channelStore interface {
	ClaimChannel(ctx context.Context, c store.Claim) (store.Grant, error)
	VouchChannels(ctx context.Context, lease time.Duration, held []store.Held) (used []int, err error)
	FreeChannels(ctx context.Context, held []store.Held) error
	Status() store.Status
}

// way is one direction of a trunk.
type way struct {
	trunk string
	side  store.Side
}

// line is a channel of a call.
type line struct {
	way
	id string
}

// channels counts the calls of trunks that have a limit, over all nodes. The
// store decides; while it is away, memory does: the channels of this node, and
// those that the others had when they were last known. What it has and the
// calls do not is forgotten again, so that no count can leak.
type channels struct {
	st     channelStore
	limits map[string]store.Limit
	live   func(yield func(trunk string, side store.Side, id string) bool) // channels of the calls that go on
	reject bool                                                            // new calls while the store is away
	log    *zap.Logger
	wake   chan struct{} // capacity 1: something is to be given back

	refused *prometheus.CounterVec

	mu      sync.Mutex // guards what is below
	ways    map[way]*count
	freed   map[line]bool // to be given back
	leaving map[line]bool // being given back
	left    chan struct{} // closed when that is over
}

// count is what is known of one direction of a trunk.
type count struct {
	mine   map[string]time.Time // calls of this node, by when they got their channel; zero once the call has shown that it has it
	others int                  // channels of other nodes, as last told
	starts []time.Time          // of the calls of this node within a second before the last one
}

func (n *count) used() int { return n.others + len(n.mine) }

func newChannels(cfg *Config, st channelStore, log *zap.Logger, reg prometheus.Registerer) *channels {
	k := &channels{
		st: st, limits: make(map[string]store.Limit), reject: cfg.Store.OnOutage == "reject", log: log, wake: make(chan struct{}, 1),
		ways: make(map[way]*count), freed: make(map[line]bool),
	}
	k.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sipvigil_trunk_refused_total",
		Help: "Calls that a trunk had no channel for, by direction and reason: full, or rate (too many began within a second).",
	}, []string{"trunk", "direction", "reason"})
	reg.MustRegister(k.refused)
	for i := range cfg.Trunks {
		name, l := cfg.Trunks[i].Name, cfg.Trunks[i].limit()
		if l == (store.Limit{}) {
			continue
		}
		k.limits[name] = l
		for _, side := range store.Sides {
			k.ways[way{name, side}] = &count{mine: make(map[string]time.Time)}
			for _, reason := range []store.Refusal{store.Full, store.TooMany} {
				k.refused.WithLabelValues(name, direction(side), string(reason))
			}
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "sipvigil_trunk_channels", Help: "Channels of a trunk with a capacity that are in use, on all nodes, as last told.",
				ConstLabels: prometheus.Labels{"trunk": name, "direction": direction(side)},
			}, func() float64 { used, _ := k.used(name); return float64(used[side]) }))
		}
	}
	return k
}

// direction is in for the calls that come from a trunk, out for those that go
// there.
func direction(side store.Side) string {
	if side == store.Caller {
		return "in"
	}
	return "out"
}

// Claim implements b2bua.Channels.
func (k *channels) Claim(c store.Claim) (store.Grant, error) {
	k.recall(line{way{c.Trunk, c.Side}, c.ID})
	c.Lease = channelTime
	g, err := k.ask(c)
	if err == nil && g.Refused != "" {
		k.refused.WithLabelValues(c.Trunk, direction(c.Side), string(g.Refused)).Inc()
	}
	return g, err
}

func (k *channels) ask(c store.Claim) (store.Grant, error) {
	err := store.ErrUnavailable
	ctx, cancel := context.WithTimeout(context.Background(), claimTime)
	defer cancel()
	for k.st.Status().Reachable && ctx.Err() == nil {
		var g store.Grant
		if g, err = k.st.ClaimChannel(ctx, c); err == nil {
			k.note(c, g)
			return g, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(claimPause):
		}
	}
	if k.reject {
		return store.Grant{}, err
	}
	return k.fromMemory(c, time.Now()), nil
}

// note keeps what the store has said.
func (k *channels) note(c store.Claim, g store.Grant) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.ways[way{c.Trunk, c.Side}]
	if g.Refused == "" {
		n.add(c.ID, time.Now())
	}
	for _, side := range store.Sides {
		n := k.ways[way{c.Trunk, side}]
		n.others = max(0, g.Used[side]-len(n.mine))
	}
}

// add is called locked.
func (n *count) add(id string, now time.Time) {
	n.mine[id] = now
	n.starts = append(n.starts[len(n.starts)-n.begun(now):], now)
}

// fromMemory decides on a claim without the store.
func (k *channels) fromMemory(c store.Claim, now time.Time) store.Grant {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, other := k.ways[way{c.Trunk, c.Side}], k.ways[way{c.Trunk, c.Side.Other()}]
	var g store.Grant
	switch most := c.Most(); {
	case most > 0 && n.used() >= most, c.Limit.Total > 0 && n.used()+other.used() >= c.Limit.Total:
		g.Refused = store.Full
	case c.Limit.PerSecond > 0 && n.begun(now) >= c.Limit.PerSecond:
		g.Refused = store.TooMany
	default:
		n.add(c.ID, now)
	}
	g.Used[c.Side], g.Used[c.Side.Other()] = n.used(), other.used()
	return g
}

// begun is how many calls of this node began within the last second.
func (n *count) begun(now time.Time) int {
	i, _ := slices.BinarySearchFunc(n.starts, now.Add(-time.Second), func(at, since time.Time) int {
		if at.After(since) {
			return 1
		}
		return -1
	})
	return len(n.starts) - i
}

// Free implements b2bua.Channels.
func (k *channels) Free(trunk string, side store.Side, id string) {
	w := way{trunk, side}
	k.mu.Lock()
	if n := k.ways[w]; n != nil {
		delete(n.mine, id)
	}
	if len(k.freed) < mostFreed {
		k.freed[line{w, id}] = true
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// recall has a channel not given back any more, because its call wants it again.
func (k *channels) recall(l line) {
	for {
		k.mu.Lock()
		delete(k.freed, l)
		left := k.left
		under := k.leaving[l]
		k.mu.Unlock()
		if !under {
			return
		}
		<-left
	}
}

// used is how many channels of a trunk are in use, by side; false when they are
// not counted.
func (k *channels) used(trunk string) (used [2]int, counted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, side := range store.Sides {
		n := k.ways[way{trunk, side}]
		if n == nil {
			return used, false
		}
		used[side] = n.used()
	}
	return used, true
}

// Left implements b2bua.Channels.
func (k *channels) Left(trunk string, side store.Side) int {
	used, counted := k.used(trunk)
	l := k.limits[trunk]
	left := 1 << 30
	if !counted {
		return left
	}
	if most := l.Most(side); most > 0 {
		left = most - used[side]
	}
	if l.Total > 0 {
		left = min(left, l.Total-used[0]-used[1])
	}
	return max(0, left)
}

// run vouches for the channels of this node's calls and gives back those of calls
// that are over, one after the other, until ctx ends.
func (k *channels) run(ctx context.Context) {
	if len(k.ways) == 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-k.wake:
			k.giveBack(ctx)
		case <-timer.C:
			k.vouch(ctx)
			k.giveBack(ctx)
			timer.Reset(vouchEvery - rand.N(vouchEvery/10))
		}
	}
	k.giveBack(context.WithoutCancel(ctx))
}

// vouch renews the channels of all calls that go on, and makes this node's
// memory of them what it is to be.
func (k *channels) vouch(ctx context.Context) {
	now := time.Now()
	mine := make(map[way]map[string]time.Time)
	for w := range k.ways { // it has the same keys always
		mine[w] = make(map[string]time.Time)
	}
	k.live(func(trunk string, side store.Side, id string) bool {
		if of := mine[way{trunk, side}]; of != nil {
			of[id] = time.Time{} // if it is gone next time, so is its channel
		}
		return true
	})
	ways := slices.SortedFunc(maps.Keys(mine), func(a, b way) int {
		return strings.Compare(a.trunk+direction(a.side), b.trunk+direction(b.side))
	})
	held := make([]store.Held, len(ways))
	k.mu.Lock()
	for i, w := range ways {
		n := k.ways[w]
		for id := range mine[w] {
			if k.freed[line{w, id}] { // since it was looked at
				delete(mine[w], id)
			}
		}
		for id, at := range n.mine {
			if _, seen := mine[w][id]; !seen && now.Sub(at) < vouchEvery { // its call may be about to say that it has it
				mine[w][id] = at
			}
		}
		n.mine = mine[w]
		held[i] = store.Held{Trunk: w.trunk, Side: w.side, IDs: slices.Collect(maps.Keys(n.mine))}
	}
	k.mu.Unlock()
	if !k.st.Status().Reachable {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, vouchTime)
	defer cancel()
	used, err := k.st.VouchChannels(ctx, channelTime, held)
	if err != nil {
		k.say("channels were not renewed", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, w := range ways {
		k.ways[w].others = max(0, used[i]-len(held[i].IDs))
	}
}

// giveBack gives the channels back that are free.
func (k *channels) giveBack(ctx context.Context) {
	k.mu.Lock()
	if len(k.freed) == 0 || !k.st.Status().Reachable {
		k.mu.Unlock()
		return
	}
	k.leaving, k.freed, k.left = k.freed, make(map[line]bool), make(chan struct{})
	k.mu.Unlock()

	of := make(map[way][]string)
	for l := range k.leaving { // nobody writes it
		of[l.way] = append(of[l.way], l.id)
	}
	held := make([]store.Held, 0, len(of))
	for w, ids := range of {
		held = append(held, store.Held{Trunk: w.trunk, Side: w.side, IDs: ids})
	}
	ctx, cancel := context.WithTimeout(ctx, freeTime)
	err := k.st.FreeChannels(ctx, held)
	cancel()

	k.mu.Lock()
	if err != nil {
		for l := range k.leaving {
			if len(k.freed) < mostFreed {
				k.freed[l] = true
			}
		}
	}
	k.leaving = nil
	close(k.left)
	k.mu.Unlock()
	if err != nil {
		k.say("channels were not given back", err)
	}
}

// say logs what went wrong. That the store is away is logged already.
func (k *channels) say(what string, err error) {
	if !errors.Is(err, store.ErrUnavailable) {
		k.log.Warn(what, zap.Error(err))
		return
	}
	k.log.Debug(what, zap.Error(err))
}
