package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"sipvigil/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a supervisor in a bubble, between scripted legs and a store.
type world struct {
	t     *testing.T
	sup   *Supervisor
	reg   *prometheus.Registry
	legs  *fakeLegs
	store *fakeStore
	zero  time.Time // when the bubble began
}

// inWorld runs test in a bubble in which every probe is answered with 200 after
// 10 ms, unless the test says otherwise, and every random number is 1/2.
func inWorld(t *testing.T, change func(*Config), test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Node, cfg.Method = "here", Options
		if change != nil {
			change(&cfg)
		}
		w := newWorld(t, cfg)
		w.sup.random = func() float64 { return 0.5 }
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.sup.Run(ctx) })
		synctest.Wait() // it has nothing to do now
		test(t, w)
		cancel()
		run.Wait()
	})
}

func newWorld(t *testing.T, cfg Config) *world {
	w := &world{t: t, reg: prometheus.NewRegistry(), zero: time.Now()}
	w.legs = &fakeLegs{t: t, zero: w.zero, calls: make(map[string]store.Call),
		asking: make(map[target]int), sent: make(map[target][]sent)}
	w.store = &fakeStore{zero: w.zero, status: store.Status{Reachable: true}}
	sup, err := New(cfg, w.store, zap.NewNop(), w.reg)
	if err != nil {
		t.Fatal(err)
	}
	sup.Bind(w.legs)
	w.sup, w.legs.sup = sup, sup
	return w
}

// counts is how many calls go on, and how their legs fare.
type counts struct {
	Calls int
	Legs  [2]map[store.Liveness]int // of confirmed calls, by side
}

func (w *world) counts() counts {
	w.sup.mu.Lock()
	defer w.sup.mu.Unlock()
	c := counts{Calls: len(w.sup.calls)}
	for i := range c.Legs {
		c.Legs[i] = maps.Clone(w.sup.counts[i])
	}
	return c
}

// call makes a confirmed call.
func (w *world) call(id string) store.Call {
	c := w.legs.add(id)
	w.sup.Started(c)
	w.legs.change(id, func(c *store.Call) { c.State, c.Answered = store.Confirmed, time.Now() })
	c, _ = w.legs.Call(id)
	w.sup.Confirmed(c)
	return c
}

// restored makes a call that was answered this long ago, with these healths.
func (w *world) restored(id string, ago time.Duration, caller, callee store.Health) {
	w.legs.add(id)
	w.legs.change(id, func(c *store.Call) { c.State, c.Answered = store.Confirmed, time.Now().Add(-ago) })
	c, _ := w.legs.Call(id)
	c.Legs[store.Caller].Health, c.Legs[store.Callee].Health = caller, callee
	w.sup.Confirmed(c)
}

func (w *world) health(id string, side store.Side) store.Health {
	w.t.Helper()
	c, err := w.sup.Call(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Legs[side].Health
}

// sleep lets the bubble's time pass, until everything due then is done.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

type target struct {
	id   string
	side store.Side
}

// sent is a probe.
type sent struct {
	method string
	at     time.Duration // since the bubble began
}

// reply is what comes back to a probe, and when, or that it is forgotten.
type reply struct {
	store.Answer
	after time.Duration
	never bool
}

func status(code int) reply {
	return reply{Answer: store.Answer{Status: code}, after: 10 * time.Millisecond}
}

func nothing() reply {
	return reply{Answer: store.Answer{Kind: store.Timeout}, after: 32 * time.Second}
}

func unsent() reply { return reply{Answer: store.Answer{Kind: store.Unsent, Reason: "no route"}} }

// always gives the same reply to each probe.
func always(r reply) func(int) reply { return func(int) reply { return r } }

// inTurn gives these replies, the last one for ever.
func inTurn(replies ...reply) func(int) reply {
	return func(n int) reply { return replies[min(n, len(replies)-1)] }
}

// fakeLegs answers probes as it was told, releases calls at once, and fails the
// test when a leg is asked twice at the same time.
type fakeLegs struct {
	t    *testing.T
	sup  *Supervisor
	zero time.Time

	mu       sync.Mutex
	calls    map[string]store.Call
	answer   [2]func(n int) reply // to the nth probe of a leg, by side; nil = always 200
	asking   map[target]int
	sent     map[target][]sent
	released []store.End
	keep     bool // a released call does not end

	allow      string                 // of calls to come; "" = with UPDATE
	stranger   func(store.Side) reply // to OPTIONS in a dialog that does not exist; nil = 481
	calibrated []target

	onRelease func(store.End)                                // may be nil
	onEnd     func(id string, end store.End)                 // may be nil
	reply     func(id string, side store.Side) (reply, bool) // goes before answer, if true; may be nil
	onProbe   func()                                         // runs before a probe goes out; may be nil
}

func (f *fakeLegs) add(id string) store.Call {
	c := store.Call{ID: id, State: store.Trying, Node: "here", TrunkIn: "in", TrunkOut: "out", Started: time.Now()}
	for _, side := range store.Sides {
		c.Legs[side].CallID = id + "@" + side.String()
		c.Legs[side].Peer, c.Legs[side].UserAgent = "192.0.2.1:5060", side.String()
		c.Legs[side].Allow = cmp.Or(f.allow, "INVITE, ACK, BYE, CANCEL, UPDATE")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[id] = c
	return c
}

// says has a leg give these replies to its probes.
func (f *fakeLegs) says(side store.Side, answer func(n int) reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer[side] = answer
}

func (f *fakeLegs) change(id string, change func(*store.Call)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls[id]
	change(&c)
	f.calls[id] = c
}

// Calibrate gives the answer of kinds at once, none of the bubble's peers being
// calibrated unless a test says so.
func (f *fakeLegs) Calibrate(id string, side store.Side, timeout time.Duration) {
	f.mu.Lock()
	f.calibrated = append(f.calibrated, target{id, side})
	r := status(481)
	if f.stranger != nil {
		r = f.stranger(side)
	}
	f.mu.Unlock()
	time.AfterFunc(r.after, func() { f.sup.Calibrated(id, side, r.Answer) })
}

func (f *fakeLegs) Ask(questions []store.Question, timeout time.Duration) {
	for _, q := range questions {
		f.ask(q.ID, q.Side, q.Method, timeout)
	}
}

func (f *fakeLegs) ask(id string, side store.Side, method string, timeout time.Duration) {
	f.mu.Lock()
	before := f.onProbe
	f.mu.Unlock()
	if before != nil {
		before()
	}
	f.mu.Lock()
	to := target{id, side}
	if f.asking[to]++; f.asking[to] > 1 {
		f.t.Errorf("%v is asked while it is being asked", to)
	}
	n := len(f.sent[to])
	f.sent[to] = append(f.sent[to], sent{method, time.Since(f.zero)})
	r := status(200)
	if f.answer[side] != nil {
		r = f.answer[side](n)
	}
	if f.reply != nil {
		if own, ok := f.reply(id, side); ok {
			r = own
		}
	}
	if r.never {
		f.asking[to]--
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	r.Method, r.RTT = method, r.after
	done := func() {
		f.mu.Lock()
		f.asking[to]--
		f.mu.Unlock()
		r.At = time.Now()
		f.sup.Answered(store.Reply{ID: id, Side: side, Answer: r.Answer})
	}
	if r.after == 0 {
		done()
		return
	}
	time.AfterFunc(r.after, done)
}

// total is how many probes were sent to all legs.
func (f *fakeLegs) total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, list := range f.sent {
		n += len(list)
	}
	return n
}

// times lists when one leg was asked.
func (f *fakeLegs) times(id string, side store.Side) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var times []time.Duration
	for _, s := range f.sent[target{id, side}] {
		times = append(times, s.at)
	}
	return times
}

// ends lists how calls were released.
func (f *fakeLegs) ends() []store.End {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.released)
}

