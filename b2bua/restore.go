package b2bua

import (
	"sync/atomic"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// countdown closes done when there is nothing left. Nobody has to wait for it.
type countdown struct {
	left atomic.Int64
	done chan struct{}
}

func (c *countdown) more() { c.left.Add(1) }

func (c *countdown) less() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// restore puts a call that was read back from the store in its place.
func (a *Agent) restore(rec store.Call, covered *countdown) {
	c := a.newCall(rec)
	c.stored, c.restored = true, true
	if rec.State == store.Ending {
		c.end = &ending{}
	}
	// A call that was adopted has an epoch of its own.
	c.rec.Epoch, c.rec.Node = max(rec.Epoch, a.identity.Load().epoch), a.cfg.Node
	var marks [2]uint32
	for _, side := range store.Sides {
		marks[side] = dialog.Resume(c.dialog(side))
	}
	if !a.add(c) {
		return
	}
	a.store.Save(c.snapshot())
	for _, side := range store.Sides {
		covered.more()
		c.reserve(side, marks[side], covered.less)
	}
}

// resume goes on with a call that was read back, once its numbers are covered.
func (c *call) resume() {
	if !c.restored {
		return
	}
	c.restored = false
	c.agent.observer.Confirmed(c.snapshot())
	if c.end == nil {
		c.resumeTimer()
		return
	}
	c.agent.observer.Ending(c.id, c.rec.End)
	c.agent.work.Go(func() {
		<-c.agent.serving
		c.do(func() {
			for _, side := range store.Sides {
				c.bye(side)
			}
			c.over()
		})
	})
}
