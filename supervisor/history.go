package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"sipvigil/store"
)

// EventKind is what kind of thing happened to a leg.
type EventKind string

// The kinds of Event.
const (
	EventConfirmed   EventKind = "confirm"  // the call is watched from now on
	EventEvidence    EventKind = "evidence" // the far end showed itself by something else than an answer
	EventAnswer      EventKind = "answer"   // a final response to a probe
	EventMiss        EventKind = "miss"     // none, or it could not be sent
	EventCalibration EventKind = "calibration"
	EventDisturbed   EventKind = "disturbed" // the network says that it cannot be reached: its next probe comes soon
	EventHeld        EventKind = "held"      // the brake holds what silence would end
	EventObserved    EventKind = "observed"  // the call would have been ended
	EventVerdict     EventKind = "verdict"   // the call is ended
	EventEnd         EventKind = "end"       // it has ended
)

var eventKinds = [...]EventKind{EventConfirmed, EventEvidence, EventAnswer, EventMiss, EventCalibration, EventHeld, EventObserved, EventVerdict, EventEnd, EventDisturbed}

// Event is one line of the history of a call.
type Event struct {
	At   time.Time
	Kind EventKind
	Side store.Side    // whose far end it is about; of no meaning for EventConfirmed and EventEnd
	Text string        // "200 OPTIONS", "INFO", "callee-silent: 2 probes missed, …"
	RTT  time.Duration // of EventAnswer
}

// entry is an Event as it is kept, in 8 bytes: an RTT above 65 s is kept as
// that, a text beyond those that there is room for as "…".
type entry struct {
	at   uint32 // centiseconds since the supervisor was made, without what is above: see moment
	what uint16 // index in texts, index in eventKinds, and side
	rtt  uint16 // milliseconds
}

const (
	sideBits = 1
	kindBits = 4
)

func entryOf(text uint16, kind int, side store.Side) uint16 {
	return text<<(kindBits+sideBits) | uint16(kind)<<sideBits | uint16(side)
}

func (e entry) text() uint16     { return e.what >> (kindBits + sideBits) }
func (e entry) kind() EventKind  { return eventKinds[e.what>>sideBits&(1<<kindBits-1)] }
func (e entry) side() store.Side { return store.Side(e.what & 1) }

// historyLength is how many of the last events of a call are kept. Fewer would
// save nothing: a call would share its size, and with that the allocator's pages,
// with what is only kept for half a minute after the set-up of each.
const historyLength = 32

// history is a ring of the last events.
type history struct {
	entries [historyLength]entry
	count   uint32 // of all that there were
}

// stamp is a time as an entry has it.
func (s *Supervisor) stamp(at time.Time) uint32 {
	return uint32(max(0, at.Sub(s.made)) / (10 * time.Millisecond))
}

// moment is the last time before soon that has this stamp. They begin again every
// 497 days.
func (s *Supervisor) moment(stamp uint32, soon time.Time) time.Time {
	ago := s.stamp(soon) - stamp
	return s.made.Add(soon.Sub(s.made).Truncate(10*time.Millisecond) - time.Duration(ago)*10*time.Millisecond)
}

// happened writes a line into the history of a call. Called locked.
func (s *Supervisor) happened(k *call, side store.Side, kind EventKind, text string, rtt time.Duration, at time.Time) {
	e := entry{
		at:   s.stamp(at),
		what: entryOf(s.keepText(text, at), slices.Index(eventKinds[:], kind), side),
		rtt:  uint16(min(rtt.Milliseconds(), math.MaxUint16)),
	}
	k.history.entries[k.history.count%historyLength] = e
	k.history.count++
	switch kind {
	case EventAnswer, EventMiss, EventEvidence:
		s.follower.Heard(k.id)
	default:
		s.follower.Changed(k.id)
	}
}

// events reads a history, the oldest first. Called locked.
func (s *Supervisor) events(k *call) []Event {
	n, soon := min(k.history.count, historyLength), time.Now().Add(time.Minute) // some of another clock may be ahead
	list := make([]Event, 0, n)
	for i := k.history.count - n; i < k.history.count; i++ {
		e := k.history.entries[i%historyLength]
		list = append(list, Event{
			At:   s.moment(e.at, soon),
			Kind: e.kind(),
			Side: e.side(),
			Text: s.texts.all[e.text()],
			RTT:  time.Duration(e.rtt) * time.Millisecond,
		})
	}
	return list
}

// Events returns the last things that happened to a call of this node, or to
// one that ended here a short while ago, the oldest first. Its error wraps
// store.ErrNotFound, store.ErrUnavailable or ErrElsewhere.
func (s *Supervisor) Events(ctx context.Context, id string) ([]Event, error) {
	c, err := s.Call(ctx, id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	k := s.calls[c.ID]
	s.mu.Unlock()
	if k = cmp.Or(k, s.ended.find(c.ID)); k != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.events(k), nil
	}
	return nil, fmt.Errorf("events: %w", &Elsewhere{c.ID, c.Node})
}
