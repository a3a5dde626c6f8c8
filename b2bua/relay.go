package b2bua

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// mostTransits bounds the requests of one call that are on their way. A far end
// that is silent has each of them waited for, and sent again, for 32 s.
const mostTransits = 256

// transit is a request on its way from one leg to the other.
type transit struct {
	side store.Side // where it came from
	in   *inbound
	fork *fork // of the dialog that it came in, while there are several
}

// relay passes a request other than INVITE and BYE to the other leg, with that
// leg's own number, and its answer back.
func (c *call) relay(side store.Side, in *inbound) {
	other := side.Other()
	if c.dialog(other).RemoteTag == "" && c.rec.Answered.IsZero() {
		in.answer(481) // there is no dialog yet on the other leg
		return
	}
	if f := c.crossing(side, in); f != nil {
		in.refuse(f)
		return
	}
	if len(c.transits) >= mostTransits {
		in.later("Too Many Requests Under Way")
		return
	}
	out, f := c.across(side, in)
	if f != nil {
		in.refuse(f)
		return
	}
	c.subscribing(side, in, out)
	tr := &transit{side, in, c.fork()}
	c.transits = append(c.transits, tr)
	failed := func(err error) {
		if !c.arrived(tr) {
			return
		}
		c.subscribed(side, in, nil)
		// RFC 4320 section 4.1: a request that got no answer gets none from us,
		// and never 408.
		if errors.Is(err, sip.ErrTransactionTimeout) {
			in.tx.terminate()
			return
		}
		c.moveOn(other, out.to, err)
		in.answer(500)
	}
	err := c.ask(c.attempt(other, out), func(res *received) {
		// RFC 4320 section 4.1: no provisional response but 100, and that late.
		if res.status >= 200 && c.arrived(tr) {
			c.onRelayed(side, in, res)
		}
	}, failed)
	if err != nil {
		failed(err)
	}
}

// arrived takes a request off the list of those on their way; false when it
// has been answered, or its fork has lost the call.
func (c *call) arrived(tr *transit) bool {
	i := slices.Index(c.transits, tr)
	if i < 0 {
		return false
	}
	c.transits = slices.Delete(c.transits, i, i+1)
	if !c.reenter(tr.fork) {
		tr.in.answer(487)
		return false
	}
	return true
}

// stopTransits answers the requests that are on their way when their dialog
// ends, RFC 3261 section 15.1.2, but for those of subscriptions, which go on.
func (c *call) stopTransits() {
	c.transits = slices.DeleteFunc(c.transits, func(tr *transit) bool {
		if c.outlives(tr.side, tr.in) {
			return false
		}
		tr.in.answer(487)
		return true
	})
}

// across builds the request of one leg for the other one.
func (c *call) across(side store.Side, in *inbound) (*request, *fault) {
	mf, ok := forwards(in.req)
	if !ok {
		return nil, &fault{status: 483}
	}
	var rack string
	if in.method == "PRACK" {
		if rack, ok = c.translateRAck(side, in); !ok {
			return nil, &fault{status: 481} // RFC 3262 section 3
		}
	}
	other := side.Other()
	cseq, ok := c.spend(other)
	if !ok {
		return nil, &fault{503, "No CSeq Covered", []string{"Retry-After", "5"}}
	}
	d := c.dialog(other)
	out := c.agent.newRequest(d, inDialog(d, outline{
		method: in.method, cseq: cseq, maxForwards: mf, contact: refreshes[in.method],
	}))
	if rack != "" {
		out.add("RAck", rack)
	}
	c.relayHeaders(&out.header, in.req, other)
	c.keepTimer(other, in, out)
	out.body = in.req.body
	return out, nil
}

// translateRAck names the other leg's INVITE in a PRACK, RFC 3262 section 7.2.
// A PRACK may come after the final answer, RFC 3262 section 3, and so after the
// ACK.
func (c *call) translateRAck(side store.Side, in *inbound) (string, bool) {
	rseq, cseq, method, err := dialog.RAck(value(in.req, "rack"))
	out := c.inviteCSeq[side.Other()]
	if err != nil || out == 0 || c.inviteFrom != side || cseq != c.inviteCSeq[side] || method != "INVITE" {
		return "", false
	}
	return dialog.FormatRAck(rseq, out, method), true
}

