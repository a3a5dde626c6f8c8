package supervisor

import (
	"go.uber.org/zap"

	"sipvigil/store"
)

// callFields name a call in the log; there is room for more fields after them.
func callFields(c *store.Call, more int) []zap.Field {
	return append(make([]zap.Field, 0, 5+more),
		zap.String("call", c.ID),
		zap.String("caller_call_id", c.Legs[store.Caller].CallID),
		zap.String("callee_call_id", c.Legs[store.Callee].CallID),
		zap.String("trunk_in", c.TrunkIn),
		zap.String("trunk_out", c.TrunkOut),
	)
}

// endFields tell how a call ended.
func endFields(c *store.Call) []zap.Field {
	fields := append(callFields(c, 8),
		zap.String("reason", string(c.End.Reason)),
		zap.Int("status", c.End.Status),
		zap.String("text", c.End.Text),
		zap.String("caller_release", string(c.End.Released[store.Caller])),
		zap.String("callee_release", string(c.End.Released[store.Callee])),
		zap.Duration("took", c.End.At.Sub(c.Started)))
	if side := blamed(c.End.Reason); side != "" {
		fields = append(fields, zap.String("side", side))
	}
	if !c.Answered.IsZero() {
		fields = append(fields, zap.Duration("answered_for", c.End.At.Sub(c.Answered)))
	}
	return fields
}

// logFound tells of a call that goes on only because the action is Observe.
func (s *Supervisor) logFound(c *change) {
	known, ok := s.legs.Call(c.id)
	if !ok {
		known.ID = c.id
	}
	s.log.Info("call would be ended", append(callFields(&known, 3), zap.Stringer("leg", c.side),
		zap.String("peer", known.Leg(c.side).Peer), zap.String("reason", c.why))...)
}

// quiet are the states between which a change is no news.
var quiet = map[store.Liveness]bool{store.Unproven: true, store.Alive: true, store.Reachable: true}

// logLiveness tells of a leg that is in doubt, or no longer. That a new leg
// proves alive is no news.
func (s *Supervisor) logLiveness(c *change) {
	level := zap.InfoLevel
	if quiet[c.health.Liveness] && quiet[c.was] {
		level = zap.DebugLevel
	}
	ce := s.log.Check(level, "leg changed")
	if ce == nil {
		return
	}
	known, ok := s.legs.Call(c.id)
	if !ok {
		known.ID = c.id
	}
	fields := append(callFields(&known, 8),
		zap.Stringer("leg", c.side),
		zap.String("peer", known.Leg(c.side).Peer),
		zap.String("liveness", string(c.health.Liveness)),
		zap.String("was", string(c.was)),
		zap.Int("misses", c.health.Misses),
		zap.String("reason", c.why))
	if !c.health.LastAlive.IsZero() {
		fields = append(fields, zap.Time("last_alive", c.health.LastAlive), zap.String("last_evidence", c.health.LastEvidence))
	}
	ce.Write(fields...)
}
