package supervisor

import (
	"net"
	"time"

	"sipvigil/store"
)

// What a far end makes of OPTIONS in a dialog that does not exist.
const (
	discriminating = "discriminating" // 481: a 200 proves that it knows a dialog
	blind          = "blind"          // 200: a 200 proves only that somebody answers
	unknown        = "unknown"        // anything else, or nothing
)

// How long that is believed, and how many peers are remembered of which there
// is no call.
const (
	calibrationTime = 24 * time.Hour
	unknownTime     = time.Hour
	mostKinds       = 4096
)

// kind is what a far end is, as far as can be seen: who answers there.
type kind struct{ host, userAgent string }

// calibration is what is known of a kind of far end. Times are those of leg.
type calibration struct {
	kind
	is    string
	until time.Duration // not to be asked before then
	legs  int           // behind it
}

// kinds remembers calibrations. Guarded by the lock of its supervisor.
type kinds map[kind]*calibration

// join finds the calibration of a leg.
func (k kinds) join(l *store.Leg) *calibration {
	host, _, err := net.SplitHostPort(l.Peer)
	if err != nil {
		host = l.Peer
	}
	key := kind{host, l.UserAgent}
	c := k[key]
	if c == nil {
		if len(k) >= mostKinds {
			k.prune()
		}
		c = &calibration{kind: key, until: -1}
		k[key] = c
	}
	if c.is == "" && (l.Calibration == discriminating || l.Calibration == blind) {
		c.is = l.Calibration // as an earlier process found; it is asked anew
	}
	c.legs++
	return c
}

// prune forgets what no leg needs.
func (k kinds) prune() {
	for key, c := range k {
		if c.legs == 0 {
			delete(k, key)
		}
	}
}

// learn takes what came back to OPTIONS in a dialog that does not exist. What
// was known stays when nothing new was learned.
func (c *calibration) learn(a store.Answer, now time.Duration) {
	c.until = now + calibrationTime
	switch {
	case a.Kind == store.Answered && a.Status == 481:
		c.is = discriminating
	case a.Kind == store.Answered && a.Status < 300:
		c.is = blind
	default:
		c.until = now + unknownTime
		if c.is == "" {
			c.is = unknown
		}
	}
}

// calibrates says whether the kind of a leg is to be asked now, and takes note
// that it is. Called locked.
func (s *Supervisor) calibrates(l *leg, now time.Duration) bool {
	if s.cfg.Method != Auto || now < l.kind.until {
		return false
	}
	l.kind.until = now + patience*s.cfg.Timeout
	return true
}

// Calibrated takes what came back to a Calibrate.
func (s *Supervisor) Calibrated(id string, side store.Side, a store.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.calls[id]; k != nil && k.confirmed && !k.ending {
		l := &k.legs[side]
		l.kind.learn(a, time.Since(s.made))
		s.pick(l)
		s.happened(k, side, EventCalibration, l.kind.is, 0, past(a.At))
	}
}

// pick decides with what a leg is asked from now on. Called locked.
func (s *Supervisor) pick(l *leg) {
	l.Calibration = l.kind.is
	l.use(s.cfg.Method.choose(l.kind.is == blind, l.allowed, l.refused))
}

// proves says whether an answer to this method proves the dialog, and not only
// that somebody is there.
func (l *leg) proves(method string) bool {
	return l.Calibration != blind || method != methodNames[options]
}
