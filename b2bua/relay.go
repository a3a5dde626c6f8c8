package b2bua

import (
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// relay passes a request other than INVITE and BYE to the other leg, with that
// leg's own number, and its answer back.
func (c *call) relay(side store.Side, in *inbound) {
	other := side.Other()
	if c.dialog(other).RemoteTag == "" && c.rec.Answered.IsZero() {
		in.answer(481) // there is no dialog yet on the other leg
		return
	}
	out, f := c.across(side, in)
	if f != nil {
		in.refuse(f)
		return
	}
	c.subscribing(side, in, out)
	err := c.ask(c.attempt(other, out), func(res *sip.Response) {
		c.onRelayed(side, in, res)
	}, func(err error) {
		c.subscribed(side, in, nil)
		// RFC 4320 section 4.1: a request that got no answer gets none from us,
		// and never 408.
		if errors.Is(err, sip.ErrTransactionTimeout) {
			in.tx.Terminate()
			return
		}
		in.answer(500)
	})
	if err != nil {
		c.moveOn(other, out.Destination())
		c.subscribed(side, in, nil)
		in.answer(500)
	}
}

// across builds the request of one leg for the other one.
func (c *call) across(side store.Side, in *inbound) (*sip.Request, *fault) {
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
		out.AppendHeader(sip.NewHeader("RAck", rack))
	}
	c.relayHeaders(out, in.req, other)
	c.keepTimer(other, in, out)
	out.SetBody(in.req.Body())
	return out, nil
}

// translateRAck names the other leg's INVITE in a PRACK, RFC 3262 section 7.2.
func (c *call) translateRAck(side store.Side, in *inbound) (string, bool) {
	rseq, cseq, method, err := dialog.RAck(value(in.req, "rack"))
	inv := c.inv
	if err != nil || inv == nil || inv.from != side || cseq != inv.in.cseq || method != "INVITE" {
		return "", false
	}
	return dialog.FormatRAck(rseq, inv.outCSeq, method), true
}

// onRelayed passes an answer back.
func (c *call) onRelayed(side store.Side, in *inbound, res *sip.Response) {
	if res.StatusCode < 200 {
		return // RFC 4320 section 4.1: no provisional response but 100, and that late
	}
	other := side.Other()
	if res.StatusCode != 481 && res.StatusCode != 408 {
		c.evidence(other, strconv.Itoa(res.StatusCode)+" "+in.method)
	}
	if in.method == "UPDATE" && c.raised(other, in, res) {
		c.relay(side, in)
		return
	}
	out := c.relayed(in, side, res)
	switch {
	case res.StatusCode >= 300:
	case in.method == "UPDATE": // RFC 3311 section 5.1
		c.refresh(other, res)
		c.refresh(side, in.req)
		c.negotiated(side, in, res, out)
	case in.method == "PRACK":
		c.described(other, in.req)
		c.described(side, res)
	}
	c.subscribed(side, in, res)
	in.send(out)
	if res.StatusCode == 481 && (in.method == "UPDATE" || in.method == "INFO") {
		// Of RFC 5057 section 5.1's usages these belong to the session; a 481 to
		// NOTIFY or REFER ends a subscription only.
		c.lost(other)
	}
}

// onReinvite passes a re-INVITE on, one at a time in both directions, RFC 3261
// sections 14.1 and 14.2.
func (c *call) onReinvite(side store.Side, in *inbound) {
	switch {
	case c.inv != nil && c.inv.from == side && c.inv.answer == nil:
		retry := strconv.Itoa(rand.IntN(11))
		in.refuse(&fault{500, "", []string{"Retry-After", retry}})
		return
	case c.inv != nil, c.renewing():
		in.answer(491)
		return
	}
	in.answer(100)
	inv := &invite{from: side, in: in, acked: make(chan struct{})}
	c.inv = inv
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
