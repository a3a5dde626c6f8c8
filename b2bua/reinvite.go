package b2bua

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"sipvigil/store"
)

// reinvite sends a re-INVITE of ours and follows it to its end, with the turn:
// every answer goes to each, but for the challenges that are answered on the
// way, and when none comes any more its error. A 2xx is acknowledged as often
// as it comes, and what only rings is cancelled. An error means that it was not
// sent.
func (c *call) reinvite(at *attempt, each func(*received, error)) error {
	tx, err := c.agent.send(at.out)
	if err != nil {
		return err
	}
	at.tx, at.sent = tx, time.Now()
	inv := &invite{from: at.side.Other(), attempt: at, out: at.out, outTx: tx, outCSeq: at.out.cseq}
	c.own = inv
	tx.onRetransmission(func(res *received) {
		c.do(func() { c.onRepeated2xx(inv, res) })
	})
	inv.ring = time.AfterFunc(64*sip.T1, func() {
		c.do(func() { c.giveUpOwn(inv) })
	})
	c.agent.await(tx, func(res *received) {
		c.here(res.callID, func() { c.onOwnAnswer(inv, each, res, nil) })
	}, func(err error) {
		c.do(func() { c.onOwnAnswer(inv, each, nil, err) })
	})
	return nil
}

// onOwnAnswer serves an answer to a re-INVITE of ours, or that there is none.
func (c *call) onOwnAnswer(inv *invite, each func(*received, error), res *received, err error) {
	inv.final = res == nil || res.status >= 200
	if res != nil {
		c.firstAnswer(inv.attempt.side, res.status)
	}
	if !inv.final {
		first := !inv.ringing
		inv.ringing = true
		if first && inv.cancelled != "" {
			c.sendCancel(inv) // RFC 3261 section 9.1: not before a provisional response
		}
		each(res, nil)
		return
	}
	inv.stopRing()
	if c.own == inv {
		c.own = nil
	}
	switch {
	case res == nil:
	case res.status < 300:
		if c.end == nil {
			c.refresh(inv.attempt.side, res, res.source)
		}
		c.sendAck(inv, nil)
	case c.end == nil && inv.cancelled == "" && c.challenged(inv.attempt, res):
		if err := c.reinvite(inv.attempt, each); err != nil {
			each(nil, err)
		}
		return
	}
	each(res, err)
}

// giveUpOwn cancels a re-INVITE of ours that has no final answer.
func (c *call) giveUpOwn(inv *invite) {
	if inv.final || inv.cancelled != "" {
		return
	}
	inv.cancelled = store.NoAnswer
	if inv.ringing {
		c.sendCancel(inv)
	}
}

// probeByInvite asks with a re-INVITE that offers again what the far end was
// sent last, RFC 3261 section 14.1: nothing changes by it. An answer that
// describes another session than the last one cannot be told to the other leg
// without an offer; it is logged.
func (c *call) probeByInvite(side store.Side, timeout time.Duration, ans store.Answer) {
	report := func(kind store.AnswerKind) {
		ans.Kind, ans.At = kind, time.Now()
		c.agent.observer.Answered(store.Reply{ID: c.id, Side: side, Answer: ans})
	}
	sdp := c.toldTo(side)
	if len(sdp) == 0 {
		ans.Reason = "the session as it stands is not known"
		report(store.Unable)
		return
	}
	cseq, ok := c.spend(side)
	if !ok {
		report(store.Deferred)
		return
	}
	at := c.attempt(side, c.offerAgain(side, cseq, sdp))
	var limit *time.Timer
	failed := func(err error) {
		limit.Stop()
		if at.over {
			return
		}
		at.over = true
		c.unanswered(at, &ans, err, report)
	}
	limit = time.AfterFunc(timeout, func() {
		c.do(func() {
			if !at.over && !c.agent.closing.Load() {
				at.over = true
				report(store.Timeout)
				if c.own != nil && c.own.attempt == at {
					c.giveUpOwn(c.own)
				}
			}
		})
	})
	err := c.reinvite(at, func(res *received, err error) {
		switch {
		case err != nil || res == nil:
			failed(err)
		case at.over, res.status < 200:
			if s := res.status; s > 100 && s != 408 && s != 481 && (s < 200 || s != 487) {
				c.evidence(side, strconv.Itoa(s)+" INVITE")
			}
		default:
			limit.Stop()
			at.over = true
			ans.Status, ans.RTT = res.status, time.Since(at.sent)
			c.probeRefreshed(side, "INVITE", res)
			c.compare(side, res)
			report(store.Answered)
		}
	})
	if err != nil {
		failed(err)
	}
}

// offerAgain is a re-INVITE with a description that the far end has been sent.
func (c *call) offerAgain(side store.Side, cseq uint32, sdp []byte) *request {
	out := c.agent.question(c.dialog(side), "INVITE", cseq)
	if s := c.dialog(side).Session; s.Refresher != "" {
		withTimer(out, s)
	}
	c.ownSession(&out.header, side)
	out.add("Content-Type", "application/sdp")
	out.body = slices.Clone(sdp)
	return out
}

// told is the session description that each leg was sent last and that is in
// force; nil where that is not known, empty where it cannot be offered again.
type told [2][]byte

// toldTo is what a leg was sent last.
func (c *call) toldTo(side store.Side) []byte {
	if c.told == nil {
		return nil
	}
	return c.told[side]
}

// tell notes what both legs were sent, where re-INVITEs of ours may need it. A
// nil description leaves what there was.
func (c *call) tell(said [2][]byte) {
	if !c.agent.cfg.Reinvite {
		return
	}
	if c.told == nil {
		c.told = new(told)
	}
	for side, sdp := range said {
		if sdp != nil {
			c.told[side] = bytes.Clone(sdp)
		}
	}
}

// negotiating has nothing known of the session while an INVITE may change it,
// and, when that does not come to its regular end, from then on.
func (c *call) negotiating(inv *invite) { inv.told, c.told = c.told, nil }

// agreed notes what holds after an INVITE.
func (c *call) agreed(inv *invite) {
	c.told = inv.told
	said := inv.said
	if inv.forked > 1 && len(inv.answer.body) == 0 {
		said[inv.from] = []byte{} // which fork's early answer it was is not known
	}
	c.tell(said)
}

// unchanged notes that an INVITE was refused before it could change anything.
func (c *call) unchanged(inv *invite) {
	if inv.said[store.Caller] == nil && inv.said[store.Callee] == nil {
		c.told = inv.told
	}
}

// compare logs an answer to our offer that differs from what the other leg
// knows of this one's session.
func (c *call) compare(side store.Side, res *received) {
	known, answer := c.toldTo(side.Other()), description(res)
	if res.status < 300 && len(known) > 0 && len(answer) > 0 && !bytes.Equal(withoutOrigin(known), withoutOrigin(answer)) {
		c.agent.log.Info("answer to our re-INVITE changes the session, which the other leg is not told",
			c.fields(zap.String("leg", side.String()))...)
	}
}

// withoutOrigin is a session description without its line o=, whose version
// some count up in each answer.
func withoutOrigin(sdp []byte) []byte {
	var rest []byte
	for line := range bytes.Lines(sdp) {
		if !bytes.HasPrefix(line, []byte("o=")) {
			rest = append(rest, line...)
		}
	}
	return rest
}
