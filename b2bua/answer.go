package b2bua

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// onInviteResponse serves an answer to an INVITE that we sent.
func (c *call) onInviteResponse(inv *invite, tx *clientTx, res *received) {
	if inv.outTx != tx {
		c.agent.onLate(res) // it was given up while its answer waited
		return
	}
	inv.final = res.status >= 200
	c.firstAnswer(inv.from.Other(), res.status)
	if inv.initial {
		c.agent.heard(inv.target.trunk, inv.hop, answerOf(res))
	}
	if c.early() == inv && res.toTag != "" && res.status > 100 && res.status < 300 {
		f := c.forkOf(inv, res)
		if f == nil || f.left && res.status < 200 {
			return
		}
		c.enter(inv, f)
		if f.left { // its 2xx crossed the BYE, and ends the INVITE for all
			inv.cancelled = store.Caller.Bye()
			inv.in.answer(487)
		}
	}
	if c.inv != inv {
		// The release overtook this INVITE. RFC 3261 section 13.2.2.4: a 2xx is
		// acknowledged all the same.
		if status := res.status; status >= 200 && status < 300 {
			c.sendAck(inv, nil)
		}
		return
	}
	if s := res.status; !inv.initial && s > 100 && s != 408 && s != 481 { // a proxy may send 100 and 408
		c.evidence(inv.from.Other(), strconv.Itoa(s)+" INVITE")
	}
	switch status := res.status; {
	case status < 200:
		c.onProvisional(inv, res)
	case status < 300:
		c.on2xx(inv, res)
	default:
		c.onRefused(inv, res)
	}
}

// onProvisional passes a 1xx on; 100 concerns only our transaction.
func (c *call) onProvisional(inv *invite, res *received) {
	first := !inv.ringing
	inv.ringing = true
	if inv.cancelled != "" {
		if first {
			c.sendCancel(inv)
		}
		return
	}
	if res.status == 100 {
		return
	}
	if inv.initial {
		c.learn(inv.from.Other(), res)
		c.set(func(rec *record) { rec.State = store.Early })
	} else if isReliable(res) {
		// RFC 6141 sections 4.6 and 4.7.
		inv.settled = true
		c.refresh(inv.from.Other(), res, res.source)
		c.refresh(inv.from, inv.in.req, inv.in.source)
	}
	c.described(inv.from, res)
	inv.in.send(c.relayed(inv.in, inv.from, res))
}

// isReliable says whether a provisional response is to be acknowledged by
// PRACK, RFC 3262 section 3.
func isReliable(res *received) bool {
	_, numbered := first(res, "rseq")
	return numbered && res.status > 100 && res.status < 200
}

// learn takes over what a response to the initial INVITE says of the dialog,
// RFC 3261 sections 12.1.2 and 13.2.2.4: the first one makes it, and the 2xx
// has the last word. Numbers are kept.
//
// Departs from RFC 3261 section 13.2.2.4: the remote target is that of the 2xx
// too and not the route set only, because whoever answers is often another
// than who rang. A reliable provisional response moves it likewise, others do
// not.
func (c *call) learn(side store.Side, res *received) {
	tag := res.toTag
	if tag == "" && res.status < 200 {
		return // no dialog yet
	}
	d := *c.dialog(side)
	known := d.RemoteTag == tag && tag != ""
	if known && res.status < 200 && !isReliable(res) {
		return
	}
	d.RemoteTag = tag
	if !known || res.status >= 200 {
		d.RouteSet = dialog.RouteSet(values(res, "record-route"), true)
	}
	if uri, err := contactURI(res); err == nil {
		d.Target = uri
	}
	if v, ok := first(res, "server"); ok {
		d.UserAgent = v
	} else if v, ok := first(res, "user-agent"); ok {
		d.UserAgent = v
	}
	if v, ok := first(res, "allow"); ok {
		d.Allow = v
	}
	saw(&d, res.source)
	c.set(func(rec *record) { rec.Legs[side].Dialog = d })
	c.locate(side)
}

// relayed is a response of one leg as it goes back to the other.
func (c *call) relayed(in *inbound, side store.Side, res *received) *response {
	out := in.reply(res.status, res.reason)
	status := res.status
	if in.method == "INVITE" && status > 100 && status < 300 && c.inv != nil && c.inv.initial {
		for _, v := range values(in.req, "record-route") { // RFC 3261 section 12.1.1
			out.add("Record-Route", v)
		}
	}
	if refreshes[in.method] && status > 100 && status < 300 {
		d := c.dialog(side)
		out.header = append(c.agent.appendContact(append(out.header, "Contact: "...), d, c.agent.socketFor(d.Transport, d.Listener, d.Peer)), "\r\n"...)
	} else {
		for _, v := range values(res, "contact") { // 3xx: where else to try
			out.add("Contact", v)
		}
	}
	c.relayHeaders(&out.header, res, side)
	if status < 400 && status >= 200 {
		c.acceptSession(side, in.req)
	}
	out.body = res.body
	return out
}

