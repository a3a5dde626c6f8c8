// Package embedded keeps the records of calls in the memory of one process. It
// promises what a shared store does. Its records end with the process, unless
// it keeps a journal on disk.
package embedded

import (
	"container/heap"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"sipvigil/store"
)

// chunk is how many calls are looked at before others may use the store.
const chunk = 256

// mostOver is how many finished calls are kept. Each takes about 1 KB.
const mostOver = 20_000

// Store keeps calls in memory. Records are copied on their way in and out.
// Times are kept to the millisecond, in UTC.
type Store struct {
	since   time.Time
	sooner  chan struct{} // capacity 1: the next expiry has changed
	journal *journal      // nil without one

	mu     sync.Mutex
	active map[string]*store.Packed
	over   map[string]*finished
	expiry expiries // the calls in over, the next to go first
	epoch  int64
	tagKey []byte

	maintained map[string]store.Maintenance // by maintenanceID
	channels   map[way]*channels

	found   []*store.Packed // empty, kept for its room
	fetched int             // of what is only fetched, see SaveHealth
}

// finished is a call that is over, until it is forgotten.
type finished struct {
	id      string
	call    *store.Packed
	expires time.Time
}

// New returns an empty store.
func New() *Store {
	return &Store{
		since:  time.Now(),
		sooner: make(chan struct{}, 1),
		active: make(map[string]*store.Packed),
		over:   make(map[string]*finished),

		maintained: make(map[string]store.Maintenance),
		channels:   make(map[way]*channels),
	}
}

// Save writes all of a call but the health of its legs. The last one wins, but
// no leg's mark falls, and a finished call stays as it is.
func (s *Store) Save(c store.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.update(c) != nil {
		s.journal.touch(c.ID, whole)
	}
}

// SaveHealth writes the health of legs of calls that go on. All are looked up
// before any is written: memory gives much at once in hardly more time than one
// thing after the other takes for each.
func (s *Store) SaveHealth(legs ...store.LegHealth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = s.found[:0]
	for i := range legs {
		s.found = append(s.found, s.active[legs[i].ID])
	}
	for i, c := range s.found {
		if c != nil {
			s.fetched += c.Misses(legs[i].Side)
		}
	}
	for i, c := range s.found {
		if c != nil {
			c.SetHealth(legs[i].Side, legs[i].Health)
			s.journal.touch(legs[i].ID, healthOf(legs[i].Side))
		}
	}
	clear(s.found)
}

// Reserve raises the mark of a leg to at least mark and calls covered: before it
// returns, or with a journal, when the mark is on disk.
func (s *Store) Reserve(id string, side store.Side, mark uint32, covered func(mark uint32)) {
	s.mu.Lock()
	if c := s.active[id]; c != nil {
		c.Reserve(side, mark)
		s.journal.touch(id, markOf(side))
	}
	later := s.journal != nil && covered != nil
	if later {
		s.journal.after(func() { covered(mark) })
	}
	s.mu.Unlock()
	if covered != nil && !later {
		covered(mark)
	}
}

// Finish writes the last record of a call, which is forgotten after keep, or
// before when too many others follow.
func (s *Store) Finish(c store.Call, keep time.Duration) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	last := s.update(c)
	if last == nil {
		return
	}
	last.State = store.Terminated
	delete(s.active, c.ID)
	s.journal.touch(c.ID, final)
	if keep > 0 {
		s.retain(&finished{id: c.ID, call: last, expires: now.Add(keep)})
	}
}

// retain keeps a finished call until its time has come. Called locked.
func (s *Store) retain(f *finished) {
	if len(s.expiry) == mostOver {
		delete(s.over, heap.Pop(&s.expiry).(*finished).id)
	}
	s.over[f.id] = f
	heap.Push(&s.expiry, f)
	if s.expiry[0] == f {
		select {
		case s.sooner <- struct{}{}:
		default:
		}
	}
}

// Get returns a call, or store.ErrNotFound.
func (s *Store) Get(_ context.Context, id string) (store.Call, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.active[id]; c != nil {
		return c.Call(), nil
	}
	if f := s.over[id]; f != nil && now.Before(f.expires) {
		return f.call.Call(), nil
	}
	return store.Call{}, fmt.Errorf("get call %s: %w", id, store.ErrNotFound)
}

// List returns a page of the calls that go on and match, in the order of their
// ids.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	now, limit := time.Now(), q.PageLimit()
	var page store.Page
	more := false
	err := s.each(ctx, s.above(q.Cursor), func(c *store.Call) bool {
		if !q.Match(c, now) {
			return true
		}
		if more = len(page.Calls) == limit; more {
			return false
		}
		page.Calls = append(page.Calls, *c)
		return true
	})
	if err != nil {
		return store.Page{}, fmt.Errorf("list calls: %w", err)
	}
	if more {
		page.Next = page.Calls[limit-1].ID
	}
	return page, nil
}

