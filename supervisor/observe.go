package supervisor

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// Started takes note of a call whose INVITE was accepted. Calls of one id come
// in order; they return at once, as all of this file do.
func (s *Supervisor) Started(c store.Call) {
	s.mu.Lock()
	if s.calls[c.ID] == nil {
		s.calls[c.ID] = newCall(c.ID)
	}
	s.starts.add(time.Now())
	s.mu.Unlock()
	s.follower.Changed(c.ID)
	s.metrics.started.Inc()
	s.tell(zap.InfoLevel, "call started", &c)
}

// Confirmed begins to watch a call: its ACK has come. A call of which Started
// did not tell was read back from the store.
func (s *Supervisor) Confirmed(c store.Call) {
	at := time.Now()
	if restored, ok := s.confirm(&c, at); ok && !restored {
		s.tell(zap.InfoLevel, "call answered", &c, zap.Duration("took", c.Answered.Sub(c.Started)))
	} else if ok {
		s.tell(zap.DebugLevel, "call is watched again", &c)
	}
}

// confirm says whether the call was read back, and whether it is watched now.
func (s *Supervisor) confirm(c *store.Call, at time.Time) (restored, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.calls[c.ID]
	if restored = k == nil; restored {
		k = newCall(c.ID)
		s.calls[c.ID] = k
	}
	if k.confirmed || k.ending {
		return restored, false
	}
	k.confirmed, k.answered = true, min(c.Answered.Sub(s.made), at.Sub(s.made)) // the clock of an earlier owner may have been ahead
	s.happened(k, 0, EventConfirmed, "", 0, at)
	for i := range k.legs {
		l := &k.legs[i]
		if restored {
			l.restore(c.Legs[i].Health, at)
		} else {
			l.Liveness = store.Unproven
		}
		l.kind, l.allowed = s.kinds.join(&c.Legs[i]), allowedBy(c.Legs[i].Allow)
		s.pick(l)
		s.counts[i][l.Liveness]++
		k.group[i] = s.brake.join(peerOf(c, store.Side(i)))
		s.brake.tally(l)
		s.begin(l, at.Sub(s.made), restored)
	}
	k.counted = k.liveness()
	s.lives[k.counted]++
	return restored, true
}

// Evidence takes a sign of life that is no answer to a probe. It costs next to
// nothing: the schedule learns of it when the leg's turn comes.
func (s *Supervisor) Evidence(id string, side store.Side, e store.Evidence) {
	e.At = past(e.At)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.calls[id]
	if k == nil {
		return
	}
	l := &k.legs[side]
	s.happened(k, side, EventEvidence, e.What, 0, e.At)
	if !k.confirmed || k.ending {
		l.LastAlive, l.LastEvidence = e.At, e.What
		return
	}
	if denies(strings.TrimPrefix(e.What, "late ")) {
		l.Misses = 0 // it answers, but the next probe comes in its time, to show whether it knows the call
		return
	}
	was := l.Liveness
	l.fresh = true
	if strings.HasSuffix(e.What, " "+methodNames[options]) && !l.proves(methodNames[options]) {
		l.reach()
	} else {
		l.hear(e.What, e.At)
	}
	s.recount(l, was)
	if l.Liveness != was {
		s.note(change{id: id, side: side, was: was, health: l.Health})
	}
}

// Answered takes what became of probes.
func (s *Supervisor) Answered(replies ...store.Reply) {
	debug := s.log.Core().Enabled(zap.DebugLevel)
	for _, r := range s.takeAll(replies, time.Now(), debug) {
		c, _ := s.legs.Call(r.ID)
		s.tell(zap.DebugLevel, "probe answered", &c, zap.Stringer("leg", r.Side), zap.String("peer", c.Leg(r.Side).Peer), zap.String("method", r.Method),
			zap.String("result", s.cfg.Policy.result(r.Answer)), zap.Int("status", r.Status), zap.String("reason", r.Reason), zap.Duration("took", r.RTT))
	}
}