func (f *fakeLegs) Release(id string, end store.End) bool {
	f.mu.Lock()
	c, ok := f.calls[id]
	if !ok || c.State == store.Ending {
		f.mu.Unlock()
		return false
	}
	f.released = append(f.released, end)
	c.State = store.Ending
	f.calls[id] = c
	keep := f.keep
	f.mu.Unlock()
	if f.onRelease != nil {
		f.onRelease(end)
	}
	if f.onEnd != nil {
		f.onEnd(id, end)
	}
	f.sup.Ending(id, end)
	if !keep {
		f.end(id, end)
	}
	return true
}

// end ends a call, as both BYEs are answered.
func (f *fakeLegs) end(id string, end store.End) {
	f.mu.Lock()
	c := f.calls[id]
	delete(f.calls, id)
	f.mu.Unlock()
	end.Released = [2]store.Outcome{store.ReleaseConfirmed, store.ReleaseUnconfirmed}
	c.State, c.End = store.Terminated, end
	f.sup.Ended(c)
}

func (f *fakeLegs) Call(id string) (store.Call, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.calls[id]
	return c, ok
}

func (f *fakeLegs) Calls(yield func(store.Call) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if !yield(c) {
			return
		}
	}
}

// saved is one write of health.
type saved struct {
	target
	liveness store.Liveness
	at       time.Duration
}

type fakeStore struct {
	zero time.Time

	mu     sync.Mutex
	writes []saved
	last   map[target]store.Health
	calls  []store.Call
	most   int // calls on a page, 0 = as asked for
	status store.Status
	err    error
}

func (f *fakeStore) SaveHealth(legs ...store.LegHealth) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.last = make(map[target]store.Health)
	}
	for _, l := range legs {
		at := target{l.ID, l.Side}
		f.last[at] = l.Health
		f.writes = append(f.writes, saved{at, l.Health.Liveness, time.Since(f.zero)})
	}
}

// of lists the writes about one leg.
func (f *fakeStore) of(id string, side store.Side) []saved {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.writes), func(s saved) bool { return s.target != target{id, side} })
}

func (f *fakeStore) Get(_ context.Context, id string) (store.Call, error) {
	for _, c := range f.calls {
		if c.ID == id {
			return c, f.err
		}
	}
	return store.Call{}, fmt.Errorf("get: %w", cmp.Or(f.err, store.ErrNotFound))
}

func (f *fakeStore) List(_ context.Context, q store.Query) (store.Page, error) {
	var page store.Page
	if f.err != nil {
		return page, f.err
	}
	most := q.PageLimit()
	if f.most > 0 {
		most = min(most, f.most)
	}
	for _, c := range f.calls { // in the order of ids
		if c.ID <= q.Cursor || !q.Match(&c, time.Now()) {
			continue
		}
		if len(page.Calls) == most {
			page.Next = page.Calls[most-1].ID
			break
		}
		page.Calls = append(page.Calls, c)
	}
	return page, nil
}

func (f *fakeStore) Status() store.Status { return f.status }
