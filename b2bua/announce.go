package b2bua

import (
	"strconv"
	"time"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

const (
	announceRate  = 200 // legs a second that are told where we are
	announceTries = 10  // for one leg: it may be busy, or refuse for a while
)

// Announce tells the far ends of calls that were adopted where they find their
// call now: a target refresh with our Contact, RFC 3261 section 12.2, for
// deployments whose nodes share no address. It returns at once; what is sent is
// paced. What becomes of it ends no call.
func (a *Agent) Announce(ids []string) {
	a.work.Go(func() {
		select {
		case <-a.serving:
		case <-a.closed:
			return
		}
		for _, id := range ids {
			c := a.call(id)
			if c == nil {
				continue
			}
			for _, side := range store.Sides {
				select {
				case <-time.After(a.announcing.Reserve().Delay()):
				case <-a.closed:
					return
				}
				c.do(func() { c.announce(side, announceTries) })
			}
		}
	})
}

// announce refreshes the target of one leg: by UPDATE without SDP if its far end
// allows that, which changes no session (RFC 3311 section 5.1), else by a
// re-INVITE with the description that it was sent last, RFC 3261 section 14.1.
// Where that is not known none is made up, and the leg stays as it is.
func (c *call) announce(side store.Side, tries int) {
	d := c.dialog(side)
	method, sdp := "UPDATE", ""
	if !dialog.Lists([]string{d.Allow}, method) {
		if method, sdp = "INVITE", d.Session.Offer; sdp == "" {
			sdp = string(c.toldTo(side))
		}
		if sdp == "" {
			c.announced(side, "far end takes no UPDATE, and the session is not known")
			return
		}
	}
	later := func(wait time.Duration) {
		if tries > 1 {
			time.AfterFunc(wait, func() { c.do(func() { c.announce(side, tries-1) }) })
		}
	}
	if c.state() != store.Confirmed || c.end != nil {
		return
	}
	if c.pending(method) || !c.agent.may() {
		later(patience)
		return
	}
	cseq, ok := c.spend(side)
	if !ok {
		later(patience)
		return
	}
	d = c.dialog(side)
	out := c.agent.newRequest(d, inDialog(d, outline{method: method, cseq: cseq, contact: true}))
	if d.Session.Refresher != "" {
		withTimer(out, d.Session) // RFC 4028 section 7.4: without it the timer would be off
	}
	out.add("Allow", allow)
	out.add("User-Agent", product)
	c.ownSession(&out.header, side)
	if sdp != "" {
		out.add("Content-Type", "application/sdp")
		out.body = []byte(sdp)
	}
	over := func(res *received) {
		if res == nil {
			c.announced(side, "no answer") // the next probe shows whether the far end is there
			return
		}
		status := res.status
		if status != 408 && status != 481 {
			c.evidence(side, strconv.Itoa(status)+" "+method)
		}
		switch {
		case status < 300:
			c.probeRefreshed(side, method, res)
		case status == 491, status == 500, status == 503:
			later(glare(side))
		default: // 481 included: the next probe is the judge
			c.announced(side, strconv.Itoa(status))
		}
	}
	c.sendAnnouncement(c.attempt(side, out), over)
}

// sendAnnouncement sends a request and tells its final answer, nil if there is
// none.
func (c *call) sendAnnouncement(at *attempt, over func(*received)) {
	if at.out.method == "INVITE" {
		err := c.reinvite(at, func(res *received, _ error) {
			if res == nil || res.status >= 200 {
				over(res)
			}
		})
		if err != nil {
			over(nil)
		}
		return
	}
	c.updates[at.side]++
	done := func(res *received) {
		c.updates[at.side]--
		over(res)
	}
	err := c.ask(at, func(res *received) {
		if res.status >= 200 {
			done(res)
		}
	}, func(error) { done(nil) })
	if err != nil {
		done(nil)
	}
}

// announced logs that a far end may not know where its call is.
func (c *call) announced(side store.Side, why string) {
	c.agent.log.Info("far end was not told where its call is now", c.fields(zap.String("leg", side.String()), zap.String("reason", why))...)
}
