package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/supervisor/progress"
)

// How other nodes are watched, and what becomes of their calls.
const (
	lookEvery  = time.Second
	deadLooks  = 2                     // a lease must be missing so many times in a row: a failover may have lost a renewal
	lookAgain  = 30 * time.Second      // for calls of a node that had none left
	fairTime   = 30 * time.Second      // after that whoever looks takes what others have left
	adoptPage  = 1000                  // calls that are adopted together
	adoptPages = 6                     // pages under way at a time
	adoptPause = 20 * time.Millisecond // between the begin of two pages
	pageTime   = 30 * time.Second      // bounds the adoption of a page, which is tried again then
	spotTime   = 10 * time.Second      // bounds an adoption on the spot
)

// seen is what is known of another node.
type seen struct {
	store.Node
	missing int       // looks in a row that found no lease
	died    time.Time // when the first of these was
	empty   time.Time // when it was last found to own nothing
}

// dead says whether the calls of the node may be adopted.
func (s *seen) dead() bool {
	return s.State == store.NodeLeft || s.missing >= deadLooks
}

// watch looks at the other nodes until ctx ends, and adopts its share of the
// calls of those that are gone.
func (m *member) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookEvery + rand.N(lookEvery/5)):
		}
		m.busy.Add(1)
		m.finish(ctx)
		m.busy.Add(-1)
		live, dead, err := m.survey(ctx)
		if err != nil {
			m.log.Debug("nodes were not listed", zap.Error(err))
			continue
		}
		for _, s := range dead {
			if err := m.inherit(ctx, s, live); err != nil && ctx.Err() == nil {
				m.log.Info("adoption is not complete, it goes on", zap.String("from", s.Name), zap.Error(err))
			}
		}
	}
}

// survey lists the nodes that may adopt, this one among them, and those whose
// calls are to be adopted.
func (m *member) survey(ctx context.Context) (live []string, dead []*seen, err error) {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	nodes, err := m.Nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	settled := true
	if slices.ContainsFunc(nodes, func(n store.Node) bool { return n.State == store.NodeDead }) {
		if settled, err = m.Settled(ctx); err != nil {
			return nil, nil, err
		}
	}
	now := time.Now()
	m.look.Lock()
	defer m.look.Unlock()
	before := m.nodes
	m.nodes = make(map[string]*seen)
	for _, n := range nodes {
		s := before[n.Name]
		if s == nil {
			s = &seen{}
		}
		if s.Node = n; n.Live() {
			s.missing, s.empty = 0, time.Time{}
		} else if n.State == store.NodeDead && !settled {
			s.missing = 0
		} else if s.missing++; s.missing == 1 {
			s.died = now
		}
		m.nodes[n.Name] = s
		switch {
		case n.State == store.NodeUp:
			live = append(live, n.Name)
		case n.Name != m.name && s.dead() && now.Sub(s.empty) > lookAgain:
			dead = append(dead, s)
		}
	}
	return live, dead, nil
}

// mayAdopt says whether this node may take calls now: it must be sure of its
// own lease, and stay.
func (m *member) mayAdopt() bool {
	return m.lease.Load().stands(time.Now()) && m.may() && !m.draining.Load()
}

// inherit adopts this node's share of the calls of a node that is gone.
func (m *member) inherit(ctx context.Context, from *seen, live []string) error {
	if !m.mayAdopt() || !slices.Contains(live, m.name) {
		return nil
	}
	ending, others, err := m.Stranded(ctx, from.Name)
	if err != nil {
		return err
	}
	if len(ending)+len(others) == 0 {
		m.look.Lock()
		from.empty = time.Now()
		m.look.Unlock()
		if from.State == store.NodeLeft {
			return m.Forget(ctx, from.Name)
		}
		return nil
	}
	if time.Since(from.died) < fairTime {
		notMine := func(id string) bool { return heir(live, id) != m.name }
		ending, others = slices.DeleteFunc(ending, notMine), slices.DeleteFunc(others, notMine)
	}
	total := len(ending) + len(others)
	if total == 0 {
		return nil
	}
	start := time.Now()
	count := 0
	task := m.progress.Begin(store.TaskAdoption, from.Name, total)
	defer task.End()
	for _, ids := range [][]string{ending, others} { // those that are to be ended come first
		n, failed := m.adoptAll(ctx, from.Name, ids, task)
		if count += n; failed != nil {
			err = failed
			break
		}
	}
	if count > 0 {
		m.log.Info("calls adopted", zap.String("from", from.Name), zap.Int("calls", count), zap.Duration("took", time.Since(start)))
	}
	return err
}

// adoptAll adopts many calls of a node that is gone, page by page, and returns
// how many it got, those before an error included.
func (m *member) adoptAll(ctx context.Context, from string, ids []string, task *progress.Task) (int, error) {
	pages, within := errgroup.WithContext(ctx)
	pages.SetLimit(adoptPages)
	var count atomic.Int64
	for page := range slices.Chunk(ids, adoptPage) {
		pages.Go(func() error {
			limited, cancel := context.WithTimeout(within, pageTime)
			defer cancel()
			n, err := m.adopt(limited, from, page)
			count.Add(int64(n))
			task.Add(n)
			return err
		})
		select {
		case <-within.Done():
			return int(count.Load()), errors.Join(pages.Wait(), ctx.Err())
		case <-time.After(adoptPause):
		}
	}
	err := pages.Wait()
	return int(count.Load()), err
}

