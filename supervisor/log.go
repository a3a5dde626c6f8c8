package supervisor

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sipvigil/store"
)

// tell writes a line about a call into the log. The list of its fields is used
// again for others.
func (s *Supervisor) tell(level zapcore.Level, what string, c *store.Call, more ...zap.Field) {
	ce := s.log.Check(level, what)
	if ce == nil {
		return
	}
	fields, _ := s.fields.Get().(*[]zap.Field)
	if fields == nil {
		fields = new([]zap.Field)
	}
	*fields = append((*fields)[:0],
		zap.String("call", c.ID),
		zap.String("caller_call_id", c.Legs[store.Caller].CallID),
		zap.String("callee_call_id", c.Legs[store.Callee].CallID),
		zap.String("trunk_in", c.TrunkIn),
		zap.String("trunk_out", c.TrunkOut),
	)
	*fields = append(*fields, more...)
	ce.Write(*fields...)
	s.fields.Put(fields)
}

// logEnd tells how a call ended.
func (s *Supervisor) logEnd(c *store.Call) {
	fields := append(make([]zap.Field, 0, 8),
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
	s.tell(zap.InfoLevel, "call ended", c, fields...)
}

// logFound tells of a call that goes on only because the action is Observe.
func (s *Supervisor) logFound(c *change) {
	known, ok := s.legs.Call(c.id)
	if !ok {
		known.ID = c.id
	}
	s.tell(zap.InfoLevel, "call would be ended", &known, zap.Stringer("leg", c.side),
		zap.String("peer", known.Leg(c.side).Peer), zap.String("reason", c.why))
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
	if !s.log.Core().Enabled(level) {
		return
	}
	known, ok := s.legs.Call(c.id)
	if !ok {
		known.ID = c.id
	}
	fields := append(make([]zap.Field, 0, 8),
		zap.Stringer("leg", c.side),
		zap.String("peer", known.Leg(c.side).Peer),
		zap.String("liveness", string(c.health.Liveness)),
		zap.String("was", string(c.was)),
		zap.Int("misses", c.health.Misses),
		zap.String("reason", c.why))
	if !c.health.LastAlive.IsZero() {
		fields = append(fields, zap.Time("last_alive", c.health.LastAlive), zap.String("last_evidence", c.health.LastEvidence))
	}
	s.tell(level, "leg changed", &known, fields...)
}
