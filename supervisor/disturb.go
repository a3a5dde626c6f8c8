package supervisor

import (
	"time"

	"sipvigil/store"
)

// soonest is how soon a leg is asked whose way is disturbed.
const soonest = time.Second

// hurryShare is which part of Rate may be probes that were brought forward: all
// the legs behind one address are disturbed together.
const hurryShare = 10

// Disturbed has a leg asked soon, because the network says that its far end
// cannot be reached: why is an ICMP error or a closed connection. That alone
// proves nothing and changes nothing else. It comes true once an interval for
// each leg, so that a far end that closes its connection after each answer is
// not asked all the time.
func (s *Supervisor) Disturbed(id string, side store.Side, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.calls[id]
	if k == nil || !k.confirmed || k.ending || !k.legs[side].watched() {
		return
	}
	l, at := &k.legs[side], time.Now()
	now := at.Sub(s.made)
	if l.hurried != 0 && now-l.hurried < s.cfg.period() {
		return
	}
	l.hurried = now
	s.metrics.disturbed.Inc()
	s.happened(k, side, EventDisturbed, why, 0, at)
	if !l.asking() {
		s.hurry(l, at)
	}
}

// hurry brings the next turn of a leg forward. A probe that may count as missed
// still comes a timeout after the last. Called locked.
func (s *Supervisor) hurry(l *leg, at time.Time) {
	now := at.Sub(s.made)
	due := now
	if l.Misses > 0 {
		due = max(due, l.missed+s.cfg.Timeout)
	}
	if l.due <= due+soonest {
		return
	}
	place := s.hurried.ReserveN(at, 1)
	due = max(due, now+place.DelayFrom(at)) + s.share(soonest)
	if due >= l.due {
		place.CancelAt(at)
		return
	}
	s.postpone(l, due)
}