// onRelayed passes an answer back.
func (c *call) onRelayed(side store.Side, in *inbound, res *received) {
	other := side.Other()
	if res.status == 408 { // a proxy's; passed on it would end the call: RFC 4320 section 4.2, RFC 3261 section 12.2.1.2
		c.subscribed(side, in, res)
		in.answer(504)
		return
	}
	if res.status != 481 {
		c.evidence(other, strconv.Itoa(res.status)+" "+in.method)
	}
	if in.method == "UPDATE" && c.raised(other, in, res) {
		c.relay(side, in)
		return
	}
	out := c.relayed(in, side, res)
	switch {
	case res.status >= 300:
	case in.method == "UPDATE": // RFC 3311 section 5.1
		c.refresh(other, res, res.source)
		c.refresh(side, in.req, in.source)
		c.negotiated(side, in, res, out)
	case in.method == "PRACK":
		c.described(other, in.req)
		c.described(side, res)
	}
	c.subscribed(side, in, res)
	in.send(out)
	if res.status == 481 && !c.rec.Answered.IsZero() && (in.method == "UPDATE" || in.method == "INFO") {
		// While it rings the INVITE has its own answer. Of the usages of RFC
		// 5057 section 5.1 these belong to the session; a 481 to
		// NOTIFY or REFER ends a subscription only.
		c.lost(other)
	}
}

// onReinvite passes a re-INVITE on, one at a time in both directions.
func (c *call) onReinvite(side store.Side, in *inbound) {
	if c.ackIsLost(side) {
		// Whoever asks again has our 2xx, so its ACK was lost or comes late,
		// RFC 5407 section 3.1.4.
		c.acked(c.inv, nil)
	}
	if f := c.crossing(side, in); f != nil {
		in.refuse(f)
		return
	}
	in.answer(100)
	inv := &invite{from: side, in: in}
	c.inv = inv
	c.negotiating(inv)
	if !c.listenCancel(inv) {
		in.answer(487)
		c.inv = nil
		return
	}
	c.resend(inv)
}

// resend sends a re-INVITE on, with the next number each time.
func (c *call) resend(inv *invite) {
	out, f := c.across(inv.from, inv.in)
	if f == nil {
		if c.sendInvite(inv, c.attempt(inv.from.Other(), out)) == nil {
			return
		}
		f = &fault{status: 503}
	}
	inv.stopRing()
	c.inv = nil
	inv.in.refuse(f)
}

// ackIsLost says whether a re-INVITE of this side stands for the ACK that we
// wait for. An ACK that has the SDP answer cannot be done without.
func (c *call) ackIsLost(side store.Side) bool {
	inv := c.inv
	return inv != nil && inv.from == side && inv.answer != nil && c.end == nil && offers(inv.in.req)
}

// crossing is why an INVITE or UPDATE cannot go on now, nil if it can. RFC 3261
// section 14.2 has one INVITE at a time, in both directions; RFC 3311 section
// 5.2 has one UPDATE of each side, and of those with an offer one at all. What
// crosses gets 491: the later one.
func (c *call) crossing(side store.Side, in *inbound) *fault {
	var own bool
	others := c.own != nil && (in.method == "INVITE" || offers(in.req))
	switch inv := c.inv; {
	case inv == nil:
	case in.method == "INVITE":
		own = inv.from == side && inv.answer == nil
		others = !own
	case !inv.initial && inv.answer == nil && !inv.settled && offers(inv.in.req) && offers(in.req):
		own = inv.from == side
		others = !own
	}
	for _, tr := range c.transits {
		if tr.in.method == "UPDATE" && tr.fork == c.fork() {
			offered := offers(tr.in.req) && offers(in.req)
			own = own || tr.side == side && (in.method == "UPDATE" || offered)
			others = others || tr.side != side && offered
		}
	}
	switch {
	case in.method != "INVITE" && in.method != "UPDATE":
		return nil
	case own:
		return &fault{500, "", []string{"Retry-After", strconv.Itoa(rand.IntN(11))}}
	case others:
		return &fault{status: 491}
	}
	return nil
}

// offers says whether a request of a session carries a description of it.
func offers(m *received) bool { return len(m.body) > 0 }
