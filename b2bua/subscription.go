package b2bua

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

const (
	// mostSubscriptions bounds what one call remembers; the oldest goes first.
	mostSubscriptions = 16
	// mostLingering bounds the calls that have ended and linger.
	mostLingering = 1000
)

// subscription is one that the far end of a leg has with the other far end
// inside the call's dialogs, made by REFER (RFC 3515 section 2.4.4) or
// SUBSCRIBE. It is not stored: after a restart the ids of those before pass as
// they are.
type subscription struct {
	subscriber store.Side
	event      string
	id         [2]string // as each leg knows it, "" without
	asked      uint32    // number of the request that made it
}

// subscription finds the one of this subscriber with an id as the leg of side
// knows it. REFER's first subscription may go without id (RFC 3515 section
// 2.4.6), and so is the oldest.
func (c *call) subscription(subscriber, side store.Side, event, id string) *subscription {
	refer := strings.EqualFold(event, "refer")
	for _, s := range c.subscriptions {
		if s.subscriber == subscriber && strings.EqualFold(s.event, event) && (s.id[side] == id || refer && id == "") {
			return s
		}
	}
	return nil
}

// subscribing notes what a request that goes from one leg to the other will
// make, before it is answered: NOTIFY may be faster than the answer, RFC 3515
// section 2.4.4.
func (c *call) subscribing(side store.Side, in *inbound, out *request) {
	s := &subscription{subscriber: side, asked: in.cseq}
	switch in.method {
	case "REFER":
		if withoutSubscription(in.req) {
			return
		}
		s.event = "refer"
		s.id[side] = strconv.FormatUint(uint64(in.cseq), 10)
		s.id[side.Other()] = strconv.FormatUint(uint64(out.cseq), 10)
	case "SUBSCRIBE":
		event, id := dialog.Event(value(in.req, "event"))
		if c.subscription(side, side, event, id) != nil {
			return // it is refreshed
		}
		s.event, s.id = event, [2]string{id, id}
	default:
		return
	}
	if len(c.subscriptions) == mostSubscriptions {
		c.subscriptions = c.subscriptions[1:]
	}
	c.subscriptions = append(c.subscriptions, s)
}

// withoutSubscription says whether REFER requires an extension by which it
// makes no subscription in its dialog: RFC 7614 sections 4 and 5.
func withoutSubscription(refer *received) bool {
	for _, v := range values(refer, "require") {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); strings.EqualFold(tag, "nosub") || strings.EqualFold(tag, "explicitsub") {
				return true
			}
		}
	}
	return false
}

// subscribed notes what the final answer to a relayed request makes of the
// subscription that it belongs to; res is nil when none came.
func (c *call) subscribed(side store.Side, in *inbound, res *received) {
	status := 408
	if res != nil {
		status = res.status
	}
	switch in.method {
	case "REFER", "SUBSCRIBE":
		c.accepted(side, in, res, status)
	case "NOTIFY":
		event, id := dialog.Event(value(in.req, "event"))
		over := isTerminated(in.req) && status != 401 && status != 407
		if over || endsSubscription(status) {
			c.unsubscribed(c.subscription(side.Other(), side, event, id))
		}
	}
}

// accepted notes the answer to what was to make a subscription, or to refresh
// it. RFC 4488 section 4: with Refer-Sub: false there is none.
func (c *call) accepted(side store.Side, in *inbound, res *received, status int) {
	for _, s := range c.subscriptions {
		if s.subscriber != side || s.asked != in.cseq {
			continue
		}
		sub, _, _ := strings.Cut(value(in.req, "refer-sub"), ";")
		if res != nil {
			sub, _, _ = strings.Cut(value(res, "refer-sub"), ";")
		}
		if status >= 300 || in.method == "REFER" && strings.EqualFold(strings.TrimSpace(sub), "false") {
			c.unsubscribed(s)
			return
		}
		if n, _, err := dialog.CSeq(value(res, "cseq")); err == nil && in.method == "REFER" {
			s.id[side.Other()] = strconv.FormatUint(uint64(n), 10) // of the one that was accepted
		}
		return
	}
	if in.method == "SUBSCRIBE" && status == 481 { // RFC 6665 section 4.1.2
		event, id := dialog.Event(value(in.req, "event"))
		c.unsubscribed(c.subscription(side, side, event, id))
	}
}

// endsSubscription says whether the notifier lets go of a subscription when
// NOTIFY gets this answer, RFC 6665 section 4.2.2.
func endsSubscription(status int) bool {
	switch status {
	case 404, 405, 410, 416, 489, 501, 604:
		return true
	}
	return 480 <= status && status <= 485
}

func isTerminated(notify *received) bool {
	state, _, _ := strings.Cut(value(notify, "subscription-state"), ";")
	return strings.EqualFold(strings.TrimSpace(state), "terminated")
}

// unsubscribed forgets a subscription. A call that lingers for it is forgotten
// with the last one.
func (c *call) unsubscribed(over *subscription) {
	for i, s := range c.subscriptions {
		if s == over {
			c.subscriptions = append(c.subscriptions[:i:i], c.subscriptions[i+1:]...)
			break
		}
	}
	if len(c.subscriptions) == 0 {
		c.depart()
	}
}

// outlives says whether a request belongs to a subscription that goes on after
// the session was ended: BYE ends the INVITE's usage of the dialog only, RFC
// 5057 section 5.5.
func (c *call) outlives(side store.Side, in *inbound) bool {
	subscriber := side
	switch in.method {
	case "NOTIFY":
		subscriber = side.Other()
	case "SUBSCRIBE":
	default:
		return false
	}
	event, id := dialog.Event(value(in.req, "event"))
	return c.subscription(subscriber, side, event, id) != nil
}

// linger keeps the dialogs of a call that ends while subscriptions go on: the
// one who transfers often hangs up before the transfer is done. It ends with
// the last of them, or when what was referred to has rung as long as it may.
func (c *call) linger() {
	a := c.agent
	if len(c.subscriptions) == 0 || c.end == nil || !a.lingers(c) {
		return
	}
	c.end.farewell = time.AfterFunc(a.cfg.RingTimeout+64*sip.T1, func() { c.do(c.depart) })
}

// lingers says whether there is room for one more call that lingers.
func (a *Agent) lingers(c *call) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lingering) >= mostLingering {
		return false
	}
	a.lingering[c.id] = c
	return true
}

// depart ends the lingering of a call.
func (c *call) depart() {
	if c.end == nil || c.end.farewell == nil {
		return
	}
	c.end.farewell.Stop()
	c.end.farewell, c.subscriptions = nil, nil
	c.agent.mu.Lock()
	defer c.agent.mu.Unlock()
	delete(c.agent.lingering, c.id)
}

// callOf is the call whose tag a request carries: one that goes on, or lingers.
func (a *Agent) callOf(id string) *call {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.calls[id]; c != nil {
		return c
	}
	return a.lingering[id]
}
