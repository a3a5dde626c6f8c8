package links

import (
	"fmt"
	"time"
)

// State is what is thought of an address or a trunk.
type State string

// The states. Partial is one of trunks only.
const (
	Unknown State = "unknown" // nothing has come back yet: calls may try
	Up      State = "up"
	Partial State = "partial" // some addresses are down
	Down    State = "down"
)

// Kind is a kind of traffic.
type Kind string

// The kinds of traffic.
const (
	Answered Kind = "answered" // a request of ours
	NoReply  Kind = "no reply" // to a request of ours, in time
	Unsent   Kind = "unsent"   // a request of ours: the network does not take it
	Inbound  Kind = "inbound"  // a request of theirs
)

// Traffic is what was seen of an address: what became of our question, or of an
// INVITE, or a request of theirs.
type Traffic struct {
	Kind       Kind
	Method     string        // of the request
	Status     int           // of an answer
	Phrase     string        // of an answer
	RetryAfter time.Duration // that an answer asks for, 0 without
	Reason     string        // why the request could not be sent
	RTT        time.Duration // to the answer
}

// String says it for people.
func (t Traffic) String() string {
	switch t.Kind {
	case Answered:
		if t.Phrase == "" {
			return fmt.Sprintf("%d to %s", t.Status, t.Method)
		}
		return fmt.Sprintf("%d %s to %s", t.Status, t.Phrase, t.Method)
	case NoReply:
		return "no answer to " + t.Method
	case Unsent:
		return t.Method + " not sent: " + t.Reason
	default:
		return t.Method + " from there"
	}
}

// health is what is known of one address. It reads no clock and sends nothing.
type health struct {
	state State
	since time.Time // of state

	fails   int       // questions in a row that failed
	lost    int       // INVITEs in a row that failed
	lives   int       // signs of life in a row since it was down
	trial   bool      // unknown after it was down: calls find out
	refused bool      // its last answer to a question was a failure
	until   time.Time // it asked to be left alone until then: Retry-After
	counted time.Time // when a sign of life last counted while it was down
	rtt     time.Duration

	heard   time.Time // last sign of life by real traffic
	inbound time.Time // last request of theirs
	proved  time.Time // last sign of life of any kind
	mended  time.Time // when questions last stopped failing
}

func newHealth(now time.Time) health { return health{state: Unknown, since: now} }

// asked takes what became of a question of ours.
func (h *health) asked(c *Config, t Traffic, now time.Time) {
	if t.Kind != Answered || c.isDown(t.Status, t.Phrase) {
		h.fails++
		h.lives = 0
		h.refused = t.Kind == Answered
		if h.busy(t, now) || h.fails >= c.DownAfter {
			h.fall(now)
		}
		return
	}
	h.rtt = t.RTT
	h.refused = false
	h.live(c, now, c.IntervalDown/2)
}

// seen takes what real traffic shows.
func (h *health) seen(c *Config, t Traffic, now time.Time) {
	switch {
	case t.Kind == Inbound:
		if !c.InboundCounts {
			return
		}
		h.inbound = now
		// That it reaches us says neither that it takes calls nor that we reach it.
		if !h.refused && h.lost == 0 {
			h.reached(c, now)
		}
	case t.Kind == Answered && (t.Status != 503 || !c.isDown(503, t.Phrase)):
		h.lost = 0
		if !h.refused {
			h.reached(c, now)
		}
	default:
		h.lost++
		h.lives = 0
		if h.busy(t, now) || h.lost >= c.trafficAfter() || h.trial {
			h.fall(now)
		}
	}
}

// reached takes a sign of life of real traffic.
func (h *health) reached(c *Config, now time.Time) {
	if now.Before(h.until) {
		return
	}
	h.heard = now
	h.live(c, now, c.IntervalDown)
}

// live takes a sign of life, and brings an address up after enough of them: one
// if it was never down. While it is down they count when they are this far
// apart, so that a burst of traffic does not bring it back.
func (h *health) live(c *Config, now time.Time, apart time.Duration) {
	if h.failing() {
		h.mended = now
	}
	h.fails, h.proved = 0, now
	if h.state == Up {
		return
	}
	if h.state == Down {
		if now.Sub(h.counted) < apart {
			return
		}
		h.counted = now
	}
	h.lives++
	if h.lives < c.UpAfter && (h.state == Down || h.trial) {
		return
	}
	h.state, h.since = Up, now
	h.lost, h.trial = 0, false
}

// fall takes an address down.
func (h *health) fall(now time.Time) {
	h.trial = false
	h.counted = now
	if h.state != Down {
		h.state, h.since = Down, now
	}
}

// busy says whether an answer asks to be left alone, RFC 3261 section 21.5.4:
// no request is to go there meanwhile.
func (h *health) busy(t Traffic, now time.Time) bool {
	if t.Kind != Answered || t.Status != 503 || t.RetryAfter <= 0 {
		return false
	}
	h.until = now.Add(t.RetryAfter)
	return true
}

// try lets calls find out whether an address that is never asked is there
// again. The first that fails takes it down.
func (h *health) try(now time.Time) {
	h.state, h.since = Unknown, now
	h.trial = true
	h.lost, h.lives = 0, 0
}

// failing says whether the last question failed, or the address is down.
func (h *health) failing() bool { return h.fails > 0 || h.state == Down }

// rest is until when an address need not be asked, for what real traffic has
// shown.
func (h *health) rest(c *Config) (until time.Time) {
	if h.failing() {
		return time.Time{}
	}
	if c.Mode == IdleOnly && !h.heard.IsZero() {
		until = h.heard.Add(c.Interval)
	}
	if c.InboundHolds > 0 && !h.inbound.IsZero() {
		until = latest(until, h.inbound.Add(c.InboundHolds))
	}
	return until
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
