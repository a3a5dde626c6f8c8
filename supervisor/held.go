package supervisor

import (
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// tick is how often held legs are looked at.
const tick = time.Second

// Held is a silent leg whose call is not ended for that.
type Held struct {
	ID     string // of the call
	Side   store.Side
	Reason string // why it is held, for people
	Since  time.Time
}

// Held lists what the brake holds, the oldest first.
func (s *Supervisor) Held() []Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Held
	for _, h := range s.brake.order {
		if s.brake.held[h.leg] == h {
			list = append(list, Held{h.leg.call.id, h.leg.side(), s.brake.text(h, len(s.calls)), s.made.Add(h.since)})
		}
	}
	return list
}

// ReleaseHeld ends all calls that are held now, at a bounded rate, unless they
// answer meanwhile. It returns how many there are.
func (s *Supervisor) ReleaseHeld() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.heldCalls()
	s.brake.forced = spread(n)
	for _, h := range s.brake.held {
		h.forced = true
	}
	s.brake.looked = 0
	s.nudge()
	return n
}

// heldCalls counts calls of which a leg is held. Called locked.
func (s *Supervisor) heldCalls() int {
	n := 0
	for l := range s.brake.held {
		if l.side() == store.Caller || s.brake.held[&l.call.legs[store.Caller]] == nil {
			n++
		}
	}
	return n
}

// forcedCalls counts those of them that an operator wants to end. Called locked.
func (s *Supervisor) forcedCalls() int {
	n := 0
	for l, h := range s.brake.held {
		if !h.forced {
			continue
		}
		if caller := s.brake.held[&l.call.legs[store.Caller]]; l.side() == store.Caller || caller == nil || !caller.forced {
			n++
		}
	}
	return n
}

// news is that the brake engaged for a reason, or let go.
type news struct {
	engaged bool
	reason  cause
	peer    peer
	ill     int // legs behind the peer that do not answer
	legs    int // that are judged there
	text    string
}

// announce has the log and the metrics tell of the brake. Called locked.
func (s *Supervisor) announce(n news) {
	if n.engaged {
		s.metrics.brake.WithLabelValues(brakeReasons[n.reason]).Inc()
	}
	s.note(change{brake: &n})
	s.follower.Braked(n.braking(), n.engaged)
}

func (s *Supervisor) logBrake(n *news) {
	s.mu.Lock()
	held := s.heldCalls()
	s.mu.Unlock()
	fields := []zap.Field{zap.String("reason", brakeReasons[n.reason]), zap.Int("held", held)}
	if n.peer.trunk != "" {
		fields = append(fields, zap.String("trunk", n.peer.trunk))
	}
	if n.peer.host != "" {
		fields = append(fields, zap.String("peer", n.peer.host))
	}
	if n.reason == crowd {
		fields = append(fields, zap.Int("ill", n.ill), zap.Int("legs", n.legs))
	}
	if n.text != "" {
		fields = append(fields, zap.String("text", n.text))
	}
	if n.engaged {
		s.log.Info("brake holds teardown by silence", fields...)
	} else {
		s.log.Info("brake lets go", fields...)
	}
}

// beat is how long Run may sleep, so that it is back to notice that this process was
// stalled, and to look at what is held. Called locked.
func (s *Supervisor) beat(at time.Time, wait time.Duration) time.Duration {
	now := at.Sub(s.made)
	wait = min(wait, s.brake.beat())
	if s.brake.blind || len(s.brake.held) > 0 || s.brake.limit || len(s.brake.engaged) > 0 || len(s.brake.failing) > 0 {
		wait = max(0, min(wait, s.brake.looked+tick-now))
	}
	return s.promise(now, wait)
}

// promise takes note of when Run will be back. Called locked.
func (s *Supervisor) promise(now, wait time.Duration) time.Duration {
	s.brake.promised = max(1, now+wait)
	return wait
}

// watch notices that this process was stalled, whoever comes first after it.
// Called locked.
func (s *Supervisor) watch(at time.Time) {
	now := at.Sub(s.made)
	if s.brake.late(now) {
		s.stall(now, "the process was late by "+(now-s.brake.promised).Round(time.Second).String())
		s.brake.promised = now
	}
	if !s.brake.seen.IsZero() && s.brake.jumped(at.Sub(s.brake.seen), at.Round(0).Sub(s.brake.wall)) {
		s.stall(now, "the clocks disagree")
	}
	s.brake.seen, s.brake.wall = at, at.Round(0)
}

