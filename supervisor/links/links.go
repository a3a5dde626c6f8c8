// Package links knows which addresses of the trunks can be reached, and which
// of them take calls: it asks each of them at two speeds, weighs what comes
// back and what real traffic shows, and says where new calls may go. It knows
// no SIP message. Each node watches for itself.
package links

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Prober finds addresses and asks them. Its methods return at once, and what
// they were given to call is called once, later.
type Prober interface {
	// Find looks the addresses of a target up. They hold until a time, which is
	// zero when they never change.
	Find(target string, found func(at []Place, until time.Time, err error))
	// Ping asks an address of a target.
	Ping(p Ping, answered func(Traffic))
}

// Place is where requests are sent.
type Place struct {
	Transport string
	Addr      netip.AddrPort
}

// Ping is a question.
type Ping struct {
	Trunk   string
	Target  string // SIP URI
	Place   Place
	Probe   Probe
	Timeout time.Duration
}

// Use says whether new calls go to an address.
type Use uint8

// What an address is good for.
const (
	UseFirst Use = iota // new calls
	UseLast             // new calls when nothing else is left
	UseNever            // no new call
)

// Bounds of what is sent together.
const (
	perSecond = 100             // questions and look-ups
	burst     = 20              // at once
	firstWait = time.Second     // until when every address has been asked first
	leastHold = time.Second     // of what the DNS says
	failHold  = 5 * time.Second // until a name is looked up again that has no address
	idle      = time.Hour       // of Run, when nothing is due
	stall     = time.Second     // by which a question may be late that is given up
)

// Links watches the addresses of trunks.
type Links struct {
	prober  Prober
	quiet   func(trunk string) bool // nil: never
	log     *zap.Logger
	metrics *metrics
	random  func() float64 // from 0, below 1
	pace    *rate.Limiter
	wake    chan struct{} // tells Run that there is something to do now

	mu     sync.Mutex // guards what follows
	trunks []*trunk
	byName map[string]*trunk
}

// trunk is a group of targets.
type trunk struct {
	Trunk
	targets []*target
	links   []*link // of all targets, in their order
	state   State
	since   time.Time
}

// target is one URI of a trunk.
type target struct {
	uri    string
	trunk  *trunk
	at     []Place   // where it leads
	due    time.Time // when it is looked up next
	asking bool
	fault  string // why it has no address
}

// link is one address of a target.
type link struct {
	health
	target *target
	place  Place
	due    time.Time // when it is asked next, or tried
	asking bool
	hurry  bool // it is to be asked at once
	gone   bool // the name does not lead to it any more
	unsure bool // this process was stalled when its last question was given up
	last   Traffic
	lastAt time.Time
}

// New returns Links that know no address yet. They need Bind before Run.
func New(trunks []Trunk, log *zap.Logger, reg prometheus.Registerer) (*Links, error) {
	l := &Links{
		log: log, random: rand.Float64, pace: rate.NewLimiter(perSecond, burst),
		wake: make(chan struct{}, 1), byName: make(map[string]*trunk),
	}
	var faults []error
	now := time.Now()
	for _, cfg := range trunks {
		for key, err := range cfg.Faults() {
			faults = append(faults, fmt.Errorf("links: trunk %s: %s: %w", cfg.Name, key, err))
		}
		t := &trunk{Trunk: cfg, state: Unknown, since: now}
		for _, uri := range cfg.Targets {
			t.targets = append(t.targets, &target{uri: uri, trunk: t, due: now})
		}
		l.trunks = append(l.trunks, t)
		l.byName[t.Name] = t
	}
	l.metrics = newMetrics(l)
	return l, errors.Join(append(faults, l.metrics.register(reg))...)
}

// Hush has nothing asked of a trunk while quiet says so. Its state stays what
// it was, until real traffic shows another. It is called once, before Run.
func (l *Links) Hush(quiet func(trunk string) bool) { l.quiet = quiet }

// Bind says who asks. It is called once, before Run.
func (l *Links) Bind(p Prober) { l.prober = p }

// Run asks the addresses whose turn it is until ctx ends.
func (l *Links) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for _, start := range l.turn(time.Now()) {
			start()
		}
		timer.Reset(l.wait(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.wake:
		}
	}
}

