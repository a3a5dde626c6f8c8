package supervisor

import (
	"math"
	"time"

	"sipvigil/store"
)

// call is what is remembered of a call while it goes on.
type call struct {
	id        string
	legs      [2]leg
	group     [2]uint32     // of the legs, see brake
	class     [2]class      // of the legs in these
	answered  time.Duration // when, on the clock of leg
	history   history
	counted   store.Liveness // as which it is in lives, while it is watched
	found     *finding       // what was found and only observed, or nil
	confirmed bool           // its legs may be asked
	ending    bool           // its release was asked for or has begun: ask no more
}

// leg is what is known of one far end, and where it stands in the schedule.
// Times are on the monotonic clock, since the supervisor was made.
type leg struct {
	store.Health
	call             *call
	asked            time.Duration // when the last probe went out, 0 before the first
	missed           time.Duration // when the last probe that counts as missed went out
	hurried          time.Duration // when its way was last found disturbed, 0 if never
	kind             *calibration  // what is known of far ends like this one, nil before the call is confirmed
	due              time.Duration // when its turn is, while it is queued
	slot             int32         // where it was put into a slot of the queue
	place            int32         // among those that are being asked, from 1; 0 = it is not
	doubts           uint8         // how close it is to gone, see doubt
	allowed, refused methods       // by the far end
	answered         methods       // by the far end, at least once, and not refused since
	queued           bool          // it has a turn, see queue
	mute             bool          // the last miss was of a probe that this machine had no network for
	fresh            bool          // evidence came since it was put into the schedule
}

func newCall(id string) *call {
	k := &call{id: id}
	for i := range k.legs {
		k.legs[i].call = k
	}
	return k
}

// asking says whether a probe is under way.
func (l *leg) asking() bool { return l.place != 0 }

// watched says whether it is being asked, or will be.
func (l *leg) watched() bool { return l.queued || l.asking() }

func (l *leg) side() store.Side {
	if l == &l.call.legs[store.Callee] {
		return store.Callee
	}
	return store.Caller
}

// restore takes over the health that an earlier owner stored. What counts
// against the leg is forgotten: to be adopted is no sign of death. A method
// that it refused is tried again.
// Nor did it show itself later than now, whatever the clock of that owner said.
func (l *leg) restore(h store.Health, now time.Time) {
	l.Health = h
	if h.LastAlive.After(now) {
		l.LastAlive = now
	}
	l.Misses = 0
	if h.Answers {
		l.answered = methodOf(h.Method)
	}
	switch h.Liveness {
	case store.Alive, store.Reachable, store.Unsupported:
	default:
		l.Liveness = store.Unproven
	}
}

// hear takes a sign of life. An unsupported leg stays so until it answers a
// probe, or it would change with each sign and each probe.
func (l *leg) hear(what string, at time.Time) {
	if at.After(l.LastAlive) {
		l.LastAlive, l.LastEvidence = at, what
	}
	l.Misses, l.doubts = 0, 0
	if l.Liveness != store.Unsupported {
		l.Liveness = store.Alive
	}
}

// reach takes a sign that somebody is there, which proves no call.
func (l *leg) reach() {
	l.Misses, l.doubts = 0, 0
	if l.Liveness == store.Suspect || l.Liveness == store.Silent {
		l.Liveness = store.Reachable
	}
}

// step is what follows from an answer.
type step uint8

const (
	rest    step = iota // ask again after an interval
	again               // ask again at once
	soon                // ask as soon as that may be possible
	anew                // ask again before long: the answer says nothing about the leg
	drop                // ask no more
	isGone              // end the call: it does not know the dialog
	isQuiet             // end the call: it does not answer
)

