package b2bua

import (
	"sync"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// restore puts a call that was read back from the store in its place.
func (a *Agent) restore(rec store.Call, covered *sync.WaitGroup) {
	c := a.newCall(rec)
	c.stored, c.restored = true, true
	if rec.State == store.Ending {
		c.end = &ending{}
	}
	c.rec.Epoch, c.rec.Node = a.identity.Load().epoch, a.cfg.Node
	var marks [2]uint32
	for _, side := range store.Sides {
		marks[side] = dialog.Resume(c.dialog(side))
	}
	if !a.add(c) {
		return
	}
	a.store.Save(c.snapshot())
	for _, side := range store.Sides {
		covered.Add(1)
		c.reserve(side, marks[side], covered.Done)
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