// refreshes are the methods whose requests and 2xx carry a Contact.
var refreshes = map[string]bool{
	"INVITE": true, "UPDATE": true, "SUBSCRIBE": true, "NOTIFY": true, "REFER": true,
}

// on2xx passes the answer on and waits for the ACK. The other leg gets its ACK
// when ours has come, because it may carry the SDP answer.
func (c *call) on2xx(inv *invite, res *received) {
	to := inv.from.Other()
	inv.stopRing()
	if inv.initial {
		c.learn(to, res)
	} else {
		c.refresh(to, res, res.source)
		c.refresh(inv.from, inv.in.req, inv.in.source)
	}
	if inv.cancelled != "" && inv.initial {
		c.tooLate(inv)
		return
	}
	inv.answer = c.relayed(inv.in, inv.from, res)
	c.negotiated(inv.from, inv.in, res, inv.answer)
	if inv.initial {
		c.set(func(rec *record) {
			rec.State = store.Confirmed
			rec.Answered = time.Now()
		})
		c.save()
	}
	inv.in.send(inv.answer)
	c.repeat(inv)
}

// tooLate releases a callee that answered although the call was given up, RFC
// 3261 section 9.1 and RFC 5407 section 3.1.2: ACK, then BYE.
func (c *call) tooLate(inv *invite) {
	c.sendAck(inv, nil)
	c.inv = nil
	c.begin(store.End{Reason: inv.cancelled, Status: 487})
	c.released(inv.from, store.ReleaseConfirmed)
	c.bye(inv.from.Other())
}

// refresh moves the remote target, RFC 3261 section 12.2: only INVITE and
// UPDATE do, and only when they succeed or, RFC 6141 section 4.3, get a reliable
// provisional response.
func (c *call) refresh(side store.Side, m *received, source netip.AddrPort) {
	uri, err := contactURI(m)
	if err != nil || uri == c.dialog(side).Target {
		return
	}
	c.set(func(rec *record) {
		d := &rec.Legs[side].Dialog
		d.Target = uri
		saw(d, source)
	})
	c.locate(side)
	if c.stored {
		c.save()
	}
}

// onRefused passes a final answer of 300 or more on. A call goes to its next
// target when this one does not work.
func (c *call) onRefused(inv *invite, res *received) {
	if inv.cancelled != "" {
		c.unchanged(inv)
		c.gaveUp(inv)
		return
	}
	if c.challenged(inv.attempt, res) {
		if err := c.sendInvite(inv, inv.attempt); err != nil {
			c.onInviteFailed(inv, inv.outTx, err)
		}
		return
	}
	if res.status == 482 && inv.copied && c.state() == store.Trying {
		c.askAnew(inv)
		return
	}
	if s := res.status; inv.initial && (s == 503 || s == 408) && c.state() == store.Trying && inv.more() {
		// RFC 3263 section 4.3. Departs from RFC 3263 section 4.3: 408 counts as a
		// time-out, whoever's; and whoever was heard to ring is not left.
		c.next(inv, &fault{status: s})
		return
	}
	switch {
	case inv.initial:
	case res.status == 408: // a proxy's: nobody answered
		c.onInviteFailed(inv, inv.outTx, sip.ErrTransactionTimeout)
		return
	case c.raised(inv.from.Other(), inv.in, res):
		c.resend(inv)
		return
	}
	inv.in.send(c.relayed(inv.in, inv.from, res))
	if inv.initial {
		c.abandon(inv, store.End{Reason: store.CalleeRejected, Status: res.status,
			Text: strings.TrimSpace(res.reason)})
		return
	}
	inv.stopRing()
	c.inv = nil
	c.unchanged(inv)
	if res.status == 481 {
		c.lost(inv.from.Other())
	}
}

// onInviteFailed serves an INVITE that got no answer or could not be sent.
func (c *call) onInviteFailed(inv *invite, tx *clientTx, err error) {
	if inv.outTx != tx || c.inv != inv || inv.answer != nil {
		return
	}
	c.failedThere(inv, err)
	if inv.cancelled != "" {
		c.gaveUp(inv)
		return
	}
	f := &fault{status: 503} // RFC 3261 section 8.1.3.1
	if errors.Is(err, sip.ErrTransactionTimeout) {
		f.status = 408
	}
	if inv.initial {
		if c.state() != store.Trying {
			inv.hops, inv.targets = nil, nil // the callee has been heard to ring
		}
		c.next(inv, f)
		return
	}
	inv.stopRing()
	if f.status == 408 { // would end the call for one miss: RFC 3261 section 12.2.1.2
		f.status = 504
	}
	inv.in.refuse(f)
	c.inv = nil
}

// gaveUp ends an INVITE that was cancelled and has no 2xx.
func (c *call) gaveUp(inv *invite) {
	if inv.initial {
		c.abandon(inv, store.End{Reason: inv.cancelled, Status: 487})
		return
	}
	inv.stopRing()
	inv.in.answer(487)
	c.inv = nil
}
