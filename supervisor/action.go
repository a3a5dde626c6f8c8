package supervisor

import (
	"time"

	"sipvigil/store"
)

// Action says what follows when a leg is found dead.
type Action string

// The actions.
const (
	Hangup  Action = "hangup"  // its call ends
	Observe Action = "observe" // it is only said that it would have
)

// finding is a verdict of death that ended no call, because the action is
// Observe.
type finding struct {
	side  store.Side
	trunk string
	end   store.End // how the call would have ended
	wrong bool      // the far end showed itself after that
}

// trunk is the name of the trunk behind a leg that is watched.
func (s *Supervisor) trunk(l *leg) string {
	if t := s.brake.behind(l).trunk; t != "" {
		return t
	}
	return otherTrunk
}

// action is what follows when this leg is dead.
func (s *Supervisor) action(l *leg) Action {
	if a := s.cfg.Trunks[s.trunk(l)]; a != "" {
		return a
	}
	return s.cfg.Action
}

// conclude ends the call of a leg that is dead, or notes that it would have.
// Called locked.
func (s *Supervisor) conclude(l *leg, c change, end store.End, at time.Time) {
	if s.action(l) != Observe {
		c.end = &end
		s.happened(l.call, l.side(), EventVerdict, verdictText(end), 0, at)
		s.leave(l.call)
		s.note(c)
		return
	}
	if f := l.call.found; f == nil || f.wrong { // what was found first would have ended the call
		l.call.found = &finding{side: l.side(), trunk: s.trunk(l), end: end}
		c.observed = true
		s.happened(l.call, l.side(), EventObserved, verdictText(end), 0, at)
	}
	delete(s.brake.held, l)
	s.recountBoth(l.call)
	if !l.asking() { // else its turn comes after the answer
		s.schedule(l, at.Sub(s.made)+s.spacing())
	}
	s.note(c)
}

// found says whether a leg has been found dead already.
func (s *Supervisor) found(l *leg) bool { return l.call.found.holds() && l.call.found.side == l.side() }

// holds says whether anything was found that has not proved wrong. It may be nil.
func (f *finding) holds() bool { return f != nil && !f.wrong }

// recountBoth counts the legs of a call in their groups anew. Called locked.
func (s *Supervisor) recountBoth(k *call) {
	for i := range k.legs {
		s.brake.tally(&k.legs[i])
	}
}

// refute takes note that a leg lives which was found dead. Called locked.
func (s *Supervisor) refute(l *leg) {
	if s.found(l) && l.Liveness == store.Alive {
		l.call.found.wrong = true
		s.recountBoth(l.call)
		s.metrics.found(l.call.found.trunk, false)
	}
}

// close says at the end of a call whether it was found dead rightly: the far
// end did not end it itself, nor answer the BYE as one that knows the call.
func (f *finding) close(end store.End) (right bool) {
	return !f.wrong && end.Reason != f.side.Bye() && end.Released[f.side] != store.ReleaseConfirmed
}

// text says for people what was found.
func (f *finding) text() string {
	return "observed only: would have ended as " + verdictText(f.end)
}

// verdictText says how and why a call is ended.
func verdictText(end store.End) string { return string(end.Reason) + ", " + end.Text }
