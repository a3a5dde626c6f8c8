package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/supervisor/progress"
)

// shared is what a member asks of the store that the nodes share.
type shared interface {
	Renew(ctx context.Context, n store.Node) (redis.Leased, error)
	Nodes(ctx context.Context) ([]store.Node, error)
	Settled(ctx context.Context) (bool, error)
	NextEpoch(ctx context.Context) (int64, error)
	Fence(ctx context.Context, epoch int64) error
	Lost(ctx context.Context, held map[string]int64) (lost, behind []string, err error)
	Get(ctx context.Context, id string) (store.Call, error)
	Nowhere(ctx context.Context, id string) (bool, error)
	Stranded(ctx context.Context, node string) (ending, others []string, err error)
	Adopt(ctx context.Context, from string, epoch int64, ids []string) ([]store.Call, error)
	Kept(ctx context.Context, calls []store.Call) (lost []string, err error)
	Forget(ctx context.Context, node string) error
	Leave(epoch int64)
}

// owned is what a member asks of the part that has the calls.
type owned interface {
	Count() int
	Held() map[string]int64
	Resave(id string)
	Restore(ctx context.Context, calls []store.Call) error
	Claim(id string, epoch int64) bool
	Announce(ids []string)
	GoOn()
}

// renewEvery is how often a lease is renewed.
const renewEvery = redis.LeaseTime / 3

// regainTime bounds what it takes to get a lease back, of a store that is slow,
// too. The lease that this begins with must last until its end.
const regainTime = 2 * renewEvery

// member is this node among those that share a store: it holds a lease, and
// adopts the calls of those whose lease is over.
//
// A node may ask and end its calls while its lease is sure to stand, by a
// monotonic clock that was read before the renewal was sent. One that knew of
// no other node goes on without while it finds the store out of reach: nobody
// was there who could adopt its calls.
type member struct {
	shared
	calls     owned
	drop      func(id string) // forgets a call in every part
	log       *zap.Logger
	name      string
	since     time.Time
	addr      string // where the others reach our SIP
	announces bool   // the far ends of adopted calls are told our Contact
	tally     func() store.Tally
	progress  *progress.Board

	lease    atomic.Pointer[lease]
	failed   atomic.Pointer[time.Time] // before the last renewal that failed was sent
	beyond   atomic.Pointer[time.Time] // when the store was last found to be out of reach
	tries    tries
	hurry    chan struct{} // capacity 1: somebody waits for a renewal
	draining atomic.Bool
	busy     atomic.Int64 // adoptions under way
	adopted  prometheus.Counter

	renewing sync.Mutex // one renewal at a time; guards what is below
	epoch    int64      // of the lease, 0 before the first
	company  time.Time  // when another node was last known

	look   sync.Mutex // guards what is below
	nodes  map[string]*seen
	paused bool // as it was logged
	unsure []adoption

	doubted map[string]bool // calls whose change was refused
	doubt   chan struct{}   // capacity 1: there are some
}

// lease is what is known of the lease. It does not change.
type lease struct {
	at    time.Time // before its last renewal was sent
	clear bool      // what others adopted before it has been dropped
	alone bool      // no other node was there
	taken bool      // by another process of the same name
}

func newMember(st shared, calls owned, drop func(string), node string, log *zap.Logger, reg prometheus.Registerer) *member {
	m := &member{shared: st, calls: calls, drop: drop, log: log, name: node, since: time.Now(), nodes: make(map[string]*seen),
		doubted: make(map[string]bool), doubt: make(chan struct{}, 1), hurry: make(chan struct{}, 1), tally: func() store.Tally { return store.Tally{} }}
	// Nobody knows of the calls of a node that was never there.
	m.lease.Store(&lease{clear: true, alone: true})
	m.adopted = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sipvigil_node_adopted_calls_total",
		Help: "Calls of other nodes that this one went on with.",
	})
	reg.MustRegister(m.adopted, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sipvigil_node_lease",
		Help: "1 while this node may ask and end its calls, 0 while others may be about to adopt them.",
	}, func() float64 {
		if m.may() {
			return 1
		}
		return 0
	}))
	return m
}