// errBack says that the node whose calls were to be adopted is there again.
var errBack = errors.New("the node is back")

// adopt takes some calls of a node that is gone, and goes on with them.
func (m *member) adopt(ctx context.Context, from string, ids []string) (int, error) {
	m.busy.Add(1)
	defer m.busy.Add(-1)
	epoch, err := m.NextEpoch(ctx)
	if err != nil {
		return 0, err
	}
	// After the epoch was taken, so that the node's fence holds us off if it
	// comes back from now on.
	nodes, err := m.Nodes(ctx)
	if err != nil {
		return 0, err
	}
	for _, n := range nodes {
		if n.Name == from && n.Live() {
			return 0, fmt.Errorf("adopting calls of %s: %w", from, errBack)
		}
	}
	return m.take(ctx, adoption{from: from, epoch: epoch, ids: ids})
}

// adoption is one that the store is asked for. To ask again does no harm.
type adoption struct {
	from  string
	epoch int64
	ids   []string
	calls []store.Call // that are here, but whose numbers may not be reserved yet
}

// take carries an adoption out. When the store does not answer it may have been
// carried out there all the same: it is kept, to be tried again.
func (m *member) take(ctx context.Context, a adoption) (int, error) {
	var err error
	if a.calls == nil {
		a.calls, err = m.Adopt(ctx, a.from, a.epoch, a.ids)
		// A call that is here already is ours, and the store had lost that.
		a.calls = slices.DeleteFunc(a.calls, func(c store.Call) bool { return m.calls.Claim(c.ID, c.Epoch) })
	}
	if err == nil {
		err = m.calls.Restore(ctx, a.calls)
	}
	if errors.Is(err, b2bua.ErrLost) {
		a.calls = nil
	}
	if err != nil {
		m.look.Lock()
		m.unsure = append(m.unsure, a)
		m.look.Unlock()
		return 0, err
	}
	if m.announces {
		ids := make([]string, len(a.calls))
		for i := range a.calls {
			ids[i] = a.calls[i].ID
		}
		m.calls.Announce(ids)
	}
	m.adopted.Add(float64(len(a.calls)))
	return len(a.calls), nil
}

// finish tries adoptions again whose outcome is not known.
func (m *member) finish(ctx context.Context) {
	m.look.Lock()
	unsure := m.unsure
	m.unsure = nil
	m.look.Unlock()
	for _, a := range unsure {
		limited, cancel := context.WithTimeout(ctx, spotTime)
		if _, err := m.take(limited, a); err != nil {
			m.log.Debug("outcome of an adoption is not known, it is tried again", zap.String("from", a.from), zap.Error(err))
		}
		cancel()
	}
}

// settling says whether a call that the store says is ours may still come.
func (m *member) settling() bool {
	m.look.Lock()
	defer m.look.Unlock()
	return m.busy.Load() > 0 || len(m.unsure) > 0
}

// heir is the node that adopts a call: the one whose hash with it is highest, so
// that all survivors agree without a word.
func heir(live []string, id string) string {
	var best string
	var most uint64
	for _, name := range live {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name + "\x00" + id)) // never fails
		sum := h.Sum64()
		sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd // so that the last bytes count as much as the first
		sum = (sum ^ sum>>33) * 0xc4ceb9fe1a85ec53
		if sum ^= sum >> 33; best == "" || sum > most {
			best, most = name, sum
		}
	}
	return best
}

// errUnsettled says that it cannot be told now where a call is.
var errUnsettled = errors.New("the owner of the call is changing")

// find says where a call is that this node was asked for but does not have. One
// whose owner is gone is adopted on the spot.
func (m *member) find(ctx context.Context, id string) (b2bua.Place, error) {
	c, err := m.Get(ctx, id)
	owner := c.Node
	switch unknown := errors.Is(err, store.ErrNotFound); {
	case err != nil && !unknown:
		return b2bua.Place{}, err
	case c.State == store.Terminated:
		return b2bua.Place{Ended: c.End.At}, nil
	case !unknown && owner != m.name:
	case !unknown && m.settling():
		return b2bua.Place{}, errUnsettled
	default: // nobody has it, or it came here meanwhile, or has just ended; unless the store has lost who has it
		if certain, err := m.Nowhere(ctx, id); err != nil || !certain {
			return b2bua.Place{}, cmp.Or(err, errUnsettled)
		}
		return b2bua.Place{Here: !unknown}, nil
	}
	m.look.Lock()
	s := m.nodes[owner]
	var dead bool
	var addr string
	if s != nil {
		dead = s.dead()
		if s.Live() {
			addr = s.Addr
		}
	}
	m.look.Unlock()
	switch {
	case addr != "":
		return b2bua.Place{Addr: addr}, nil
	case !dead || !m.mayAdopt():
		return b2bua.Place{}, errUnsettled
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spotTime)
	defer cancel()
	n, err := m.adopt(ctx, owner, []string{id})
	if err == nil && n == 0 {
		err = errUnsettled // another node was first, or it has ended
	}
	return b2bua.Place{Here: err == nil}, err
}
