package supervisor

import (
	"cmp"
	"slices"
	"time"

	"sipvigil/store"
)

// Overview is how the calls of this node fare as a whole.
type Overview struct {
	Active    int     // calls that go on
	PerSecond float64 // calls that began, a second, over the last few
	Live      int     // confirmed calls of which both far ends answer
	Suspect   int     // of which one does not, or does not know the call
	Unproven  int     // of which one was not asked yet, or never answers
	Held      int     // that silence would have ended, but for the brake
	Releasing int     // of these, that end one after the other because an operator said so
	Reclaimed int     // channels of trunks given back today (UTC) because a far end was found dead
	Brake     []Braking
}

// Overview counts what is watched now.
func (s *Supervisor) Overview() Overview {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Overview{
		Active:    len(s.calls),
		PerSecond: s.starts.rate(now),
		Live:      s.lives[store.Alive] + s.lives[store.Reachable],
		Suspect:   s.lives[store.Suspect] + s.lives[store.Silent] + s.lives[store.Gone],
		Unproven:  s.lives[store.Unproven] + s.lives[store.Unsupported],
		Held:      s.heldCalls(),
		Releasing: s.forcedCalls(),
		Reclaimed: s.today.on(now),
		Brake:     s.brake.engagements(),
	}
}

// engagements lists what the brake holds calls for now.
func (b *brake) engagements() []Braking {
	var list []Braking
	if b.blind {
		list = append(list, (&news{reason: stall, text: b.why}).braking())
	}
	for g := range b.engaged {
		list = append(list, (&news{reason: crowd, peer: g.peer, ill: g.legs[ill], legs: g.judged()}).braking())
	}
	for g := range b.failing {
		list = append(list, (&news{reason: cut, peer: g.peer}).braking())
	}
	if b.limit {
		list = append(list, (&news{reason: quota}).braking())
	}
	slices.SortFunc(list, func(a, b Braking) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Trunk, b.Trunk), cmp.Compare(a.Peer, b.Peer))
	})
	return list
}

func (k *call) liveness() store.Liveness {
	return store.Worse(k.legs[store.Caller].Liveness, k.legs[store.Callee].Liveness)
}

// starts counts the calls that began in each of the last seconds.
type starts struct {
	second int64 // of the last count
	counts [startSeconds + 1]int
}

// startSeconds is over how many whole seconds a rate is taken.
const startSeconds = 5

func (r *starts) add(now time.Time) {
	r.turn(now)
	r.counts[r.second%int64(len(r.counts))]++
}

// rate is that of the last whole seconds.
func (r *starts) rate(now time.Time) float64 {
	r.turn(now)
	sum := 0
	for _, n := range r.counts {
		sum += n
	}
	return float64(sum-r.counts[r.second%int64(len(r.counts))]) / startSeconds
}

// turn forgets seconds that are too long ago.
func (r *starts) turn(now time.Time) {
	n := int64(len(r.counts))
	for second := max(now.Unix(), r.second); r.second < second; {
		r.second = max(r.second+1, second-n)
		r.counts[r.second%n] = 0
	}
}

// today counts something since midnight, UTC.
type today struct {
	day   time.Time
	count int
}

// add counts what was at a time, unless that was a day before: a call may have
// been found dead before midnight, and have ended after it.
func (t *today) add(n int, at time.Time) {
	if day := at.UTC().Truncate(24 * time.Hour); !day.Before(t.day) {
		t.count = t.on(at) + n
		t.day = day
	}
}

func (t *today) on(at time.Time) int {
	if !t.day.Equal(at.UTC().Truncate(24 * time.Hour)) {
		return 0
	}
	return t.count
}

// reclaimed is how many channels of trunks a call that ended gives back because
// a far end of it was found dead: both, as in the metrics.
func reclaimed(c *store.Call) int {
	if _, dead := foundDead(c.End.Reason); dead {
		return len(c.Legs)
	}
	return 0
}
