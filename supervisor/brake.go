package supervisor

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"sipvigil/store"
)

// Brake says when the silence of legs is taken for a fault of the network, or
// of this process, and ends no calls.
type Brake struct {
	Share     float64 // of the legs behind one peer, silent together: 0 to 1
	Floor     int     // this many legs or calls are never too many
	PerMinute float64 // share of all calls that silence may end in a minute
}

// otherTrunk is the trunk of calls from or to anything that is no trunk: each of
// its peers counts by itself, and all of them together, since the network to them
// may be one.
const otherTrunk = "_other"

// cause is why a silent call does not end now.
type cause uint8

const (
	free       cause = iota // it ends
	stall                   // this process could not have heard it
	mute                    // this machine has no network to ask it by
	crowd                   // too many behind the same peer are silent, too
	quota                   // too many calls would end in a minute
	cut                     // its trunk does not answer either
	trunkFirst              // its trunk is asked first
	round                   // others behind the same peer are yet to be asked
	recheck                 // the peer is back: it is asked once more
	pace                    // one after the other
)

// inShort names causes for the history of a call.
var inShort = [...]string{
	stall:   "this process was stalled, or cannot send",
	mute:    "this machine has no network to ask it by",
	crowd:   "too many behind the same peer are silent",
	quota:   "silence has ended as many calls as it may in a minute",
	cut:     "its trunk does not answer either",
	round:   "others behind the same peer are asked first",
	recheck: "it is asked once more",

	trunkFirst: "its trunk is asked first",
	pace:       "one after the other",
}

// Labels of the causes that engage the brake.
var brakeReasons = map[cause]string{stall: "stall", cut: "trunk", crowd: "peer", quota: "rate"}

// hold is a silent leg whose call does not end yet.
type hold struct {
	leg    *leg
	end    store.End // how it would end
	since  time.Duration
	ready  time.Duration // by then all others behind the peer have been asked, too
	cause  cause
	forced bool // the operator has it released
	doubt  Doubt
	mended time.Duration // when the trunk last began to answer again; -1 = never
}

// sending is what became of one of the last probes.
type sending struct {
	call   *call
	at     time.Duration
	failed bool
}

// brake decides which silent calls may end now. It reads no clock. Guarded by
// the lock of its supervisor.
type brake struct {
	cfg     Brake
	timeout time.Duration
	calm    time.Duration // how long few must be ill until a group is freed
	spacing time.Duration // the longest between two probes; 0 = there are none

	groups []*group // nil where free; the first stays so: no group
	index  map[peer]uint32
	others others

	engaged map[*group]bool // those that are
	failing map[*group]bool // those that are

	held   map[*leg]*hold
	order  []*hold       // the oldest first, with some that are held no more
	looked time.Duration // when they were looked at last

	promised time.Duration // when Run is back at the latest, 0 = not running
	seen     time.Time     // when someone looked at the clocks last
	wall     time.Time     // the same, without the monotonic clock
	stalled  time.Duration // when a stall was last seen; never: long ago
	blind    bool          // that is not long ago
	why      string        // what it was
	anew     time.Duration // by then what was asked anew, after a stall or without a lease, has had its time
	sent     [64]sending   // a ring
	next     int           // place in it

	recent []time.Duration // releases of the last minute
	limit  bool            // some are held because of those
	forced *rate.Limiter   // of releases that the operator asked for
}

func newBrake(cfg *Config) brake {
	b := brake{
		cfg:     cfg.Brake,
		timeout: cfg.Timeout,
		calm:    cfg.period(),
		groups:  make([]*group, 1),
		index:   make(map[peer]uint32),
		engaged: make(map[*group]bool),
		failing: make(map[*group]bool),
		held:    make(map[*leg]*hold),
		others:  newOthers(&cfg.Brake),
		stalled: -cfg.Timeout,
	}
	b.spacing = time.Duration(float64(cfg.Interval) * (1 + cfg.Jitter))
	return b
}

// join adds a leg to the group of its peer.
func (b *brake) join(p peer) uint32 {
	i, ok := b.index[p]
	if !ok {
		if i = uint32(slices.Index(b.groups[1:], nil) + 1); i == 0 {
			i = uint32(len(b.groups))
			b.groups = append(b.groups, nil)
		}
		b.groups[i] = newGroup(p)
		b.index[p] = i
	}
	b.shift(b.groups[i], func(g *group) { g.legs[apart]++ })
	return i
}

// shift changes a group, which all that is no trunk may count, too.
func (b *brake) shift(g *group, change func(*group)) {
	b.others.count(g, -1)
	change(g)
	b.others.count(g, 1)
}

// circles are the groups that a leg counts in.
func (b *brake) circles(l *leg) []*group {
	g := b.behind(l)
	if g.trunk != otherTrunk {
		return []*group{g}
	}
	return []*group{g, &b.others.group}
}

// many says whether too many of a group are ill now.
func (b *brake) many(g *group) bool {
	if g == &b.others.group {
		return b.others.many()
	}
	return g.legs[ill] >= b.cfg.Floor && float64(g.legs[ill]) >= b.cfg.Share*float64(g.judged())
}

// tally counts a leg anew after it changed. It is held no more unless it is
// still silent.
func (b *brake) tally(l *leg) {
	k, side := l.call, l.side()
	if g, was, is := b.groups[k.group[side]], k.class[side], classify(l); g != nil && is != was {
		b.shift(g, func(g *group) { g.legs[was]--; g.legs[is]++ })
		k.class[side] = is
	}
	if len(b.held) > 0 && l.Liveness != store.Silent {
		delete(b.held, l)
	}
}

