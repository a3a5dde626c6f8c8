package store

import "time"

// A channel is the room that a call takes up at a trunk: one for the leg by
// which it comes from there, one for the leg by which it goes there. It is a
// lease that whoever has the call vouches for again and again, so that channels
// of calls that are lost come back by themselves.

// Limit is how many calls a trunk takes. Zero is no limit.
type Limit struct {
	In, Out   int // channels of calls from the trunk, and to it
	Total     int // both together
	PerSecond int // calls that begin in a second, of each direction
}

// Claim asks for a channel of a trunk.
type Claim struct {
	Trunk string
	Side  Side   // Caller: the call comes from the trunk, Callee: it goes there
	ID    string // of the call
	Limit Limit
	Lease time.Duration // how long the channel lasts without being vouched for
}

// Most is how many channels of the claim's direction there may be.
func (c *Claim) Most() int { return c.Limit.Most(c.Side) }

// Most is how many channels of one direction there may be.
func (l *Limit) Most(side Side) int {
	if side == Caller {
		return l.In
	}
	return l.Out
}

// Grant is the answer to a claim.
type Grant struct {
	Refused Refusal // empty when the channel is granted
	Used    [2]int  // channels of the trunk after it, by side
}

// Refusal is why a claim was not granted.
type Refusal string

// The values of Refusal.
const (
	Full    Refusal = "full" // as many channels as there may be
	TooMany Refusal = "rate" // as many calls began within a second as may
)

// Held are channels of one direction of a trunk.
type Held struct {
	Trunk string
	Side  Side
	IDs   []string // of the calls
}
