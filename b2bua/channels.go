package b2bua

import (
	"errors"

	"go.uber.org/zap"

	"sipvigil/store"
)

// Channels counts the calls of trunks over all nodes, from the calls that go on.
type Channels interface {
	// Claim asks for a channel. It may wait for the network a little. An error
	// says that it cannot be found out and the call is to be refused. The lease is
	// not the agent's business.
	Claim(c store.Claim) (store.Grant, error)
	// Free gives a channel back. It returns at once.
	Free(trunk string, side store.Side, id string)
	// Left is how many more calls of one direction the trunk takes, as far as is
	// known. It returns at once.
	Left(trunk string, side store.Side) int
}

// noChannel is what a caller gets when all that is left to try is full, RFC 3261
// section 21.5.4.
var noChannel = fault{503, "No Channel Is Free", []string{"Retry-After", "5"}}

// full is what a caller gets when this trunk is full.
func (t *Trunk) full() *fault {
	f := noChannel
	if t.WhenFull != 0 {
		f.status = t.WhenFull
	}
	return &f
}

// limited is the trunk of this name if it has a limit, else nil.
func (a *Agent) limited(name string) *Trunk {
	if a.cfg.Channels == nil {
		return nil
	}
	for i := range a.cfg.Trunks {
		if t := &a.cfg.Trunks[i]; t.Name == name && t.Limit != (store.Limit{}) {
			return t
		}
	}
	return nil
}

// Channels visits the channels that the calls of this agent hold, until yield is
// false.
func (a *Agent) Channels(yield func(trunk string, side store.Side, id string) bool) {
	for _, c := range a.all() {
		c.mu.Lock()
		holds := c.holds
		c.mu.Unlock()
		for side, trunk := range holds {
			if trunk != "" && !yield(trunk, store.Side(side), c.id) {
				return
			}
		}
	}
}

// hold notes that the call has a channel of a trunk, if that is limited: it was
// granted, or nobody is asked, because the call is there already.
func (c *call) hold(side store.Side, trunk string) {
	if c.agent.limited(trunk) == nil {
		trunk = ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds[side] = trunk
}

// free gives the channel of a leg back, if there is one.
func (c *call) free(side store.Side) {
	trunk := c.holds[side]
	if trunk == "" {
		return
	}
	c.hold(side, "")
	c.agent.cfg.Channels.Free(trunk, side, c.id)
}

// lacks says whether a leg needs a channel of this trunk and has none.
func (c *call) lacks(side store.Side, trunk string) bool {
	return c.holds[side] != trunk && c.agent.limited(trunk) != nil
}

// claim asks for a channel of a trunk, before anything goes out by it. refused is
// "" if it was granted.
func (c *call) claim(inv *invite, side store.Side, trunk string, then func(refused store.Refusal, err error)) {
	a := c.agent
	ask := store.Claim{Trunk: trunk, Side: side, ID: c.id, Limit: a.limited(trunk).Limit}
	a.work.Go(func() {
		var g store.Grant
		err := errors.New("the claim broke")
		guarded(func() { g, err = a.cfg.Channels.Claim(ask) }, a.panicked)
		c.do(func() {
			defer inv.in.rescue()
			granted := err == nil && g.Refused == ""
			if c.inv != inv { // the call was given up meanwhile
				if granted {
					a.cfg.Channels.Free(trunk, side, c.id)
				}
				return
			}
			if granted {
				c.hold(side, trunk)
			} else {
				a.log.Info("no channel of a trunk", c.fields(zap.String("trunk", trunk), zap.String("leg", side.String()),
					zap.String("reason", string(g.Refused)), zap.Error(err))...)
			}
			then(g.Refused, err)
		})
	})
}

// enterFrom goes on with a new call once it has a channel of the trunk that it
// comes from.
func (c *call) enterFrom(inv *invite, trunk string) {
	goOn := func() { c.next(inv, &fault{status: 503}) }
	if !c.lacks(store.Caller, trunk) {
		goOn()
		return
	}
	c.claim(inv, store.Caller, trunk, func(refused store.Refusal, err error) {
		switch {
		case err != nil:
			c.congested(inv, &storeAway)
		case refused != "":
			c.congested(inv, c.agent.limited(trunk).full())
		default:
			goOn()
		}
	})
}

// leaveBy goes on with a call once it has a channel of the trunk of its target,
// or without this trunk. What belongs to a call that goes on, or comes with a
// token of ours, is counted but never refused.
func (c *call) leaveBy(inv *invite, last *fault) {
	trunk := inv.target.trunk
	c.free(store.Callee)
	if inv.instead != nil || inv.in.route.through {
		c.hold(store.Callee, trunk)
		c.next(inv, last)
		return
	}
	c.claim(inv, store.Callee, trunk, func(refused store.Refusal, err error) {
		t := c.agent.limited(trunk)
		switch {
		case err != nil:
			c.congested(inv, &storeAway)
		case refused == "":
			c.next(inv, last)
		case t.WhenFull != 0:
			c.congested(inv, t.full())
		default:
			inv.without(trunk)
			c.next(inv, &noChannel)
		}
	})
}

// without takes a trunk out of what is still to be tried.
func (inv *invite) without(trunk string) {
	var others []target
	for _, t := range inv.targets {
		if t.trunk != trunk {
			others = append(others, t)
		}
	}
	inv.hops, inv.targets = nil, others
}

// congested refuses a call for want of a channel.
func (c *call) congested(inv *invite, f *fault) {
	c.agent.metrics.rejected.WithLabelValues("full").Inc()
	if inv.cancelled != "" {
		c.abandon(inv, store.End{Reason: inv.cancelled, Status: 487})
		return
	}
	inv.in.refuse(f)
	c.abandon(inv, store.End{Reason: store.Congested, Status: f.status})
}
