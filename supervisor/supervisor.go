package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sipvigil/store"
)

// Legs is what a Supervisor can do to calls. Its methods may call those of the
// Supervisor that tell what happens: these call none of Legs.
type Legs interface {
	// Ask sends these requests. What became of each comes back through
	// Answered, exactly once. It returns at once.
	Ask(questions []store.Question, timeout time.Duration)
	// Calibrate sends OPTIONS in a dialog that does not exist to where the
	// requests of a leg go. What comes back goes to Calibrated. It returns at
	// once.
	Calibrate(id string, side store.Side, timeout time.Duration)
	// Release begins to end a call with BYE on both legs, and returns at once.
	// It is false when there is no such call, or when it is ending already.
	Release(id string, end store.End) bool
	// Call is the call as it stands, without Health.
	Call(id string) (store.Call, bool)
	// Calls visits all calls in any order until yield is false.
	Calls(yield func(store.Call) bool)
}

// Store is where health is kept, and where the calls of other nodes are found.
type Store interface {
	// SaveHealth remembers the health of legs, to be written when that is
	// possible, and returns at once. It ignores calls that are not there any
	// more.
	SaveHealth(legs ...store.LegHealth)
	Get(ctx context.Context, id string) (store.Call, error)
	// List returns a page in the order of ids. Its cursor is an id: the page
	// holds greater ones only.
	List(ctx context.Context, q store.Query) (store.Page, error)
	Status() store.Status
}

// burst is how many probes may leave together before Rate spaces them.
const burst = 20

// Supervisor watches over calls.
type Supervisor struct {
	cfg      Config
	legs     Legs
	st       Store
	log      *zap.Logger
	fields   sync.Pool // lists of those of a line, as pointers
	metrics  *metrics
	made     time.Time      // zero of the clock of the schedule
	random   func() float64 // from 0, below 1
	pace     *rate.Limiter
	hurried  *rate.Limiter       // probes that were brought forward
	wake     chan struct{}       // tells Run that there is something to do now
	sleep    func(time.Duration) // or nil, see SleepBy
	ended    *memory
	follower Follower

	mu       sync.Mutex
	calls    map[string]*call
	queue    queue
	inFlight inFlight
	fetched  int // of what is only fetched, see fetch
	brake    brake
	kinds    kinds
	texts    texts
	counts   [2]map[store.Liveness]int // legs that are watched
	lives    map[store.Liveness]int    // calls that are watched, by the worse leg
	starts   starts
	today    today
	learned  learned                        // what Run has to pass on
	names    map[response]string            // what answers are called as evidence
	waiting  map[*leg][]chan<- store.Answer // who else wants the answer to the probe under way

	wonBack map[string]*wonBack // by trunk
}

// New returns a Supervisor that watches nothing yet. It needs Bind before
// anything else.
func New(cfg Config, st Store, log *zap.Logger, reg prometheus.Registerer) (*Supervisor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	s := &Supervisor{
		cfg:      cfg,
		st:       st,
		log:      log,
		made:     time.Now(),
		random:   rand.Float64,
		pace:     rate.NewLimiter(rate.Limit(cfg.Rate), max(burst, cfg.Rate*int(longest/time.Millisecond)/1000)),
		hurried:  rate.NewLimiter(max(rate.Limit(cfg.Rate)/hurryShare, 1), burst),
		wake:     make(chan struct{}, 1),
		ended:    &memory{keep: cfg.Keep, most: cfg.KeepCalls},
		calls:    make(map[string]*call),
		queue:    newQueue(cfg.period()),
		brake:    newBrake(&cfg),
		kinds:    make(kinds),
		texts:    newTexts(),
		names:    make(map[response]string),
		waiting:  make(map[*leg][]chan<- store.Answer),
		lives:    make(map[store.Liveness]int),
		follower: unfollowed{},

		wonBack: make(map[string]*wonBack),
	}
	for i := range s.counts {
		s.counts[i] = make(map[store.Liveness]int)
	}
	s.metrics = newMetrics(cfg.Trunks)
	if err := s.metrics.register(reg, s); err != nil {
		return nil, fmt.Errorf("supervisor: register metrics: %w", err)
	}
	return s, nil
}

// Bind says whose calls are watched. It is called once, before Run and before
// the first call.
func (s *Supervisor) Bind(legs Legs) { s.legs = legs }