// behind is the group of a leg that is watched.
func (b *brake) behind(l *leg) *group { return b.groups[l.call.group[l.side()]] }

// part takes a leg out of its group.
func (b *brake) part(l *leg) {
	k, side := l.call, l.side()
	delete(b.held, l)
	g := b.groups[k.group[side]]
	if g == nil {
		return
	}
	b.shift(g, func(g *group) { g.legs[k.class[side]]-- })
	k.group[side] = 0
	b.forget(g)
}

// forget drops a group that has no legs any more, unless it is engaged or failing.
func (b *brake) forget(g *group) {
	if g.members() == 0 && !g.engaged && !g.failing && g != &b.others.group {
		b.groups[b.index[g.peer]] = nil
		delete(b.index, g.peer)
	}
}

// tolerance is by how much this process may be late.
func (b *brake) tolerance() time.Duration { return max(time.Second, b.timeout/4) }

// beat is how often Run looks whether it was late.
func (b *brake) beat() time.Duration { return b.tolerance() / 4 }

// late says whether Run should have been back long ago.
func (b *brake) late(now time.Duration) bool {
	return b.promised != 0 && now-b.promised > b.tolerance()
}

// jumped says whether two clocks went on by different times.
func (b *brake) jumped(steady, wall time.Duration) bool {
	return (steady - wall).Abs() > b.tolerance()
}

// tell takes what became of a probe, and says whether sending fails as such:
// most probes of late could not be sent, those of many calls.
func (b *brake) tell(k *call, now time.Duration, failed bool) bool {
	b.sent[b.next] = sending{k, now, failed}
	b.next = (b.next + 1) % len(b.sent)
	if !failed {
		return false
	}
	recent, calls, fails := 0, make([]*call, 0, len(b.sent)), 0
	for i := range b.sent {
		s := &b.sent[i]
		if s.call == nil || now-s.at > b.timeout {
			continue
		}
		recent++
		if !s.failed {
			continue
		}
		fails++
		if !slices.Contains(calls, s.call) {
			calls = append(calls, s.call)
		}
	}
	return 2*fails > recent && len(calls) >= min(b.cfg.Floor, len(b.sent)/2)
}

// deaf says whether an answer to what was asked then may have been missed
// because of a stall.
func (b *brake) deaf(asked, now time.Duration) bool {
	return asked <= b.stalled || now < b.stalled+b.timeout
}

// allowed is how many calls silence may end in a minute.
func (b *brake) allowed(calls int) int {
	return max(b.cfg.Floor, int(b.cfg.PerMinute*float64(calls)))
}

// decide says why a silent leg is to be held, and counts the release if it is
// not. The time is that of now, at is the same.
func (b *brake) decide(h *hold, calls int, now time.Duration, at time.Time) cause {
	l := h.leg
	if h.forced {
		if !b.forced.AllowN(at, 1) {
			return pace
		}
		return free
	}
	circles := b.circles(l)
	some := func(what func(*group) bool) bool { return slices.ContainsFunc(circles, what) }
	switch {
	case b.deaf(l.missed, now):
		return stall
	case l.mute:
		return mute
	case h.doubt == Failing:
		return cut
	case some(func(g *group) bool { return g.engaged }):
		return crowd
	case h.cause == quota && l.asking():
		return quota
	case some(func(g *group) bool { return h.since < g.freed && l.missed <= g.freed }), l.missed <= h.mended, l.asking():
		return recheck
	case h.doubt == Asking:
		return trunkFirst
	case now < max(h.ready, b.anew) && some(func(g *group) bool { return g.members() >= b.cfg.Floor }):
		return round
	}
	old := 0
	for old < len(b.recent) && now-b.recent[old] >= time.Minute {
		old++
	}
	b.recent = slices.Delete(b.recent, 0, old)
	switch {
	case len(b.recent) >= b.allowed(calls):
		return quota
	case some(func(g *group) bool { return g.pace != nil && !g.pace.AllowN(at, 1) }):
		return pace
	}
	b.recent = append(b.recent, now)
	return free
}

// ready is when a silent leg that missed so many probes, the last one sent
// then, has been silent for so long that all others behind its peer would have
// missed one, if it were for the network between.
func (b *brake) ready(missed time.Duration, misses int) time.Duration {
	if b.spacing == 0 {
		return 0
	}
	return missed - time.Duration(misses-1)*b.timeout + b.timeout + b.spacing
}

// text says for people why a leg is held.
func (b *brake) text(h *hold, calls int) string {
	g := b.behind(h.leg)
	if circles := b.circles(h.leg); h.cause == crowd && !g.engaged {
		g = circles[len(circles)-1]
	}
	switch h.cause {
	case stall:
		return "asked again: " + b.why
	case mute:
		return "this machine has no network to ask it by: " + h.end.Text
	case cut:
		return fmt.Sprintf("%v does not answer either", g.peer)
	case trunkFirst:
		return fmt.Sprintf("waits until %v itself has been asked", g.peer)
	case crowd:
		return fmt.Sprintf("%d of %d legs behind %v do not answer", g.legs[ill], g.judged(), g.peer)
	case quota:
		return fmt.Sprintf("silence ends at most %d calls a minute", b.allowed(calls))
	case round:
		return fmt.Sprintf("waits until the others behind %v have been asked", g.peer)
	case recheck:
		return "is asked once more before it ends"
	default:
		return "ends as soon as its turn comes"
	}
}
