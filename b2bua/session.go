package b2bua

import (
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// Session timers, RFC 4028. What both far ends agree on passes through and is
// observed. A leg whose far end asks for a timer that the other side does not
// support has one of its own, and we do our part of it: see renew.go.
//
// Of the two legs of a call mostly one asks something of us, since what one
// far end refreshes is passed on to the other. So a call has one clock, of the
// package time, while it has a session timer, and none otherwise: the runtime's
// heap of timers is one that need not be written again.

// clock is what a session timer needs besides its record.
type clock struct {
	timer *time.Timer
	due   time.Time // when it is to act; what fires before is late news
	renew *renewal  // the refresh of ours that is under way
}

// timerOf reads what a message says of session timers. What cannot be read
// counts as not said.
func timerOf(m *received) dialog.Timer {
	t := dialog.Timer{Supported: dialog.Lists(values(m, "supported"), "timer")}
	if v, ok := first(m, "session-expires"); ok {
		if interval, refresher, err := dialog.SessionExpires(v); err == nil {
			t.Expires, t.Interval, t.Refresher = true, interval, refresher
		}
	}
	if d, err := dialog.MinSE(value(m, "min-se")); err == nil {
		t.MinSE = d
	}
	return t
}

// tooShort refuses a session interval that may not be, RFC 4028 section 9.
func (in *inbound) tooShort() *fault {
	if !timerOf(in.req).TooShort() {
		return nil
	}
	return &fault{422, "", []string{"Min-SE", dialog.FormatSeconds(dialog.ShortestSession)}}
}

// negotiated notes the session timers of both legs after an INVITE or UPDATE
// of one leg succeeded. out is the 2xx as it goes back: where the timer is that
// leg's alone it is completed, RFC 4028 section 9, and where that leg's far end
// takes no part it is stripped.
func (c *call) negotiated(side store.Side, in *inbound, res *received, out *response) {
	other := side.Other()
	if inv := c.inv; inv == nil || in.method != "INVITE" || inv.said[other] == nil {
		c.described(other, in.req)
	}
	c.described(side, res)
	asked, answered := timerOf(in.req), timerOf(res)
	from, to := dialog.Negotiate(asked, answered)
	if in.method == "UPDATE" {
		c.allowsUpdate(from, side)
		c.allowsUpdate(to, other)
	}
	if from.Refresher == store.Self && !c.canRenew(side) {
		from = store.Session{} // as if we did not support the timer either
	}
	switch {
	case from.Refresher == "":
		withoutTimer(out)
	case !answered.Expires:
		refresher := "uac"
		if from.Refresher == store.Self {
			refresher = "uas"
		}
		out.add("Session-Expires", dialog.FormatSessionExpires(from.Interval, refresher))
		out.add("Require", "timer")
	}
	changed := c.timed(side, from)
	if (c.timed(other, to) || changed) && c.stored {
		c.save()
	}
	c.wind()
}

// timed starts, restarts or ends a leg's session timer, and says whether there
// is anything to be saved.
func (c *call) timed(side store.Side, s store.Session) bool {
	old := c.dialog(side).Session
	if s.Refresher == "" && old.Refresher == "" {
		return false
	}
	if s.Refresher != "" {
		s.Refreshed = time.Now()
		s.MinSE = max(s.MinSE, old.MinSE)
	}
	if s.Refresher == store.Self && !dialog.Lists([]string{c.dialog(side).Allow}, "UPDATE") {
		s.Offer = old.Offer
	}
	c.set(func(rec *record) { rec.Legs[side].Session = s })
	return true
}

// withoutTimer strips a 2xx of what its receiver did not ask for and does not
// support.
func withoutTimer(out *response) {
	required := out.values("require")
	out.without("session-expires")
	if !dialog.Lists(required, "timer") {
		return
	}
	out.without("require")
	others := slices.DeleteFunc(dialog.SplitList(strings.Join(required, ",")), func(tag string) bool {
		return strings.EqualFold(tag, "timer")
	})
	if len(others) > 0 {
		out.add("Require", strings.Join(others, ", "))
	}
}

// keepTimer has a request that goes to a leg with a session timer carry it on,
// RFC 4028 section 7.4, where the far end that sent it knows no timers: its 2xx
// would turn the timer off.
//
// Departs from RFC 4028 section 7.1: what else is relayed lists timer only if
// the far end that sent it does. So the other one knows better than to leave
// the refreshing to it.
func (c *call) keepTimer(side store.Side, in *inbound, out *request) {
	if in.method != "INVITE" && in.method != "UPDATE" {
		return
	}
	if s := c.dialog(side).Session; s.Refresher != "" && !timerOf(in.req).Supported {
		withTimer(out, s)
	}
}

// withTimer puts a leg's session timer into a request.
func withTimer(out *request, s store.Session) {
	out.without("session-expires", "min-se")
	out.add("Supported", "timer")
	out.add("Session-Expires", dialog.SessionAsked(s))
	if s.MinSE > 0 {
		out.add("Min-SE", dialog.FormatSeconds(s.MinSE))
	}
}

// raised takes a 422 to a request that carries a session timer of ours, and
// says whether it can be sent again with the interval that is asked for: once,
// RFC 4028 section 7.3.
func (c *call) raised(side store.Side, in *inbound, res *received) bool {
	if res.status != 422 || in.raised || timerOf(in.req).Supported {
		return false
	}
	in.raised = c.raise(side, timerOf(res).MinSE)
	return in.raised
}

// raise notes the least interval that a leg's far end takes, RFC 4028 section
// 7.4, and says whether it is above what we asked for.
func (c *call) raise(side store.Side, minSE time.Duration) bool {
	s := c.dialog(side).Session
	if s.Refresher == "" || minSE <= max(s.Interval, s.MinSE, dialog.ShortestSession) {
		return false
	}
	s.MinSE = minSE
	c.set(func(rec *record) { rec.Legs[side].Session = s })
	return true
}

// sessionDue is when a leg's session timer asks something of us.
//
// A far end that refreshes the session of both legs begins its time anew with
// each refresh of ours, such as a probe by UPDATE, and its own then comes when
// the other far end has given the session up, RFC 4028 section 10. So where its
// own does not come in time that leg is refreshed by us.
func (c *call) sessionDue(side store.Side) (due time.Time, ok bool) {
	d, other := c.dialog(side), c.dialog(side.Other())
	s := d.Session
	if s.Refresher != store.Other {
		return dialog.SessionDue(s)
	}
	putOff := other.Session.Refreshed.Sub(s.Refreshed) > stall
	usual, last := s.Interval/2, s.Interval-dialog.SessionMargin(s)
	return s.Refreshed.Add((usual + last) / 2), putOff && dialog.Lists([]string{d.Allow}, "UPDATE")
}

// timedLeg is the leg whose session timer asks something of us next. What was
// not refreshed in time comes before what we are to refresh.
func (c *call) timedLeg() (next store.Side, due time.Time, ok bool) {
	for _, side := range store.Sides {
		at, asks := c.sessionDue(side)
		if asks && c.dialog(side).Session.Refresher == store.Peer && !time.Now().Before(at) {
			return side, at, true
		}
		if asks && (!ok || at.Before(due)) {
			next, due, ok = side, at, true
		}
	}
	return next, due, ok
}

// wind sets the clock to what the session timers ask for next, or stops it.
func (c *call) wind() {
	if _, due, ok := c.timedLeg(); ok {
		c.schedule(due)
	} else {
		c.unwind()
	}
}

func (c *call) schedule(due time.Time) {
	if c.clock == nil {
		c.clock = &clock{}
	}
	c.clock.due = due
	if c.clock.timer != nil {
		c.clock.timer.Reset(time.Until(due))
		return
	}
	c.clock.timer = time.AfterFunc(time.Until(due), func() {
		if !c.agent.closing.Load() {
			c.agent.work.Go(func() { c.do(c.onClock) })
		}
	})
}

// unwind stops the clock for good.
func (c *call) unwind() {
	if c.clock != nil && c.clock.timer != nil {
		c.clock.timer.Stop()
	}
	c.clock = nil
}

// stall is how late the clock may be. What was to come meanwhile may not have
// been read yet when the process was stalled for longer.
const stall = time.Second

// onClock does what the session timer asks for.
func (c *call) onClock() {
	if c.clock == nil || time.Now().Before(c.clock.due) || c.state() != store.Confirmed {
		return
	}
	side, _, ok := c.timedLeg()
	if !ok {
		return
	}
	select {
	case <-c.agent.serving:
	default:
		c.schedule(time.Now().Add(time.Second))
		return
	}
	s := c.dialog(side).Session
	switch {
	case s.Refresher == store.Peer && (c.inv != nil || c.updating() || time.Since(c.clock.due) > stall):
		c.schedule(time.Now().Add(dialog.SessionMargin(s))) // a refresh may be on its way
	case !c.agent.may():
		c.schedule(time.Now().Add(patience))
	case s.Refresher != store.Peer:
		c.renew(side)
	default:
		// RFC 4028 section 10. A proxy must not, by RFC 4028 section 8.3; but we
		// are a user agent on each leg.
		c.agent.log.Info("session was not refreshed", c.fields(zap.String("leg", side.String()),
			zap.Duration("interval", s.Interval), zap.Time("refreshed", s.Refreshed))...)
		c.release(store.End{Reason: store.SessionExpired, Status: 408,
			Text: side.String() + " did not refresh the session"})
	}
}

// resumeTimer goes on with the session timer of a call that was read back. A
// far end may have refreshed the session while nobody listened, so it has the
// whole interval again: a restart by itself ends no call. Our own refreshes go
// on from the last one that is known, at once if need be, but those of all
// calls not at the same moment.
func (c *call) resumeTimer() {
	now := time.Now()
	soonest := now.Add(spread())
	for _, side := range store.Sides {
		s := c.dialog(side).Session
		due, _ := dialog.SessionDue(s)
		switch ahead := s.Refreshed.After(now); { // by a clock that was ahead
		case s.Refresher == store.Peer, s.Refresher == store.Other && ahead:
			s.Refreshed = now
		case s.Refresher == store.Self && (due.Before(soonest) || ahead):
			s.Refreshed = soonest.Add(-s.Interval / 2)
		}
		c.set(func(rec *record) { rec.Legs[side].Session = s })
	}
	if _, due, ok := c.timedLeg(); ok {
		c.schedule(later(due, soonest))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
