package b2bua

import (
	"slices"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// maxForks bounds the dialogs that one INVITE may make downstream by ringing, and
// once more as many by answering. What more of them say is not heard.
const maxForks = 16

// fork is one of the dialogs that a call's INVITE has made downstream, with a
// dialog of its own towards the caller: each To tag makes one, RFC 3261
// sections 12.1.2 and 13.2.2.4. The record shows one fork at a time, that of
// the event that is being served; the others wait here with their numbers,
// targets and route sets. The first that answers stays in the record.
type fork struct {
	tag  string // the far end's
	legs *[2]store.Dialog
	ack  *request // of its 2xx, when another one had the call already
	left bool     // the caller has hung up on it
}

// forkOf is the fork with the tag of a response, a new one if need be; nil when
// there are too many. The caller knows the first by the tag of the call, the others by
// that tag with a number.
func (c *call) forkOf(inv *invite, res *received) *fork {
	tag := res.toTag
	for _, f := range inv.forks {
		if f.tag == tag {
			return f
		}
	}
	limit := maxForks
	if res.status >= 200 {
		limit = 2 * maxForks
	}
	if len(inv.forks) >= limit {
		return nil
	}
	if len(inv.forks) == 0 {
		inv.blank = c.legs()
	}
	f := &fork{tag: tag, legs: inv.blank} // the first has copies of its own once another is entered
	if inv.forked > 0 {
		legs := *inv.blank
		legs[store.Caller].LocalTag = dialog.ForkTag(legs[store.Caller].LocalTag, inv.forked)
		f.legs = &legs
	}
	inv.forked++
	inv.forks = append(inv.forks, f)
	return f
}

// enter puts a fork into the record.
func (c *call) enter(inv *invite, f *fork) {
	if inv.fork == f {
		return
	}
	if inv.fork != nil {
		inv.fork.legs = c.legs()
	}
	inv.fork = f
	c.setLegs(*f.legs)
	inv.in.tag = f.legs[store.Caller].LocalTag
}

// unfork forgets the forks of an INVITE before it is sent once more.
func (c *call) unfork(inv *invite) {
	if len(inv.forks) == 0 {
		return
	}
	c.setLegs(*inv.blank)
	inv.forks, inv.fork = nil, nil
}

func (c *call) legs() *[2]store.Dialog {
	return &[2]store.Dialog{*c.dialog(store.Caller), *c.dialog(store.Callee)}
}

func (c *call) setLegs(legs [2]store.Dialog) {
	c.set(func(rec *record) {
		for i := range rec.Legs {
			rec.Legs[i].Dialog = legs[i]
		}
	})
}

// early is the INVITE of the call while its forks are all there, else nil.
func (c *call) early() *invite {
	if c.inv != nil && c.inv.initial && c.inv.answer == nil && c.end == nil {
		return c.inv
	}
	return nil
}

// owns says whether a request belongs to this leg: both tags and the Call-ID,
// RFC 3261 section 12.2.2. If so the record shows its fork.
func (c *call) owns(side store.Side, in *inbound) bool {
	from := in.req.fromTag
	inv := c.early()
	if inv == nil || len(inv.forks) == 0 {
		d := c.dialog(side)
		return c.names(d, in) && d.RemoteTag == from
	}
	for _, f := range inv.forks {
		d := &f.legs[side]
		if f == inv.fork {
			d = c.dialog(side)
		}
		if c.names(d, in) && d.RemoteTag == from && !f.left {
			c.enter(inv, f)
			return true
		}
	}
	return false
}

// names says whether a request has our tag and the Call-ID of a dialog.
func (c *call) names(d *store.Dialog, in *inbound) bool {
	return d.LocalTag == in.tag && d.CallID == in.req.callID
}

// overtook says whether a request may be of a fork whose response has not come
// yet.
func (c *call) overtook(side store.Side, in *inbound) bool {
	inv := c.early()
	return inv != nil && side == store.Callee && c.names(c.dialog(side), in) && len(inv.forks) < maxForks &&
		!slices.ContainsFunc(inv.forks, func(f *fork) bool { return f.tag == in.req.fromTag })
}

// onOvertaker serves such a request: it is to come again when there is a dialog
// for it. A BYE says that the call was answered and is over.
func (c *call) onOvertaker(in *inbound) {
	if in.method == "BYE" && len(c.inv.forks) == 0 {
		in.answer(200)
		c.cancel(c.inv, store.Callee.Bye(), nil)
		return
	}
	in.refuse(&fault{500, "Dialog Not Known Yet", []string{"Retry-After", "1"}})
}

// leave passes a BYE of the caller on that ends one of several early dialogs and
// not the call, RFC 3261 section 15.
func (c *call) leave(side store.Side, in *inbound) bool {
	inv := c.early()
	if inv == nil || side != store.Caller || inv.cancelled != "" {
		return false
	}
	there := 0
	for _, f := range inv.forks {
		if !f.left {
			there++
		}
	}
	if there < 2 {
		return false
	}
	out, f := c.across(side, in)
	if f != nil {
		return false
	}
	inv.fork.left = true
	c.agent.follow(out, c.trunk(store.Callee))
	return true
}

// fork is the one that the record shows, nil once the call is answered.
func (c *call) fork() *fork {
	if inv := c.early(); inv != nil {
		return inv.fork
	}
	return nil
}

// reenter has the record show the fork that something began in; false when
// that has lost the call.
func (c *call) reenter(f *fork) bool {
	inv := c.early()
	if f == nil {
		return true
	}
	if inv == nil {
		return c.dialog(store.Callee).RemoteTag == f.tag
	}
	for _, there := range inv.forks {
		if there == f {
			c.enter(inv, f)
			return true
		}
	}
	return false
}

// onRepeated2xx acknowledges a 2xx once more. A 2xx of another fork is one too
// many: ACK and BYE, RFC 3261 section 13.2.2.4.
func (c *call) onRepeated2xx(inv *invite, res *received) {
	if res.toTag == c.dialog(inv.from.Other()).RemoteTag {
		if inv.ack != nil {
			c.agent.write(inv.ack)
		}
		return
	}
	if !inv.initial {
		return
	}
	f := c.forkOf(inv, res)
	switch {
	case f == nil || f == inv.fork:
	case f.ack != nil:
		c.agent.write(f.ack)
	default:
		c.agent.metrics.surplus.Inc()
		f.ack = c.agent.decline(&f.legs[store.Callee], inv.attempt, c.trunk(store.Callee), res)
	}
}
