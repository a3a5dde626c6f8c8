package b2bua

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// ending is the release of a call that was answered: a BYE on each leg whose
// far end did not send one, followed to its end.
type ending struct {
	bye      *received   // the BYE that began it, nil when we did
	waiting  bool        // the caller's BYE waits for its ACK
	farewell *time.Timer // ends the lingering of the call, see linger
}

// Release ends a call with BYE on both legs, or gives its INVITE up when it is
// not answered yet. It is false when there is no such call or its release has
// begun already. How it went comes with the observer's Ended.
func (a *Agent) Release(id string, end store.End) bool {
	c := a.call(id)
	if c == nil || c.snapshot().State == store.Ending {
		return false
	}
	c.do(func() { c.release(end) })
	return true
}

// release is Release with the turn.
func (c *call) release(end store.End) {
	if c.end != nil || c.state() == store.Terminated {
		return
	}
	if c.rec.Answered.IsZero() {
		if c.inv != nil {
			c.cancel(c.inv, end.Reason, nil)
		}
		return
	}
	if !c.agent.may() {
		c.agent.postpone(c.id, end)
		return
	}
	c.begin(end)
	c.settle()
	for _, side := range store.Sides {
		if !(side == store.Caller && c.end.waiting) {
			c.bye(side)
		}
	}
}

// lost releases a call because this side answered 481 to a request that we
// relayed, RFC 3261 section 12.2.1.2.
func (c *call) lost(side store.Side) {
	c.release(store.End{Reason: side.Gone(), Status: 481})
}

// begin moves the call to ending, once.
func (c *call) begin(end store.End) {
	if end.At.IsZero() {
		end.At = time.Now()
	}
	c.end = &ending{}
	c.set(func(rec *record) {
		rec.State = store.Ending
		rec.End = end
	})
	if c.stored {
		c.save()
	}
	// A broken observer must not keep the BYEs from going out.
	guarded(func() { c.agent.observer.Ending(c.id, end) }, c.agent.panicked)
}

// settle brings the requests that are on their way to their end before the
// BYEs.
func (c *call) settle() {
	c.stopTransits()
	inv := c.inv
	switch {
	case inv == nil:
	case inv.answer == nil:
		inv.in.answer(487) // RFC 3261 section 15.1.2
		inv.stopRing()
		c.inv = nil
		c.expire(inv)
	case inv.initial:
		// RFC 3261 section 15: no BYE to the caller before its ACK.
		c.sendAck(inv, nil)
		c.end.waiting = true
	default:
		c.complete(inv, nil)
	}
}

// onBye serves a BYE: it is always answered 200, RFC 3261 section 15.1.2, and
// passed to the other leg.
func (c *call) onBye(side store.Side, in *inbound) {
	in.answer(200)
	if c.end != nil { // crossed ours
		if c.rec.End.Reason == side.Gone() {
			// Who has sent BYE knows of no call any more, RFC 3261 section 15.1.1,
			// and its 481 may overtake its BYE: it has hung up, it was not lost.
			c.set(func(rec *record) { rec.End.Reason, rec.End.Status, rec.End.Text = side.Bye(), 0, "" })
		}
		if c.end.waiting && side == store.Caller {
			c.end.waiting = false
			c.complete(c.inv, nil)
		}
		c.released(side, store.ReleaseConfirmed)
		return
	}
	if c.rec.Answered.IsZero() {
		if c.inv != nil && !c.leave(side, in) { // BYE on an early dialog
			c.cancel(c.inv, side.Bye(), nil)
		}
		return
	}
	c.begin(store.End{Reason: side.Bye()})
	c.end.bye = in.req
	c.settle()
	if c.end.waiting && side == store.Caller {
		c.end.waiting = false
		c.complete(c.inv, nil)
	}
	c.released(side, store.ReleaseConfirmed)
	if c.end.waiting {
		return // the caller's turn comes with its ACK
	}
	c.bye(side.Other())
}

// bye sends BYE on a leg and follows it to its end. A 500 may mean that a
// takeover went below the far end's last number: once more, higher. A call that
// was read back and has no numbers yet sends its BYEs when it has, see resume.
func (c *call) bye(side store.Side) {
	if c.rec.End.Released[side] == "" && !c.waits() {
		c.sendBye(side, 1)
	}
}