// Owned yields each call of a node that goes on, those whose release has begun
// before all others, in the order of their ids, until yield returns false.
func (s *Store) Owned(ctx context.Context, node string, yield func(store.Call) bool) error {
	ending, others := s.sift(node)
	err := s.each(ctx, append(ending, others...), func(c *store.Call) bool { return c.Node != node || yield(*c) })
	if err != nil {
		return fmt.Errorf("read the calls of %s: %w", node, err)
	}
	return nil
}

// Owns returns how many calls of a node go on.
func (s *Store) Owns(_ context.Context, node string) (calls int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.active {
		if c.Node == node {
			calls++
		}
	}
	return calls, nil
}

// TagKey returns the 32 random bytes made when they were first asked for.
func (s *Store) TagKey(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	if s.tagKey == nil {
		s.tagKey = make([]byte, 32)
		_, _ = rand.Read(s.tagKey) // never fails
	}
	key := slices.Clone(s.tagKey)
	s.mu.Unlock()
	return key, s.durable(ctx)
}

// NextEpoch returns a number higher than any before.
func (s *Store) NextEpoch(ctx context.Context) (int64, error) {
	s.mu.Lock()
	s.epoch++
	epoch := s.epoch
	s.mu.Unlock()
	return epoch, s.durable(ctx)
}

// Status says that the store is reachable and that nothing is pending, as far
// as the journal's disk is.
func (s *Store) Status() store.Status {
	status := store.Status{Reachable: true, Since: s.since}
	if j := s.journal; j != nil {
		s.mu.Lock()
		status = j.status
		if status.Pending = j.pending(); status.Pending > 0 {
			status.Behind = time.Since(j.written)
		}
		s.mu.Unlock()
	}
	status.Backend = "embedded"
	return status
}

// Run forgets finished calls when their time has come, and writes the journal,
// until ctx ends. The store is of no use after that if it has a journal.
func (s *Store) Run(ctx context.Context) error {
	var forgetting sync.WaitGroup
	forgetting.Go(func() { s.forget(ctx) })
	defer forgetting.Wait()
	if s.journal == nil {
		return nil
	}
	return s.keep(ctx)
}

// forget forgets finished calls when their time has come, until ctx ends.
func (s *Store) forget(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.sooner:
		case <-timer.C:
		}
		now := time.Now()
		s.mu.Lock()
		s.expire(now)
		if len(s.expiry) > 0 {
			timer.Reset(s.expiry[0].expires.Sub(now))
		}
		s.mu.Unlock()
	}
}

// above returns the ids of the active calls above an id, in their order.
func (s *Store) above(id string) []string {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.active))
	s.mu.Unlock()
	slices.Sort(ids)
	from, found := slices.BinarySearch(ids, id)
	if found {
		from++
	}
	return ids[from:]
}

// sift returns the ids of a node's calls in their order: those whose release has
// begun, and the others.
func (s *Store) sift(node string) (ending, others []string) {
	s.mu.Lock()
	for id, c := range s.active {
		switch {
		case c.Node != node:
		case c.State == store.Ending:
			ending = append(ending, id)
		default:
			others = append(others, id)
		}
	}
	s.mu.Unlock()
	slices.Sort(ending)
	slices.Sort(others)
	return ending, others
}

// each yields copies of these calls. Those that have ended are left out.
func (s *Store) each(ctx context.Context, ids []string, yield func(*store.Call) bool) error {
	calls := make([]store.Call, 0, chunk)
	for part := range slices.Chunk(ids, chunk) {
		if err := ctx.Err(); err != nil {
			return err
		}
		calls = calls[:0]
		s.mu.Lock()
		for _, id := range part {
			if c := s.active[id]; c != nil {
				calls = append(calls, c.Call())
			}
		}
		s.mu.Unlock()
		for i := range calls {
			if !yield(&calls[i]) {
				return nil
			}
		}
	}
	return nil
}

// expire forgets the finished calls whose time has come. Called locked.
func (s *Store) expire(now time.Time) {
	for len(s.expiry) > 0 && !now.Before(s.expiry[0].expires) {
		f := heap.Pop(&s.expiry).(*finished)
		delete(s.over, f.id)
	}
}

// update makes the record of a call what Save was given, but for what Save
// leaves alone. It is nil for a call that is over. Called locked.
func (s *Store) update(c store.Call) *store.Packed {
	old := s.active[c.ID]
	if old == nil {
		if s.over[c.ID] != nil {
			return nil
		}
		old = new(store.Packed)
	}
	packed := store.Pack(c)
	for _, side := range store.Sides {
		packed.Reserve(side, old.Mark(side))
	}
	packed.KeepHealth(old)
	*old = packed
	s.active[c.ID] = old
	return old
}

func toMilli(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// expiries is a heap of finished calls.
type expiries []*finished

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].expires.Before(e[j].expires) }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *expiries) Push(f any) { *e = append(*e, f.(*finished)) }

// Pop implements heap.Interface.
func (e *expiries) Pop() any {
	last := len(*e) - 1
	f := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return f
}