// may says whether this node is sure to own its calls.
func (m *member) may() bool {
	l, now := m.lease.Load(), time.Now()
	return l.clear && (l.stands(now) || l.alone && (l.at.IsZero() || m.cutOff(now)))
}

// cutOff says whether the store was found to be out of reach just now. A process
// that was stalled does not know that.
func (m *member) cutOff(now time.Time) bool {
	at := m.failed.Load()
	return at != nil && (&lease{at: *at}).stands(now)
}

// stands says whether nobody else can have found the lease to be over. Where the
// monotonic clock stands still, as while a machine sleeps, the wall clock tells.
func (l *lease) stands(now time.Time) bool {
	return now.Sub(l.at) < redis.LeaseUse && now.Round(0).Sub(l.at.Round(0)) < redis.LeaseUse
}

// unready says why this node should get no new calls, as far as its lease goes.
func (m *member) unready() []string {
	switch {
	case m.lease.Load().taken:
		return []string{"another process has the node name " + m.name}
	case m.draining.Load():
		return []string{"draining"}
	default:
		return nil
	}
}

// idle says why calls are not watched, "" while they are. It is no reason to
// send new calls elsewhere: the store may be away for all nodes.
func (m *member) idle() string {
	if m.may() {
		return ""
	}
	return "no lease: calls are neither asked nor ended"
}

// join takes the lease when this process begins, and returns the epoch under
// which it owns what it finds to be its own from now on.
func (m *member) join(ctx context.Context) (int64, error) {
	m.renewing.Lock()
	defer m.renewing.Unlock()
	return m.regain(ctx)
}

// hold keeps the lease until ctx ends.
func (m *member) hold(ctx context.Context) {
	for {
		began := time.Now()
		err := m.renew(ctx)
		if errors.Is(err, store.ErrUnavailable) {
			m.failed.Store(&began)
		}
		if err != nil {
			if time.Since(began) < longestTry { // else it says nothing about now: this process stood still
				m.unreached()
			}
			if ctx.Err() == nil {
				m.log.Debug("lease was not renewed", zap.Error(err))
			}
		}
		m.tries.end()
		m.tell()
		wait := time.Second
		if m.may() { // whether the lease was lost meanwhile, or only renewed late
			m.calls.GoOn()
			wait = renewEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-m.doubt:
			m.resolve(ctx)
		case <-m.hurry:
		case <-time.After(wait - rand.N(wait/10)):
		}
	}
}

// tell logs when watching stops and goes on.
func (m *member) tell() {
	m.look.Lock()
	defer m.look.Unlock()
	switch may := m.may(); {
	case !may && !m.paused:
		m.log.Warn("no lease: calls are not asked nor ended until it is back", zap.String("node", m.name))
		m.paused = true
	case may && m.paused:
		m.log.Info("lease is back, calls are watched again", zap.String("node", m.name))
		m.paused = false
	}
}

// renew renews the lease, and gets it back if it was over.
func (m *member) renew(ctx context.Context) error {
	m.renewing.Lock()
	defer m.renewing.Unlock()
	if m.epoch == 0 {
		return nil // join comes first
	}
	was := m.lease.Load()
	stood := was.stands(time.Now())
	limited, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	at, got, err := m.ask(limited)
	if err != nil {
		return err
	}
	if got == redis.LeaseKept && stood && was.clear {
		return m.settle(ctx, at)
	}
	limited, cancel = context.WithTimeout(ctx, regainTime)
	defer cancel()
	if _, err := m.regain(limited); err != nil {
		return fmt.Errorf("getting the lease back: %w", err)
	}
	return nil
}