// turn begins what is due, as far as the pace allows, and returns what is to be
// sent for it.
func (l *Links) turn(now time.Time) (starts []func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.trunks {
		for _, g := range t.targets {
			if !g.asking && !now.Before(g.due) && l.pace.AllowN(now, 1) {
				g.asking = true
				starts = append(starts, func() {
					l.prober.Find(g.uri, func(at []Place, until time.Time, err error) { l.found(g, at, until, err) })
				})
			}
		}
		for _, k := range t.links {
			if k.asking || now.Before(k.due) {
				continue
			}
			if t.Probe == None {
				l.retry(k, now)
				continue
			}
			if rest := k.rest(&t.Config); rest.After(now) && !k.hurry {
				k.due = rest
				continue
			}
			if l.pace.AllowN(now, 1) {
				k.asking, k.hurry = true, false
				p := Ping{t.Name, k.target.uri, k.place, t.Probe, t.Timeout}
				starts = append(starts, func() {
					if l.hushed(p.Trunk) {
						l.postpone(k)
						return
					}
					l.prober.Ping(p, func(a Traffic) { l.answered(k, now, a) })
				})
			}
		}
	}
	return starts
}

// hushed says whether nothing is to be asked of a trunk. Not called locked: who
// is asked may ask for the state of another trunk.
func (l *Links) hushed(trunk string) bool { return l.quiet != nil && l.quiet(trunk) }

// postpone has an address asked later.
func (l *Links) postpone(k *link) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &k.target.trunk.Config
	k.asking, k.due = false, now.Add(l.spread(c.IntervalDown, c))
}

// retry has calls try an address that is never asked. Called locked.
func (l *Links) retry(k *link, now time.Time) {
	k.due = now.Add(idle)
	if k.state == Down {
		k.try(now)
		l.changed(k, Down, "calls may try it", now)
	}
}

// wait is how long nothing is due.
func (l *Links) wait(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := now.Add(idle)
	sooner := func(due time.Time, asking bool) {
		if !asking && due.Before(next) {
			next = due
		}
	}
	for _, t := range l.trunks {
		for _, g := range t.targets {
			sooner(g.due, g.asking)
		}
		for _, k := range t.links {
			sooner(k.due, k.asking)
		}
	}
	if !next.After(now) {
		return time.Second / perSecond // it waits for the pace
	}
	return next.Sub(now)
}

// answered takes what became of a question that was sent then.
func (l *Links) answered(k *link, sent time.Time, a Traffic) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k.asking = false
	if k.gone {
		return
	}
	c, was := &k.target.trunk.Config, k.state
	if k.unsure = a.Kind == NoReply && now.Sub(sent) > c.Timeout+stall && !k.unsure; k.unsure {
		k.due = now // the answer may not have been read
		l.nudge()
		return
	}
	k.health.asked(c, a, now)
	k.last, k.lastAt = a, now
	l.metrics.pinged(k.target.trunk.Name, a, k.fails == 0)
	if k.failing() {
		k.due = latest(sent.Add(l.spread(c.IntervalDown, c)), k.until)
		if k.fails == 0 {
			k.due = now.Add(l.spread(c.IntervalDown, c)) // it has to go on answering for a while
		}
	} else {
		k.due = now.Add(l.spread(c.Interval, c))
	}
	l.changed(k, was, a.String(), now)
	l.nudge()
}

// Heard takes what real traffic showed of an address.
func (l *Links) Heard(name string, at Place, t Traffic) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.byName[name]
	if g == nil {
		return
	}
	for _, k := range g.links {
		if !k.place.sends(at, t.Kind) {
			continue
		}
		was := k.state
		k.seen(&g.Config, t, now)
		if t.Kind != Inbound {
			k.last, k.lastAt = t, now
		}
		if k.until.After(k.due) {
			k.due = k.until
		}
		if k.state == Down && was != Down {
			k.due = latest(now.Add(l.spread(g.IntervalDown, &g.Config)), k.until)
			l.nudge()
		}
		l.changed(k, was, t.String(), now)
	}
}

// sends says whether what was seen there was of this place. A request of
// theirs may come from any port.
func (p Place) sends(at Place, kind Kind) bool {
	if kind == Inbound {
		return p.Addr.Addr() == at.Addr.Addr()
	}
	return p == at
}

// Use says whether a new call may go to an address of a trunk. Nothing is known
// of one that is not watched: it may.
func (l *Links) Use(name string, at Place) Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.byName[name]
	if t == nil {
		return UseFirst
	}
	if k := find(t.links, at); k != nil {
		return k.use()
	}
	return UseFirst
}

// spread is a time with the jitter of a trunk.
func (l *Links) spread(d time.Duration, c *Config) time.Duration {
	return time.Duration(float64(d) * (1 + c.Jitter*(2*l.random()-1)))
}

// nudge has Run look at once.
func (l *Links) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