// sendBye sends a BYE, and as many more after a 500.
func (c *call) sendBye(side store.Side, more int) {
	cseq, ok := c.spend(side)
	if !ok {
		c.byeDone(side, nil, errors.New("no CSeq is covered by the store"))
		return
	}
	d := c.dialog(side)
	out := c.agent.newRequest(d, inDialog(d, outline{method: "BYE", cseq: cseq}))
	if c.end.bye != nil {
		c.relayHeaders(&out.header, c.end.bye, side)
		out.body = c.end.bye.body
	} else {
		if v := reasonHeader(c.rec.End); v != "" {
			out.add("Reason", v)
		}
		c.ownSession(&out.header, side)
	}
	at := c.attempt(side, out)
	_, _, at.around = dialog.NextHop(d)
	if d.Transport == "udp" {
		c.askBye(at, more)
		return
	}
	// Opening a connection may take long; the other leg need not wait for it.
	c.agent.work.Go(func() { c.askBye(at, more) })
}

func (c *call) askBye(at *attempt, more int) {
	err := c.ask(at, func(res *received) {
		switch {
		case res.status < 200:
		case res.status == 500 && more > 0:
			c.sendBye(at.side, more-1)
		default:
			c.byeDone(at.side, res, nil)
		}
	}, func(err error) {
		// Timer F may have fired because this process stood still.
		c.agent.work.Go(func() {
			c.agent.recollect()
			c.do(func() { c.byeDone(at.side, nil, err) })
		})
	})
	if err != nil {
		c.do(func() { c.byeDone(at.side, nil, err) })
	}
}

// byeDone notes how the release of a leg went, RFC 3261 section 15.1.1.
func (c *call) byeDone(side store.Side, res *received, err error) {
	outcome := store.ReleaseUnconfirmed
	switch {
	case err != nil:
		c.agent.log.Info("BYE got no answer", c.fields(zap.String("leg", side.String()),
			zap.String("peer", c.dialog(side).Peer), zap.Error(err))...)
	case res.status < 300:
		outcome = store.ReleaseConfirmed
	case res.status == 481:
		outcome = store.ReleaseAlreadyGone
	default:
		c.agent.log.Info("BYE was refused", c.fields(zap.String("leg", side.String()),
			zap.String("peer", c.dialog(side).Peer), zap.Int("status", res.status))...)
	}
	c.released(side, outcome)
}

// released notes the first outcome of a leg; with both the call is over.
func (c *call) released(side store.Side, outcome store.Outcome) {
	if c.rec.End.Released[side] == "" {
		c.set(func(rec *record) { rec.End.Released[side] = outcome })
	}
	c.over()
}

// over ends the call when both legs are released.
func (c *call) over() {
	if r := c.rec.End.Released; r[store.Caller] != "" && r[store.Callee] != "" {
		c.finish(c.rec.End)
	}
}

// reasonHeader says in a BYE of ours why it comes, RFC 3326 section 2, with
// the causes of RFC 3398 section 8.2.6.1.
func reasonHeader(end store.End) string {
	const both = `SIP;cause=%d;text=%s, Q.850;cause=%d`
	switch end.Reason {
	case store.Caller.Gone(), store.Callee.Gone():
		status := end.Status
		if status == 0 {
			status = 481
		}
		return fmt.Sprintf(both, status, strconv.Quote(reasonPhrase(status)), 41)
	case store.Caller.Silent(), store.Callee.Silent():
		return fmt.Sprintf(both, 408, strconv.Quote("No answer inside the dialog"), 102)
	case store.NoAck:
		return fmt.Sprintf(both, 408, strconv.Quote("ACK did not come"), 102)
	case store.SessionExpired:
		return fmt.Sprintf(both, 408, strconv.Quote("Session expired"), 102)
	case store.MaxDuration:
		return `Q.850;cause=102;text="Maximum duration of a call"`
	case store.Operator:
		return `Q.850;cause=31;text="Released by operator"`
	case store.CallerCancel, store.NoAnswer:
		return fmt.Sprintf(both, 487, strconv.Quote(reasonPhrase(487)), 16)
	default:
		return ""
	}
}