// SleepBy has Run wait by sleep instead of by a timer of the runtime when it is
// to do nothing for a while whatever happens. Sleep may return early when Run is
// to end. It is called once, before Run.
func (s *Supervisor) SleepBy(sleep func(time.Duration)) { s.sleep = sleep }

// Run asks the legs whose turn it is, and passes on what was learned, until ctx
// ends. Only one Run may be under way.
func (s *Supervisor) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var passed learned
	var tasks []store.Question
	for ctx.Err() == nil {
		passed = s.takeLearned(passed)
		s.pass(passed)
		var pause, wait time.Duration
		tasks, pause, wait = s.turns(time.Now(), tasks[:0])
		s.send(tasks)
		if pause > 0 {
			s.rest(ctx, timer, pause)
			wait -= pause
		}
		if wait <= 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wake:
		}
	}
	s.mu.Lock()
	s.brake.promised = 0
	s.mu.Unlock()
	s.st.SaveHealth(s.takeLearned(passed).healths...)
}

// rest waits for so long.
func (s *Supervisor) rest(ctx context.Context, timer *time.Timer, d time.Duration) {
	if s.sleep != nil {
		s.sleep(d)
		return
	}
	timer.Reset(d)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// send asks what turns has found.
func (s *Supervisor) send(tasks []store.Question) {
	probes := tasks[:0]
	for _, t := range tasks {
		if t.Method == "" {
			s.legs.Calibrate(t.ID, t.Side, s.cfg.Timeout)
		} else {
			probes = append(probes, t)
		}
	}
	if len(probes) > 0 {
		s.legs.Ask(probes, s.cfg.Timeout)
	}
}

// With many legs there is always something to do soon. It is done in bunches,
// because to wake up for a probe and for its answer costs more than both. A
// bunch is so small that it fits into any receiver's buffer, and no leg waits
// for it longer than longest, or a hundredth of an interval.
const (
	throng   = 1000 // legs
	bunch    = 96   // probes, on the average
	fullest  = 128
	shortest = time.Millisecond
	longest  = 300 * time.Millisecond
)

// gather is how long nothing is to be done, so that a bunch becomes due, and 0
// with few legs. Called locked.
func (s *Supervisor) gather() time.Duration {
	n, period := s.watched(), s.cfg.period()
	if n < throng {
		return 0
	}
	return max(min(period*bunch/time.Duration(n), longest, period/100), shortest)
}

// watched is how many legs there are. Called locked.
func (s *Supervisor) watched() int { return s.queue.Len() + len(s.inFlight.legs) }

// learned is what is to be passed on outside the lock: what is to be written of
// legs, and then what is to be told, or to be done.
type learned struct {
	healths []store.LegHealth
	changes []change
}

// change is what was learned of a leg.
type change struct {
	id       string
	side     store.Side
	was      store.Liveness
	health   store.Health
	why      string     // what was wrong with the last answer
	end      *store.End // not nil: the call is to be ended
	observed bool       // it would be, if it were not for the action
	brake    *news      // not of a leg: nothing else is there
}

// takeLearned returns what there is to pass on, and takes the room of what was
// passed on before.
func (s *Supervisor) takeLearned(done learned) learned {
	clear(done.healths)
	clear(done.changes)
	s.mu.Lock()
	defer s.mu.Unlock()
	todo := s.learned
	s.learned = learned{done.healths[:0], done.changes[:0]}
	return todo
}

// pass writes, logs and does what follows from what was learned.
func (s *Supervisor) pass(todo learned) {
	if len(todo.healths) > 0 {
		s.st.SaveHealth(todo.healths...)
	}
	for i := range todo.changes {
		c := &todo.changes[i]
		if c.brake != nil {
			s.logBrake(c.brake)
			continue
		}
		if c.health.Liveness != c.was {
			s.logLiveness(c)
		}
		switch {
		case c.end != nil:
			s.legs.Release(c.id, *c.end)
		case c.observed:
			s.logFound(c)
		}
	}
}

// note leaves a change for Run. Called locked.
func (s *Supervisor) note(c change) {
	if c.brake == nil {
		s.learned.healths = append(s.learned.healths, store.LegHealth{ID: c.id, Side: c.side, Health: c.health})
	}
	if c.brake != nil || c.end != nil || c.observed || c.health.Liveness != c.was {
		s.learned.changes = append(s.learned.changes, c)
	}
	s.nudge()
}

// nudge has Run look at once.
func (s *Supervisor) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