// stall takes note that this process may have missed what was sent to it until
// now. Called locked.
func (s *Supervisor) stall(now time.Duration, why string) {
	b := &s.brake
	b.stalled, b.why = now, why
	if !b.blind {
		b.blind = true
		s.announce(news{engaged: true, reason: stall, text: why})
	}
}

// heed weighs an answer, unless it says more about this process than about the
// far end. Called locked.
func (s *Supervisor) heed(l *leg, a store.Answer, at time.Time) step {
	now := at.Sub(s.made)
	if a.Kind == store.Answered || a.Kind == store.Timeout || a.Kind == store.Unsent {
		if s.brake.tell(l.call, now, a.Kind == store.Unsent) {
			s.stall(now, "probes cannot be sent: "+a.Reason)
		}
	}
	if s.cfg.Policy.judge(a).against() && !s.may() {
		return anew
	}
	if s.cfg.Policy.judge(a) == missed && s.brake.deaf(l.asked, now) {
		return anew
	}
	return l.weigh(a, store.Evidence{What: s.name(a), At: a.At}, &s.cfg)
}

// quiet says whether a call may end now because a leg of it is silent. If not,
// the leg is held. Called locked.
func (s *Supervisor) quiet(l *leg, end store.End, at time.Time) bool {
	if l.call.found.holds() {
		return true // it would have ended
	}
	now := at.Sub(s.made)
	h := s.brake.held[l]
	known := h != nil
	if !known {
		h = &hold{leg: l, since: now, ready: s.brake.ready(l.missed, min(l.Misses, s.cfg.Misses))}
	}
	h.end = end
	s.lookAround(l, now)
	s.askTrunk(h)
	if h.cause = s.brake.decide(h, len(s.calls), now, at); h.cause == free {
		return true
	}
	if !known {
		s.brake.held[l] = h
		s.brake.order = append(s.brake.order, h)
		s.happened(l.call, l.side(), EventHeld, inShort[h.cause], 0, at)
	}
	s.limited(h.cause == quota || s.brake.limit)
	return false
}

// lookAround engages or frees the groups of a leg. Called locked.
func (s *Supervisor) lookAround(l *leg, now time.Duration) {
	for _, g := range s.brake.circles(l) {
		s.lookAt(g, now)
	}
}

// lookAt engages or frees a group. Called locked.
func (s *Supervisor) lookAt(g *group, now time.Duration) {
	changed := false
	s.brake.shift(g, func(g *group) { changed = g.look(now, s.brake.calm, s.brake.many(g)) })
	if !changed {
		return
	}
	if g.engaged {
		s.brake.engaged[g] = true
	} else {
		delete(s.brake.engaged, g)
	}
	s.announce(news{engaged: g.engaged, reason: crowd, peer: g.peer, ill: g.legs[ill], legs: g.judged()})
}

// limited takes note whether calls wait because too many have ended of late.
// Called locked.
func (s *Supervisor) limited(now bool) {
	if s.brake.limit != now {
		s.brake.limit = now
		s.announce(news{engaged: now, reason: quota})
	}
}

// reconsider looks again at what is held, once a tick, and has the calls end
// that may end by now. Called locked.
func (s *Supervisor) reconsider(at time.Time) {
	now, b := at.Sub(s.made), &s.brake
	if now < s.brake.looked+tick && s.brake.looked != 0 {
		return
	}
	s.brake.looked = now
	if b.blind && now >= b.stalled+b.timeout {
		b.blind = false
		s.announce(news{reason: stall})
	}
	for g := range b.engaged {
		s.lookAt(g, now)
		b.forget(g)
	}
	s.askTrunks(now)
	limit, rest := false, b.order[:0]
	for _, h := range b.order {
		if b.held[h.leg] != h {
			continue
		}
		s.lookAround(h.leg, now)
		s.askTrunk(h)
		if h.cause = b.decide(h, len(s.calls), now, at); h.cause == free {
			s.letGo(h, at)
			continue
		}
		limit = limit || h.cause == quota
		rest = append(rest, h)
	}
	clear(b.order[len(rest):])
	b.order = rest
	s.limited(limit)
}

// letGo has a held call end. Called locked.
func (s *Supervisor) letGo(h *hold, at time.Time) {
	l := h.leg
	h.end.At = at
	s.conclude(l, change{id: l.call.id, side: l.side(), was: l.Liveness, health: l.Health, why: h.end.Text}, h.end, at)
}
