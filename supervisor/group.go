package supervisor

import (
	"net"
	"time"

	"golang.org/x/time/rate"

	"sipvigil/store"
)

// class is how a leg counts in its group.
type class uint8

const (
	apart class = iota // not judged by silence, or not asked yet
	well
	ill // missed its last probe
)

func classify(l *leg) class {
	h := &l.Health
	switch {
	case !h.Answers, l.call.found.holds(): // or the call would have ended
		return apart
	case h.Liveness == store.Alive, h.Liveness == store.Reachable:
		return well
	case h.Liveness != store.Suspect && h.Liveness != store.Silent:
		return apart
	case h.Misses == 0:
		return well // it answers, even if it doubts the dialog
	default:
		return ill
	}
}

// peer is what the legs of a group have behind them: a trunk, or a host.
type peer struct{ trunk, host string }

func peerOf(c *store.Call, side store.Side) peer {
	trunk := c.TrunkIn
	if side == store.Callee {
		trunk = c.TrunkOut
	}
	if trunk != "" && trunk != otherTrunk {
		return peer{trunk: trunk}
	}
	host, _, err := net.SplitHostPort(c.Legs[side].Peer)
	if err != nil {
		host = c.Legs[side].Peer
	}
	return peer{otherTrunk, host}
}

func (p peer) String() string {
	switch {
	case p.trunk != otherTrunk:
		return "trunk " + p.trunk
	case p.host == "":
		return "all that is no trunk"
	default:
		return p.host
	}
}

// group counts the legs behind one peer, or behind all that are no trunk. Times
// are those of leg.
type group struct {
	peer
	legs    [3]int        // by class
	engaged bool          // too many are ill
	calm    time.Duration // engaged, but not so many are ill since then; -1 = they are
	freed   time.Duration // when it last was engaged no more; -1 = never was
	pace    *rate.Limiter // of releases after that
	failing bool          // the trunk itself does not answer
}

func newGroup(p peer) *group { return &group{peer: p, calm: -1, freed: -1} }

func (g *group) members() int { return g.legs[apart] + g.legs[well] + g.legs[ill] }
func (g *group) judged() int  { return g.legs[well] + g.legs[ill] }

// look engages the group, or frees it once few enough have been ill for a whole
// calm time. It says whether that changed anything.
func (g *group) look(now, calm time.Duration, many bool) bool {
	was := g.engaged
	switch {
	case many:
		g.engaged, g.calm = true, -1
	case g.engaged && g.calm < 0:
		g.calm = now
	case g.engaged && now-g.calm >= calm:
		g.engaged, g.freed = false, now
		g.pace = spread(g.members())
	}
	return g.engaged != was
}

// spread allows 1 % of n a second, but at least one.
func spread(n int) *rate.Limiter {
	each := max(1, n/100)
	return rate.NewLimiter(rate.Limit(each), each)
}