// takeAll returns the replies that somebody waited for, if they are wanted.
func (s *Supervisor) takeAll(replies []store.Reply, now time.Time, wanted bool) (taken []store.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetch(replies)
	for i := range replies {
		r := &replies[i]
		if r.At.IsZero() || r.At.After(now) {
			r.At = now
		}
		if s.take(r, now) && wanted {
			taken = append(taken, *r)
		}
	}
	return taken
}

// fetch reads what the replies are about, since memory gives much at once in
// hardly more time than one thing after the other takes for each. Called locked.
func (s *Supervisor) fetch(replies []store.Reply) {
	for i := range replies {
		if l, ok := replies[i].Of.(*leg); ok {
			s.fetched += l.Misses + int(l.place) + int(l.call.history.count)
		}
	}
}

// take says whether anyone waited for this answer. Called locked.
func (s *Supervisor) take(r *store.Reply, now time.Time) bool {
	l, ok := r.Of.(*leg)
	if !ok {
		k := s.calls[r.ID]
		if k == nil {
			return false
		}
		l = &k.legs[r.Side]
	}
	if !l.asking() {
		return false
	}
	s.metrics.probe(r.Method, s.cfg.Policy.result(r.Answer))
	if r.Kind == store.Answered {
		s.metrics.rtt.Observe(r.RTT.Seconds())
	}
	if l.call.ending {
		s.inFlight.remove(l)
		s.deliver(l, r.Answer)
	} else {
		s.settle(l, r.Answer, now)
	}
	return true
}

// Ending stops asking the legs of a call.
func (s *Supervisor) Ending(id string, end store.End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.calls[id]; k != nil {
		s.leave(k)
		s.follower.Changed(id)
	}
}

// Resave has the health of both legs written again, because the store has lost
// the record of the call.
func (s *Supervisor) Resave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.calls[id]
	if k == nil || !k.confirmed {
		return
	}
	for i := range k.legs {
		l := &k.legs[i]
		s.note(change{id: id, side: store.Side(i), was: l.Liveness, health: l.Health})
	}
}

// Ended forgets a call, but for a while.
func (s *Supervisor) Ended(c store.Call) {
	c.Compact() // its record stays for a while
	now := time.Now()
	var found *finding
	s.mu.Lock()
	k := s.calls[c.ID]
	if k != nil {
		s.leave(k)
		if found = k.found; found != nil && !found.wrong {
			s.metrics.found(found.trunk, found.close(c.End))
		}
		for i := range k.legs {
			c.Legs[i].Health = k.legs[i].Health
			s.deliver(&k.legs[i], store.Answer{Kind: store.NoCall, At: now})
		}
		s.happened(k, 0, EventEnd, string(c.End.Reason), 0, now)
		s.forget(k)
	}
	farewell(&c)
	s.today.add(reclaimed(&c), c.End.At)
	s.reclaim(&c)
	s.mu.Unlock()
	s.ended.add(c, k, now)
	s.metrics.end(&c)
	r := record(&c, found)
	if s.cfg.Record != nil {
		s.cfg.Record(r)
	}
	s.follower.Ended(r)
	s.logEnd(&c)
}

// forget drops a call. It waits for no answers any more. Called locked.
func (s *Supervisor) forget(k *call) {
	delete(s.calls, k.id)
	for i := range k.legs {
		s.inFlight.remove(&k.legs[i])
	}
}

// deliver hands an answer to those who wait for it. Called locked.
func (s *Supervisor) deliver(l *leg, a store.Answer) {
	for _, ch := range s.waiting[l] {
		ch <- a // has room for the one answer
	}
	delete(s.waiting, l)
}

// past is at, or now if at is not known or still to come.
func past(at time.Time) time.Time {
	if now := time.Now(); at.IsZero() || at.After(now) {
		return now
	}
	return at
}
