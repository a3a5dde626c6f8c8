package b2bua

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

const (
	patience   = 2 * time.Second  // before a refresh that cannot be sent now is tried again
	restSpread = 10 * time.Second // over which the refreshes that are due after a restart are spread
	leastPause = 5 * time.Second  // between a refresh that was refused, or got no answer, and the next
	mostRaises = 3                // times that one refresh is sent again after a 422
	mostOffer  = 8192             // bytes of a session description that is kept
)

// renewal is one refresh of ours, with what is sent again because of a 422.
type renewal struct {
	method string
	raises int
	sent   time.Time
}

// spread is a random part of restSpread.
func spread() time.Duration { return rand.N(restSpread) }

// renew refreshes the session of a leg: by UPDATE without an offer when its far
// end allows it, else by a re-INVITE with the offer that it has, RFC 4028
// section 7.4.
func (c *call) renew(side store.Side) {
	if c.clock.renew != nil {
		return // its end sets the clock
	}
	r := &renewal{method: "INVITE"}
	if dialog.Lists([]string{c.dialog(side).Allow}, "UPDATE") {
		r.method = "UPDATE"
	}
	c.sendRenewal(side, r)
}

func (c *call) sendRenewal(side store.Side, r *renewal) {
	d := c.dialog(side)
	if r.method == "INVITE" && d.Session.Offer == "" {
		c.agent.log.Info("session cannot be refreshed: no UPDATE, no description to offer again",
			c.fields(zap.String("leg", side.String()))...)
		return
	}
	if c.inv != nil || c.own != nil { // its 2xx refreshes the session, or another try does
		c.schedule(time.Now().Add(patience))
		return
	}
	cseq, ok := c.spend(side)
	if !ok {
		c.schedule(time.Now().Add(patience))
		return
	}
	d = c.dialog(side)
	out := c.agent.newRequest(d, inDialog(d, outline{method: r.method, cseq: cseq, contact: true}))
	withTimer(out, d.Session)
	out.add("Allow", allow)
	out.add("User-Agent", product)
	c.ownSession(&out.header, side)
	if r.method == "INVITE" {
		out.add("Content-Type", "application/sdp")
		out.body = []byte(d.Session.Offer)
	}
	c.clock.renew, r.sent = r, time.Now()
	at := c.attempt(side, out)
	var err error
	if r.method == "UPDATE" {
		err = c.ask(at, func(res *received) { c.onRenewal(side, r, res, nil) },
			func(err error) { c.onRenewal(side, r, nil, err) })
	} else {
		err = c.reinvite(at, func(res *received, err error) { c.onRenewal(side, r, res, err) })
	}
	if err != nil {
		c.onRenewal(side, r, nil, err)
	}
}

// onRenewal serves what became of a refresh of ours, RFC 4028 section 10.
func (c *call) onRenewal(side store.Side, r *renewal, res *received, err error) {
	status := 0
	if res != nil {
		status = res.status
	}
	overtaken := c.end != nil || c.clock == nil || c.clock.renew != r
	if overtaken || res != nil && status < 200 {
		return
	}
	c.clock.renew = nil
	if res != nil && status != 408 && status != 481 {
		c.evidence(side, strconv.Itoa(status)+" "+r.method)
	}
	switch {
	case errors.Is(err, sip.ErrTransactionTimeout), status == 408:
		c.renewAgain(side, r)
	case status == 481:
		c.lost(side)
	case status >= 200 && status < 300:
		c.renewed(side, res)
	case status == 422 && r.raises < mostRaises && c.raise(side, timerOf(res).MinSE):
		r.raises++
		c.sendRenewal(side, r)
	case status == 491:
		c.renewLater(side, glare(side), status, nil)
	default:
		c.renewLater(side, 0, status, err)
	}
}

// renewAgain asks once more while the far end, too, takes the session for one that
// lasts, and ends the call when it has run out. If this process was stalled, the
// answer may not have been read; and while the call may be another's by now, who
// was not answered may have been asked with numbers that are too low.
//
// Departs from RFC 4028 section 10: the first refresh that nobody answers ends
// no call. It goes out after half the interval, and the network may have been
// gone for some of the rest only, for this call and for all others.
func (c *call) renewAgain(side store.Side, r *renewal) {
	s := c.dialog(side).Session
	left := time.Until(s.Refreshed.Add(s.Interval - dialog.SessionMargin(s)))
	unsure := time.Since(r.sent) > 64*sip.T1+stall || !c.agent.may()
	if left <= leastPause && !unsure {
		c.release(store.End{Reason: side.Silent(), Status: 408})
		return
	}
	c.agent.log.Info("refresh of the session got no answer", c.fields(zap.String("leg", side.String()), zap.Duration("left", left))...)
	c.schedule(time.Now().Add(leastPause))
}

