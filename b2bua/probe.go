package b2bua

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// begin takes the turn of a call to ask one of its legs. It is false where that
// is done without the caller: there is no such call (c is nil), which is reported,
// or something else has the turn, and the leg is asked after it.
func (a *Agent) begin(c *call, q store.Question, timeout time.Duration) bool {
	if c == nil {
		a.observer.Answered(store.Reply{ID: q.ID, Side: q.Side,
			Answer: store.Answer{Kind: store.NoCall, Method: q.Method, At: time.Now(), Of: q.Of}})
		return false
	}
	select {
	case <-a.serving:
		if c.turns.enter() {
			return true
		}
	default: // a call that was read back, before there are sockets
	}
	c.askLater(q, timeout)
	return false
}

// askLater asks a leg when it is its call's turn.
func (c *call) askLater(q store.Question, timeout time.Duration) {
	c.agent.work.Go(func() {
		<-c.agent.serving
		c.do(func() { c.probe(q, timeout, nil) })
	})
}

func (c *call) probe(q store.Question, timeout time.Duration, v *volley) {
	side, method := q.Side, q.Method
	not := func(kind store.AnswerKind) {
		c.probed(q, store.Answer{Kind: kind})
	}
	if c.state() != store.Confirmed {
		not(store.NoCall)
		return
	}
	if c.pending(method) || !c.agent.may() || c.agent.transaction.strain.defers() {
		not(store.Deferred)
		return
	}
	if method != "OPTIONS" && c.putsOff(side) {
		c.probed(q, store.Answer{Kind: store.Unable, Reason: "it would put off the refresh of the other leg's session"})
		return
	}
	if method == "INVITE" {
		c.probeByInvite(side, timeout, store.Answer{Method: method, Of: q.Of})
		return
	}
	cseq, ok := c.spend(side)
	if !ok {
		not(store.Deferred)
		return
	}
	if s := c.quickSocket(side, method); s != nil {
		c.probeQuickly(q, s, cseq, timeout, v)
		return
	}
	out := c.agent.question(c.dialog(side), method, cseq)
	if s := c.dialog(side).Session; method == "UPDATE" && s.Refresher != "" {
		withTimer(out, s) // RFC 4028 section 7.4: without it the timer would be off
	}
	c.ownSession(&out.header, side)
	c.askProbe(c.attempt(side, out), timeout, store.Answer{Method: method, Of: q.Of})
}

// pending says whether a probe has to wait: any for the end of an INVITE, and
// what belongs to the session for that of an UPDATE, too. Its receiver would
// have to refuse the second one, RFC 3311 section 5.2, and an INVITE must not
// cross an offer.
//
// Nothing of the far ends waits for a probe in turn. An UPDATE or INVITE that
// crosses our UPDATE is served as if that were not there: it makes no offer and
// is no request of theirs that had to be answered first. One that goes to the
// same far end at the same time may get 500 with Retry-After from there, which
// goes back to its sender, who knows what to do.
func (c *call) pending(method string) bool {
	switch {
	case c.inv != nil || c.own != nil:
		return true
	case method != "UPDATE" && method != "INVITE":
		return false
	case c.updates != [2]int8{}, c.clock != nil && c.clock.renew != nil:
		return true
	}
	return c.updating()
}

// putsOff says whether a request that refreshes the session of this leg would have
// the other one's run out, RFC 4028 section 10: the far end here refreshes both,
// and would do so later, and the other leg cannot be refreshed by us instead, see
// sessionDue.
func (c *call) putsOff(side store.Side) bool {
	other := c.dialog(side.Other())
	return c.dialog(side).Session.Refresher == store.Peer && other.Session.Refresher == store.Other &&
		!dialog.Lists([]string{other.Allow}, "UPDATE")
}

// updating says whether an UPDATE is on its way from one leg to the other.
func (c *call) updating() bool {
	return slices.ContainsFunc(c.transits, func(tr *transit) bool { return tr.in.method == "UPDATE" })
}

// probeRefreshed takes note of what a 2xx to a probe changes: the remote
// target, RFC 3311 section 5.1, and when the session of a leg that has a
// session timer was refreshed, which every UPDATE and INVITE does, RFC 4028
// section 7.4. From a far end that keeps no timer any more, section 7.2, no
// refresh is to be expected.
func (c *call) probeRefreshed(side store.Side, method string, res *received) {
	if method == "OPTIONS" || res.status >= 300 {
		return
	}
	c.refresh(side, res, res.source)
	if s := c.dialog(side).Session; s.Refresher != "" {
		s.Refreshed = time.Now()
		if s.Refresher == store.Peer && !timerOf(res).Expires {
			s = store.Session{}
		}
		c.set(func(rec *record) { rec.Legs[side].Session = s })
		c.save()
		c.wind()
	}
}

// question is a request that asks for a sign of life; it gets no body.
func (a *Agent) question(d *store.Dialog, method string, cseq uint32) *request {
	out := a.newRequest(d, inDialog(d, outline{method: method, cseq: cseq, contact: true}))
	out.header = append(out.header, probeTail...)
	return out
}

// probeTail are the headers that RFC 3261 section 11.1 asks for in OPTIONS.
const probeTail = "Accept: application/sdp\r\nAllow: " + allow + "\r\nSupported: 100rel, timer\r\nUser-Agent: " + product + "\r\n"

// askProbe sends a probe and reports what came of it, after timeout at the
// latest.
func (c *call) askProbe(at *attempt, timeout time.Duration, ans store.Answer) {
	update := at.out.method == "UPDATE"
	if update {
		c.updates[at.side]++
	}
	report := func(kind store.AnswerKind) {
		at.over = true
		if update {
			c.updates[at.side]--
		}
		ans.Kind, ans.At = kind, time.Now()
		c.agent.observer.Answered(store.Reply{ID: c.id, Side: at.side, Answer: ans})
	}
	limit := time.AfterFunc(timeout, func() {
		c.do(func() {
			if !at.over && !c.agent.closing.Load() {
				report(store.Timeout)
				at.tx.terminate()
			}
		})
	})
	failed := func(err error) {
		limit.Stop()
		if !at.over {
			c.unanswered(at, &ans, err, report)
		}
	}
	err := c.ask(at, func(res *received) {
		if at.over || res.status < 200 {
			return
		}
		limit.Stop()
		ans.Status, ans.RTT = res.status, time.Since(at.sent)
		c.probeRefreshed(at.side, ans.Method, res)
		report(store.Answered)
	}, failed)
	if err != nil {
		failed(err)
	}
}

// unanswered reports a probe that got no answer, or was not sent.
func (c *call) unanswered(at *attempt, ans *store.Answer, err error, report func(store.AnswerKind)) {
	if errors.Is(err, sip.ErrTransactionTimeout) {
		report(store.Timeout)
		return
	}
	ans.Reason, ans.Ours = errText(err), ours(err)
	c.moveOn(at.side, at.out.to, err)
	report(store.Unsent)
}

// ours says whether what could not be sent failed for want of a network, an
// address, a permission, a file descriptor or memory of this machine: that says
// nothing about the far end.
func ours(err error) bool {
	for _, of := range []error{syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EINVAL, syscall.EPERM, syscall.EACCES,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

func errText(err error) string {
	if err == nil {
		return "transaction ended"
	}
	return err.Error()
}