// ask has the store renew the lease.
func (m *member) ask(ctx context.Context) (at time.Time, got redis.Leased, err error) {
	n := store.Node{Name: m.name, State: store.NodeUp, Epoch: m.epoch, Since: m.since, Calls: m.calls.Count(), Addr: m.addr,
		Tally: m.tally(), Doing: m.progress.List()}
	if m.draining.Load() {
		n.State = store.NodeDraining
	}
	at = time.Now()
	n.Seen = at
	if got, err = m.Renew(ctx, n); err != nil {
		return at, got, err
	}
	if got == redis.LeaseTaken {
		if !m.lease.Load().taken {
			m.log.Error("another process has this node's name: give each node its own with --node or node in the configuration",
				zap.String("node", m.name))
		}
		m.lease.Store(&lease{taken: true})
		return at, got, fmt.Errorf("lease of %s: %s", m.name, got)
	}
	return at, got, nil
}

// regain takes the lease, closes what is still ours to adoption, and drops what
// is not. The order matters: an adoption whose epoch was taken before ours finds
// the fence, one that takes its epoch later finds the lease.
func (m *member) regain(ctx context.Context) (int64, error) {
	was := m.lease.Load()
	m.lease.Store(&lease{at: was.at, taken: was.taken})
	back := func(err error) (int64, error) {
		if m.epoch == 0 { // we are not known there yet
			m.lease.Store(was)
		}
		return 0, err
	}
	first := m.epoch
	if first == 0 {
		epoch, err := m.NextEpoch(ctx)
		if err != nil {
			return back(err)
		}
		m.epoch = epoch
	}
	if _, _, err := m.ask(ctx); err != nil {
		m.epoch = first
		return back(err)
	}
	epoch, err := m.NextEpoch(ctx)
	if err != nil {
		return back(err)
	}
	m.epoch = epoch
	if err := m.Fence(ctx, epoch); err != nil {
		return 0, err
	}
	if err := m.verify(ctx, m.calls.Held()); err != nil {
		return 0, err
	}
	at, _, err := m.ask(ctx)
	if err != nil {
		return 0, err
	}
	return epoch, m.settle(ctx, at)
}

// verify drops the calls that others own by now, and has those written again of
// which the store has lost that they are ours.
func (m *member) verify(ctx context.Context, held map[string]int64) error {
	lost, behind, err := m.Lost(ctx, held)
	if err != nil {
		return err
	}
	for _, id := range lost {
		m.drop(id)
	}
	for _, id := range behind {
		m.calls.Claim(id, held[id])
	}
	if len(lost) > 0 {
		m.log.Info("calls were adopted by other nodes and are dropped", zap.Int("calls", len(lost)))
	}
	return nil
}

// refused takes note that the store has refused a change of this call: another
// node owns it, or the store has lost that this one does.
func (m *member) refused(id string) {
	m.look.Lock()
	m.doubted[id] = true
	m.look.Unlock()
	select {
	case m.doubt <- struct{}{}:
	default:
	}
}

// resolve finds out about calls whose change was refused.
func (m *member) resolve(ctx context.Context) {
	m.look.Lock()
	doubted := m.doubted
	m.doubted = make(map[string]bool)
	m.look.Unlock()
	held := m.calls.Held()
	for id := range held {
		if !doubted[id] {
			delete(held, id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if len(held) == 0 || m.verify(ctx, held) == nil {
		return
	}
	for id := range held { // it cannot be told: whoever is refused has lost
		m.drop(id)
	}
}

// settle takes note that the lease stands since at. A store that was emptied, or
// started empty, knows of no other node until that has renewed its lease.
func (m *member) settle(ctx context.Context, at time.Time) error {
	alone := m.lease.Load().alone // as far as it is known
	nodes, err := m.Nodes(ctx)
	if err == nil {
		for _, n := range nodes {
			if n.Name != m.name && n.State != store.NodeLeft {
				m.company = time.Now()
			}
		}
		alone = m.company.IsZero() || time.Since(m.company) > redis.LeaseTime
	}
	m.lease.Store(&lease{at: at, clear: true, alone: alone})
	return err
}
