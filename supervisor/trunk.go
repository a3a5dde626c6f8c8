package supervisor

import "time"

// Doubt says whether the silence of a call may be that of its whole trunk.
type Doubt uint8

// The doubts.
const (
	NoDoubt Doubt = iota // the trunk has answered since, or nobody asks it
	Asking               // it is being asked now
	Failing              // it does not answer
)

// Doubting says what a trunk has shown since a time, and when it last began to
// answer again after it had not. It returns at once, and calls nothing of a
// Supervisor.
type Doubting func(trunk string, since time.Time) (d Doubt, mended time.Time)

// askTrunk finds out what the trunk behind a silent leg has shown since the
// probe that the leg missed last. Called locked.
func (s *Supervisor) askTrunk(h *hold) {
	g := s.brake.behind(h.leg)
	h.mended = -1
	if s.cfg.Doubt == nil || g.trunk == otherTrunk {
		return
	}
	var mended time.Time
	if h.doubt, mended = s.cfg.Doubt(g.trunk, s.made.Add(h.leg.missed)); !mended.IsZero() {
		h.mended = mended.Sub(s.made)
	}
	if h.doubt == Failing && !g.failing {
		g.failing = true
		s.brake.failing[g] = true
		s.announce(news{engaged: true, reason: cut, peer: g.peer})
	}
}

// askTrunks lets go of trunks that answer again. What is silent behind them
// then ends one after the other. Called locked.
func (s *Supervisor) askTrunks(now time.Duration) {
	for g := range s.brake.failing {
		if d, _ := s.cfg.Doubt(g.trunk, s.made.Add(now)); d == Failing {
			continue
		}
		g.failing = false
		g.pace = spread(g.members())
		delete(s.brake.failing, g)
		s.announce(news{reason: cut, peer: g.peer})
		s.brake.forget(g)
	}
}
