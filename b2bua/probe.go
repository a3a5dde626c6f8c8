package b2bua

import (
	"errors"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/store"
)

// Probe asks the far end of a leg for a sign of life with one request of this
// method inside the dialog. What became of it, after timeout at the latest,
// goes to the observer's Answered, once. It returns at once.
//
// Nothing is sent before the ACK, nor while an INVITE is on its way.
func (a *Agent) Probe(id string, side store.Side, method string, timeout time.Duration) {
	c := a.call(id)
	if c == nil {
		a.observer.Answered(id, side, store.Answer{Kind: store.NoCall, Method: method, At: time.Now()})
		return
	}
	ask := func() { c.probe(side, method, timeout) }
	if c.snapshot().Legs[side].Transport == "udp" {
		c.do(ask)
		return
	}
	a.work.Go(func() { c.do(ask) }) // may have to open a connection
}

func (c *call) probe(side store.Side, method string, timeout time.Duration) {
	ans := store.Answer{Method: method, At: time.Now()}
	if c.state() != store.Confirmed {
		ans.Kind = store.NoCall
		c.agent.observer.Answered(c.id, side, ans)
		return
	}
	if c.inv != nil || c.renewing() {
		ans.Kind = store.Deferred
		c.agent.observer.Answered(c.id, side, ans)
		return
	}
	cseq, ok := c.spend(side)
	if !ok {
		ans.Kind = store.Deferred
		c.agent.observer.Answered(c.id, side, ans)
		return
	}
	d := c.dialog(side)
	out := c.agent.newRequest(d, inDialog(d, outline{method: method, cseq: cseq, contact: true}))
	for _, h := range probeHeaders {
		out.AppendHeader(h)
	}
	out.SetBody(nil)
	tx, err := c.agent.send(out)
	if err != nil {
		ans.Kind, ans.Reason = store.Unsent, err.Error()
		c.moveOn(side, out.Destination())
		c.agent.observer.Answered(c.id, side, ans)
		return
	}
	sent := ans.At
	c.agent.work.Go(func() {
		if ans, ok := c.agent.awaitProbe(tx, method, sent, timeout); ok {
			c.do(func() {
				if ans.Kind == store.Unsent {
					c.moveOn(side, out.Destination())
				}
				c.agent.observer.Answered(c.id, side, ans)
			})
		}
	})
}

// probeHeaders are those that RFC 3261 section 11.1 asks for in OPTIONS.
var probeHeaders = []sip.Header{
	sip.NewHeader("Accept", "application/sdp"),
	sip.NewHeader("Allow", allow),
	sip.NewHeader("Supported", "100rel, timer"),
	sip.NewHeader("User-Agent", product),
}

// awaitProbe waits for the final answer; false when we are closing.
func (a *Agent) awaitProbe(tx *sip.ClientTx, method string, sent time.Time, timeout time.Duration) (store.Answer, bool) {
	defer tx.Terminate()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	ans := store.Answer{Method: method}
	for {
		select {
		case res := <-tx.Responses():
			if res.StatusCode < 200 {
				continue
			}
			ans.Kind, ans.Status, ans.At = store.Answered, res.StatusCode, time.Now()
			ans.RTT = ans.At.Sub(sent)
			return ans, true
		case <-limit.C:
			ans.Kind, ans.At = store.Timeout, time.Now()
			return ans, true
		case <-a.closed:
			return ans, false
		case <-tx.Done():
			ans.Kind, ans.At = store.Timeout, time.Now()
			if err := tx.Err(); !errors.Is(err, sip.ErrTransactionTimeout) {
				ans.Kind, ans.Reason = store.Unsent, errText(err)
			}
			return ans, !a.closing.Load()
		}
	}
}

func errText(err error) string {
	if err == nil {
		return "transaction ended"
	}
	return err.Error()
}