// weigh lets an answer change the leg and says what comes next. The evidence is
// what the answer is worth if it is a sign of life.
func (l *leg) weigh(a store.Answer, e store.Evidence, cfg *Config) step {
	switch v := cfg.Policy.judge(a); v {
	case gone:
		l.Liveness = store.Gone
		return isGone
	case doubtful, looped:
		return l.doubt(v)
	case refused:
		return l.refuse(a, e, cfg.Method)
	case missed:
		if a.Method != l.Method {
			return again // it was found meanwhile that another method tells more
		}
		return l.miss(cfg, a.Ours)
	case moot:
		return l.nothing(a)
	case deferred:
		return soon
	case noCall:
		return drop
	case unable:
		return l.unable(a, cfg.Method)
	default:
		l.RTT = a.RTT
		l.answered |= methodOf(a.Method)
		l.use(l.Method) // which may have changed since it was asked
		if !l.proves(a.Method) {
			l.Misses, l.doubts, l.Liveness = 0, 0, store.Reachable
			return rest
		}
		l.Liveness = store.Alive
		l.hear(e.What, e.At)
		return rest
	}
}

// doubt counts towards gone. Three doubts make it: a doubtful answer brings at
// least the second one, 483 only the next.
func (l *leg) doubt(v verdict) step {
	l.Misses = 0 // it answered
	l.doubts = min(l.doubts+1, 3)
	if v == doubtful {
		l.doubts = max(l.doubts, 2)
	}
	if l.doubts > 2 {
		l.Liveness = store.Gone
		return isGone
	}
	l.Liveness = store.Suspect
	return again
}

// refuse gives up the method in use and takes the next. Whether the leg answers
// that one is not known.
func (l *leg) refuse(a store.Answer, e store.Evidence, method Method) step {
	l.RTT = a.RTT
	l.giveUp(a.Method, method)
	if l.Method == "" {
		l.Liveness = store.Unsupported
		l.hear(e.What, e.At)
		return rest
	}
	l.Liveness = store.Alive
	l.hear(e.What, e.At)
	return again
}

// unable gives up a method that cannot be used for this leg and takes the next.
// The far end had no part in that, so it is no sign of life.
func (l *leg) unable(a store.Answer, method Method) step {
	l.giveUp(a.Method, method)
	if l.Method == "" {
		l.Liveness = store.Unsupported
		return rest
	}
	return again
}

// use has a leg asked with this method from now on, or with none. Whether it answers
// one that it was never asked with is not known.
func (l *leg) use(method string) {
	l.Method, l.Answers = method, l.answered&methodOf(method) != 0
}

// giveUp has a leg asked with this method no more, but with the next one of those
// that it may be asked with.
func (l *leg) giveUp(name string, method Method) {
	l.refused |= methodOf(name)
	l.answered &^= methodOf(name)
	l.use(method.choose(l.kind.is == blind, l.allowed, l.refused))
}

// nothing takes an answer, or the lack of one, from which nothing follows: it
// is seen, and that is all.
func (l *leg) nothing(a store.Answer) step {
	if a.Kind != store.Answered && !l.fresh && l.Misses < math.MaxInt32 {
		l.missed = l.asked
		l.Misses++
	}
	if l.Answers && !l.fresh {
		l.Liveness = store.Suspect
	}
	return rest
}

// miss counts towards silent, unless the leg showed itself since it was asked.
// Probes that are counted went out at least a timeout apart: each stands for a
// full transaction, even if one could not be sent or someone asked by hand. Those
// that this machine had no network for do not count with others.
func (l *leg) miss(cfg *Config, ours bool) step {
	if l.fresh {
		return rest
	}
	if l.mute && !ours {
		l.Misses = 0
	}
	if l.Misses > 0 && l.asked-l.missed < cfg.Timeout {
		return again
	}
	l.missed, l.mute = l.asked, ours
	if l.Misses < math.MaxInt32 {
		l.Misses++
	}
	switch {
	case l.Liveness == store.Unsupported:
		return rest
	case l.Misses < cfg.Misses:
		l.Liveness = store.Suspect
		return again
	case !l.Answers && cfg.Method.choose(l.kind.is == blind, l.allowed, ^l.answered) != "":
		l.giveUp(l.Method, cfg.Method) // one that it has answered tells whether it is there
		l.Misses, l.Liveness = 0, store.Suspect
		return again
	case !l.Answers:
		l.Liveness = store.Unsupported
		return rest
	default:
		l.Liveness = store.Silent
		return isQuiet
	}
}
