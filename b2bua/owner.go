package b2bua

import (
	"sipvigil/store"
)

// may says whether this node may send requests of its own inside calls: it is
// sure to own them. Requests of the far ends are passed on in any case.
func (a *Agent) may() bool { return a.cfg.May == nil || a.cfg.May() }

// recollect returns when all calls that are here are ours, see [Config.Recollect].
func (a *Agent) recollect() {
	if a.cfg.Recollect != nil {
		a.cfg.Recollect()
	}
}

// postpone keeps a release that may not begin now for [Agent.GoOn].
func (a *Agent) postpone(id string, end store.End) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.postponed[id]; !ok && a.calls[id] != nil {
		a.postponed[id] = end
	}
}

// GoOn says that [Config.May] is true, and that the calls of other owners have
// been dropped: releases that were to begin while it was not begin now.
func (a *Agent) GoOn() {
	a.mu.Lock()
	todo := a.postponed
	a.postponed = make(map[string]store.End)
	a.mu.Unlock()
	for id, end := range todo {
		a.Release(id, end)
	}
}

// Drain has new calls refused from now on, because this node is about to stop.
func (a *Agent) Drain() { a.draining.Store(true) }

// Unsettled counts the calls that another node could not go on with: they are
// being set up or ended, or an INVITE waits for its answer or its ACK.
func (a *Agent) Unsettled() int {
	n := 0
	for _, c := range a.all() {
		if c.unsettled() {
			n++
		}
	}
	return n
}

func (c *call) unsettled() bool {
	if !c.turns.enter() {
		return true // it is changing just now
	}
	defer c.turns.leave(&c.agent.work, c.agent.panicked)
	return c.state() != store.Confirmed || c.inv != nil
}

// Count counts the calls of this agent.
func (a *Agent) Count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}

// Held returns the calls of this agent, by id, with the epoch of each.
func (a *Agent) Held() map[string]int64 {
	all := a.all()
	held := make(map[string]int64, len(all))
	for _, c := range all {
		held[c.id] = c.epoch()
	}
	return held
}

// Claim has the record of a call of this agent written again under an epoch,
// and is false when it has no such call.
func (a *Agent) Claim(id string, epoch int64) bool {
	c := a.call(id)
	if c == nil {
		return false
	}
	c.do(func() {
		if c.state() != store.Terminated {
			c.set(func(rec *record) { rec.Epoch = max(rec.Epoch, epoch) })
			c.save()
		}
	})
	return true
}
