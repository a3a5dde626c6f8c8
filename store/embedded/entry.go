package embedded

import (
	"encoding/binary"
	"time"

	"sipvigil/store"
)

// entry is what the journal says of one call, or of one maintenance.
type entry struct {
	parts   parts
	id      string
	call    *store.Call
	expires time.Time // when a finished call is forgotten

	maintained store.Maintenance
}

// parts says what an entry holds. A final entry without the call says that it
// is forgotten.
type parts uint8

const (
	whole parts = 1 << iota // all but the health of the legs
	final                   // it is over
	callerHealth
	calleeHealth
	callerMark
	calleeMark
	maintenance // of no call
)

const everything = whole | callerHealth | calleeHealth

func healthOf(s store.Side) parts { return callerHealth << s }
func markOf(s store.Side) parts   { return callerMark << s }

// codec writes values one after the other, or reads them in the same order, so
// that there is one list of fields for both. What it reads from is shared by
// the texts that it returns.
type codec struct {
	reading bool
	left    string // what is left to read
	broken  bool   // it ended early, or holds what was never written
	out     []byte // what was written
}

// entry is the layout of an entry.
func (c *codec) entry(e *entry) {
	number(c, &e.parts)
	text(c, &e.id)
	if e.parts&maintenance != 0 {
		c.maintenance(e)
		return
	}
	if c.reading {
		e.call = &store.Call{ID: e.id}
	}
	if e.parts&whole != 0 {
		c.call(e.call)
	}
	if e.parts&final != 0 {
		c.moment(&e.expires)
	}
	for _, side := range store.Sides {
		leg := e.call.Leg(side)
		if e.parts&healthOf(side) != 0 {
			c.health(&leg.Health)
		}
		if e.parts&markOf(side) != 0 {
			number(c, &leg.LocalMark)
		}
	}
}

func (c *codec) call(r *store.Call) {
	text(c, &r.State)
	text(c, &r.Node)
	number(c, &r.Epoch)
	text(c, &r.TrunkIn)
	text(c, &r.TrunkOut)
	c.moment(&r.Started)
	c.moment(&r.Answered)
	text(c, &r.End.Reason)
	number(c, &r.End.Status)
	text(c, &r.End.Text)
	c.moment(&r.End.At)
	for i := range r.Legs {
		text(c, &r.End.Released[i])
		c.dialog(&r.Legs[i].Dialog)
	}
}

func (c *codec) dialog(d *store.Dialog) {
	text(c, &d.CallID)
	text(c, &d.LocalTag)
	text(c, &d.RemoteTag)
	text(c, &d.LocalURI)
	text(c, &d.RemoteURI)
	text(c, &d.Target)
	c.texts(&d.RouteSet)
	text(c, &d.Transport)
	text(c, &d.Peer)
	text(c, &d.Listener)
	text(c, &d.Seen)
	c.flag(&d.Kept)
	text(c, &d.UserAgent)
	text(c, &d.Allow)
	number(c, &d.LocalMark)
	number(c, &d.RemoteCSeq)
	number(c, &d.Session.Interval)
	number(c, &d.Session.MinSE)
	text(c, &d.Session.Refresher)
	c.moment(&d.Session.Refreshed)
	text(c, &d.Session.Offer)
}

func (c *codec) health(h *store.Health) {
	text(c, &h.Liveness)
	c.moment(&h.LastAlive)
	text(c, &h.LastEvidence)
	number(c, &h.Misses)
	number(c, &h.RTT)
	text(c, &h.Method)
	c.flag(&h.Answers)
	text(c, &h.Calibration)
}

func number[N ~int | ~int64 | ~uint32 | ~uint8](c *codec, n *N) {
	if !c.reading {
		c.out = binary.AppendVarint(c.out, int64(*n))
		return
	}
	v, size := binary.Varint([]byte(c.left[:min(len(c.left), binary.MaxVarintLen64)]))
	if size <= 0 || int64(N(v)) != v {
		c.broken, c.left = true, ""
		return
	}
	*n, c.left = N(v), c.left[size:]
}

func text[S ~string](c *codec, s *S) {
	size := len(*s)
	number(c, &size)
	switch {
	case !c.reading:
		c.out = append(c.out, *s...)
	case size < 0 || size > len(c.left):
		c.broken, c.left = true, ""
	default:
		*s, c.left = S(c.left[:size]), c.left[size:]
	}
}

func (c *codec) texts(list *[]string) {
	count := len(*list)
	number(c, &count)
	if c.reading {
		if count < 0 || count > len(c.left) { // each text takes a byte at least
			c.broken, c.left = true, ""
			return
		}
		*list = nil
		if count > 0 {
			*list = make([]string, count)
		}
	}
	for i := range *list {
		text(c, &(*list)[i])
	}
}

// moment is kept to the millisecond.
func (c *codec) moment(t *time.Time) {
	ms := t.UnixMilli()
	number(c, &ms)
	if c.reading {
		if *t = time.UnixMilli(ms).UTC(); t.IsZero() {
			*t = time.Time{}
		}
	}
}

func (c *codec) flag(b *bool) {
	var n uint8
	if *b {
		n = 1
	}
	number(c, &n)
	*b = n == 1
}
