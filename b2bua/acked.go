package b2bua

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/store"
)

// repetition sends a 2xx of ours again until its ACK comes, RFC 3261 section
// 13.3.1.4.
type repetition struct {
	call     *call
	inv      *invite
	interval time.Duration // until it is sent again
	left     time.Duration // until it is given up
}

func (c *call) repeat(inv *invite) {
	inv.in.tx.listenAck(func(ack *received) { // as of RFC 2543
		c.do(func() {
			in := &inbound{req: ack, tx: inv.in.tx, agent: c.agent, method: "ACK", source: ack.source, cseq: ack.cseq}
			c.onAck(inv.from, in)
		})
	})
	r := &repetition{c, inv, sip.T1, 64 * sip.T1}
	c.agent.transaction.waits.after(r.interval, r, wakeRepeat)
}

// wake implements waker.
func (r *repetition) wake(wake) {
	if !r.inv.acked.Load() {
		r.call.do(r.again)
	}
}

func (r *repetition) again() {
	if r.inv.acked.Load() {
		return
	}
	r.left -= r.interval
	if r.left <= 0 {
		r.call.noAck(r.inv)
		return
	}
	r.inv.in.tx.resend()
	r.interval = min(2*r.interval, sip.T2, r.left)
	r.call.agent.transaction.waits.after(r.interval, r, wakeRepeat)
}

// onAck completes the INVITE that it belongs to; any other ACK is a repetition.
func (c *call) onAck(side store.Side, in *inbound) {
	inv := c.inv
	if inv == nil || inv.from != side || inv.answer == nil || in.cseq != inv.in.cseq {
		return
	}
	c.evidence(side, "ACK")
	c.acked(inv, in.req)
	if c.end != nil && c.end.waiting {
		c.end.waiting = false
		c.bye(side)
	}
}

// acked completes an INVITE; with the ACK of the first the call is confirmed.
func (c *call) acked(inv *invite, ack *received) {
	c.complete(inv, ack)
	if inv.initial && c.end == nil {
		c.agent.observer.Confirmed(c.snapshot())
	}
}

// complete passes an ACK on, or makes one up, and lets go of the INVITE. A
// release has sent the ACK already.
func (c *call) complete(inv *invite, ack *received) {
	if inv.ack == nil {
		c.sendAck(inv, ack)
	}
	if ack != nil {
		c.described(inv.from.Other(), ack)
	}
	c.keepOffer(inv)
	c.agreed(inv)
	inv.acked.Store(true)
	inv.in.tx.listenAck(nil)
	inv.rest()
	c.inv = nil
}

// rest lets go of what is not needed to acknowledge the 2xx once more, or one of
// another fork: an INVITE stays for as long as these may come.
func (inv *invite) rest() {
	inv.in, inv.out, inv.answer, inv.ring = nil, nil, nil, nil
	inv.targets, inv.hops, inv.instead, inv.told, inv.said = nil, nil, nil, nil, [2][]byte{}
	if inv.fork != nil {
		inv.fork.legs = nil // they are those of the call
	}
	inv.attempt.rest()
}

// noAck gives up waiting, RFC 3261 section 13.3.1.4: the session is ended.
func (c *call) noAck(inv *invite) {
	if c.inv != inv || inv.answer == nil {
		return
	}
	c.complete(inv, nil)
	if c.end != nil {
		if c.end.waiting {
			c.end.waiting = false
			c.bye(inv.from)
		}
		return
	}
	c.release(store.End{Reason: store.NoAck, Status: 408})
}

// sendAck acknowledges the other leg's 2xx, RFC 3261 section 13.2.2.4, with
// what the ACK of this leg carries.
func (c *call) sendAck(inv *invite, ack *received) {
	d := c.dialog(inv.from.Other())
	out := c.agent.newRequest(d, inDialog(d, outline{method: "ACK", cseq: inv.outCSeq}))
	if ack != nil {
		c.relayHeaders(&out.header, ack, inv.from.Other())
		c.acceptSession(inv.from, ack)
		out.body = ack.body
	} else {
		c.ownSession(&out.header, inv.from.Other())
	}
	inv.attempt.vouch(out)
	inv.ack = out
	c.agent.write(out)
}

// ackLate acknowledges a 2xx to an INVITE that this process knows nothing of any
// more, most likely of the run before it: RFC 3261 section 13.2.2.4. A far end
// that gets no ACK ends its call.
func (c *call) ackLate(side store.Side, res *received) {
	d := c.dialog(side)
	out := c.agent.newRequest(d, inDialog(d, outline{method: "ACK", cseq: res.cseq}))
	c.ownSession(&out.header, side)
	c.agent.write(out)
}
