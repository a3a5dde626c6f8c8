// Package redis keeps the records of calls in Redis, where all nodes see them.
//
// Whoever changes a call never waits: changes are queued, at most one for each
// call (queue.go), and Run writes them in batches (write.go). While Redis is
// away they are merged and kept. Scripts make each write atomic, refuse the
// writer that no longer owns the call, and touch keys of one hash tag only.
package redis

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/zap"

	"sipvigil/store"
)

// Store is the shared record of calls. Its methods may be used by many at once,
// before and while Run runs. Times are kept to the millisecond, in UTC.
type Store struct {
	cfg     Config
	process string // names what this process has written
	keys    keys
	kind    string
	db      int
	addr    string // for the log
	client  goredis.UniversalClient
	log     *zap.Logger
	wake    chan struct{} // capacity 1: something was queued
	later   chan struct{} // capacity 1: what was queued may wait
	texts   *texts
	linger  time.Duration // how long what may wait is gathered
	check   time.Duration // how often an idle connection is tried
	youth   time.Duration // what is older at a server is from after every node that runs was heard of
	grace   time.Duration // what Run still does when its context has ended

	// These belong to Run.
	connected bool          // the scripts are loaded
	loaded    time.Time     // when they were loaded last
	servers   []string      // lives of the masters that were there then
	changed   bool          // another server than before answers, or one was emptied
	resaved   bool          // all calls were queued again in this round
	patience  time.Duration // how long it waits for an answer
	least     time.Duration // of that
	commands  arguments
	over      []over // the oldest first

	mu      sync.Mutex
	queue   queue
	records records
	writing int       // changes taken from the queue and not written yet
	written time.Time // all changes before are written
	told    []string  // lives of the masters that have all calls of this process
	epoch   int64     // the highest this process has seen
	tagKey  []byte
	noted   noted
	status  store.Status
	leaving int64 // epoch of the lease to give up at the end, 0 for none
}

// New returns a store that connects when it is first used, or all that is wrong
// with its configuration.
func New(cfg Config, log *zap.Logger) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "sv"
	}
	// The library has one logger for all and writes to stderr. What it has to
	// say, it also returns.
	logging.Disable()
	return &Store{
		cfg:      cfg,
		process:  rand.Text(),
		keys:     keys{cfg.Prefix},
		kind:     e.kind,
		db:       e.db,
		addr:     strings.Join(e.addrs, ","),
		client:   e.client(),
		log:      log.With(zap.String("store", e.kind)),
		wake:     make(chan struct{}, 1),
		later:    make(chan struct{}, 1),
		texts:    newTexts(),
		linger:   time.Second,
		check:    5 * time.Second,
		youth:    LeaseTime,
		grace:    2 * time.Second,
		queue:    newQueue(),
		patience: ioTimeout,
		least:    ioTimeout,
		status:   store.Status{Backend: e.kind, Since: time.Now()},
	}, nil
}

// Save queues all of a call but the health of its legs. The last one wins, but
// no leg's mark falls, and a finished call stays as it is. The record is
// copied.
func (s *Store) Save(c store.Call) {
	s.enqueue(s.wake, recordOf(c))
}

// SaveHealth queues the health of legs of calls that go on. It is written
// within a second and what an exchange takes: to write the answers of that time
// together costs a small part of what it costs to write each as it comes.
func (s *Store) SaveHealth(legs ...store.LegHealth) {
	changes := make([]*change, len(legs))
	for i, l := range legs {
		changes[i] = &change{id: l.ID}
		changes[i].health[l.Side] = &l.Health
	}
	s.enqueue(s.later, changes...)
}

// Reserve queues that the mark of a leg is raised to at least mark. Run calls
// covered when Redis has acknowledged it, or when the call turns out to be over;
// never when a later owner has the call. It must not block.
func (s *Store) Reserve(id string, side store.Side, mark uint32, covered func(mark uint32)) {
	c := &change{id: id}
	c.mark[side] = mark
	if covered != nil {
		c.covered = []cover{{mark, covered}}
	}
	s.enqueue(s.wake, c)
}

// Finish queues the last record of a call, which Redis forgets after keep. While
// Redis is away many calls may come and go: of these only the last are kept.
func (s *Store) Finish(c store.Call, keep time.Duration) {
	c.State = store.Terminated
	r := recordOf(c)
	r.final, r.keep = true, keep
	s.enqueue(s.wake, r)
}

// enqueue queues changes and tells Run by wake or by later.
func (s *Store) enqueue(how chan struct{}, changes ...*change) {
	s.mu.Lock()
	if s.pending() == 0 {
		s.written = time.Now()
	}
	for _, c := range changes {
		s.queue.add(c)
		if c.call != nil {
			s.epoch = max(s.epoch, c.call.Epoch)
		}
		if c.final {
			s.queue.trim(s.written)
		}
	}
	s.mu.Unlock()
	signal(how)
}

// poke has Run make a round.
func (s *Store) poke() { signal(s.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pending is how many calls have changes that are not written. Called locked.
func (s *Store) pending() int { return s.queue.len() + s.writing }

// Status says whether the last exchange with Redis succeeded, how many calls
// have changes that it does not know yet, and how old these are.
func (s *Store) Status() store.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if st.Pending = s.pending(); st.Pending > 0 {
		st.Behind = time.Since(s.written)
	}
	return st
}