// renewed starts the interval again, as the 2xx says, or ends the timer when it
// says nothing: RFC 4028 section 7.2.
func (c *call) renewed(side store.Side, res *received) {
	c.refresh(side, res, res.source)
	_, s := dialog.Negotiate(dialog.Timer{Refresher: "uac"}, timerOf(res))
	c.timed(side, s)
	c.save()
	c.wind()
}

// glare is how long to wait after a 491, RFC 3261 section 14.1: we made the
// Call-ID of the callee's leg. It is never nothing, so that the ACK goes first.
func glare(side store.Side) time.Duration {
	if side == store.Callee {
		return time.Duration(210+rand.IntN(191)) * 10 * time.Millisecond
	}
	return time.Duration(1+rand.IntN(200)) * 10 * time.Millisecond
}

// renewLater tries a refresh again after a pause, or after half of what is left
// of the session. At its end nothing is done: this far end lives, and keeps the
// time itself. What is expected of the other one is not forgotten over it.
func (c *call) renewLater(side store.Side, pause time.Duration, status int, err error) {
	s := c.dialog(side).Session
	left := time.Until(s.Refreshed.Add(s.Interval))
	if pause == 0 {
		pause = max(left/2, leastPause)
	}
	c.agent.log.Info("session was not refreshed by our request", c.fields(zap.String("leg", side.String()),
		zap.Int("status", status), zap.Duration("left", left), zap.Error(err))...)
	next := time.Now().Add(pause)
	switch due, ok := c.sessionDue(side.Other()); {
	case ok && (pause >= left || due.Before(next)):
		c.schedule(due)
	case pause < left:
		c.schedule(next)
	}
}

// described notes the session description that a message carried to a leg. A
// re-INVITE of ours offers the last one again; only where one may be needed it
// is kept.
func (c *call) described(side store.Side, m *received) {
	sdp := description(m)
	if sdp == nil {
		return
	}
	if c.inv != nil {
		c.inv.said[side] = sdp
	} else {
		var said [2][]byte
		said[side] = sdp
		c.tell(said)
	}
	if d := c.dialog(side); d.Session.Refresher == store.Self && !dialog.Lists([]string{d.Allow}, "UPDATE") {
		c.set(func(rec *record) { rec.Legs[side].Session.Offer = string(sdp) })
	}
}

// keepOffer keeps what an INVITE's exchange, which is over, said to a leg that
// we refresh by re-INVITE.
func (c *call) keepOffer(inv *invite) {
	for _, side := range store.Sides {
		d, said := c.dialog(side), inv.said[side]
		if said == nil || string(said) == d.Session.Offer || d.Session.Refresher != store.Self ||
			dialog.Lists([]string{d.Allow}, "UPDATE") {
			continue
		}
		c.set(func(rec *record) { rec.Legs[side].Session.Offer = string(said) })
		c.save()
	}
}

// description is the session description in a message: nil without one, empty
// when it is one that we could not offer again.
func description(m *received) []byte {
	if len(m.body) == 0 {
		return nil
	}
	kind, _, _ := strings.Cut(value(m, "content-type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		return []byte{}
	case kind != "application/sdp":
		return nil
	case value(m, "content-encoding") != "", len(m.body) > mostOffer:
		return []byte{}
	}
	return m.body
}

// canRenew says whether we could refresh this leg.
func (c *call) canRenew(side store.Side) bool {
	d := c.dialog(side)
	return dialog.Lists([]string{d.Allow}, "UPDATE") || d.Session.Offer != "" ||
		c.inv != nil && len(c.inv.said[side]) > 0
}

// allowsUpdate notes that the far end of a leg that we refresh from now on
// takes UPDATE, as an UPDATE has just shown.
func (c *call) allowsUpdate(s store.Session, side store.Side) {
	allow := c.dialog(side).Allow
	if s.Refresher != store.Self || dialog.Lists([]string{allow}, "UPDATE") {
		return
	}
	if allow != "" {
		allow += ", "
	}
	c.set(func(rec *record) { rec.Legs[side].Allow = allow + "UPDATE" })
}
