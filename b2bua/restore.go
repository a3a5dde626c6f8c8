package b2bua

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// ErrLost says that the store has lost what it had acknowledged.
var ErrLost = errors.New("the store has lost what it had acknowledged")

// Restore takes over calls that were read back from the store: numbers jump
// past what may have been used, and the new mark is reserved. It returns when
// all reservations are covered and kept, so that the calls may be used at once,
// or with ctx's error: then it may be asked again. With ErrLost some calls are
// as if they had never been given to it. Nobody waits for a call that is dropped
// meanwhile. Calls that the agent had before are left alone. Calls whose release had begun are released once Run serves.
func (a *Agent) Restore(ctx context.Context, calls []store.Call) error {
	covered := countdown{done: make(chan struct{})}
	covered.more()
	var news []*call
	for _, rec := range calls {
		if c := a.restore(rec, &covered); c != nil {
			news = append(news, c)
		}
	}
	covered.less()
	select {
	case <-covered.done:
	case <-ctx.Done():
		return fmt.Errorf("reserving CSeq numbers of %d calls: %w", len(calls), ctx.Err())
	}
	lost, err := a.kept(ctx, news)
	if err != nil {
		return err
	}
	for _, id := range lost {
		a.Drop(id)
	}
	for _, c := range news {
		c.do(c.resume)
	}
	if len(lost) > 0 {
		return fmt.Errorf("restoring %d of %d calls: %w", len(lost), len(calls), ErrLost)
	}
	return nil
}

// kept asks whether the store has these calls for good.
func (a *Agent) kept(ctx context.Context, calls []*call) (lost []string, err error) {
	if a.cfg.Kept == nil || len(calls) == 0 {
		return nil, nil
	}
	records := make([]store.Call, len(calls))
	for i, c := range calls {
		records[i] = c.snapshot()
	}
	return a.cfg.Kept(ctx, records)
}

// restore puts a call that was read back from the store in its place. It is nil
// when the call is there already, and in use, or has ended since it was read.
func (a *Agent) restore(rec store.Call, covered *countdown) *call {
	if a.ended.has(rec.ID) {
		return nil
	}
	c := a.newCall(rec)
	c.stored, c.restored = true, &[2]store.Health{rec.Legs[store.Caller].Health, rec.Legs[store.Callee].Health}
	c.fresh = [2]bool{true, true}
	for side, trunk := range [2]string{store.Caller: rec.TrunkIn, store.Callee: rec.TrunkOut} {
		c.hold(store.Side(side), trunk)
	}
	if rec.State == store.Ending {
		c.end = &ending{}
	}
	// A call that was adopted has an epoch of its own.
	c.rec.Epoch, c.rec.Node = max(rec.Epoch, a.identity.Load().epoch), a.cfg.Node
	for _, side := range store.Sides {
		dialog.Resume(c.dialog(side))
	}
	if !a.add(c) {
		if c = a.call(rec.ID); c == nil || !c.waits() {
			return nil
		}
	}
	if c.rec.Epoch != rec.Epoch || c.rec.Node != rec.Node { // else it has been adopted, and is stored as it is
		a.store.Save(c.snapshot())
	}
	covered.more()
	done := sync.OnceFunc(covered.less)
	a.awaits(c.id, done)
	var marks atomic.Int32
	for _, side := range store.Sides {
		a.store.Reserve(c.id, side, c.snapshot().Legs[side].LocalAsked, func(uint32) {
			if marks.Add(1) == int32(len(store.Sides)) {
				done()
			}
		})
	}
	return c
}

// awaits has done called when a call that was read back is dropped. Whoever waited
// for it before still does.
func (a *Agent) awaits(id string, done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if before := a.awaited[id]; before != nil {
		after := done
		done = func() { before(); after() }
	}
	a.awaited[id] = done
}

// forsake has nobody wait for a call any more.
func (a *Agent) forsake(id string) {
	a.mu.Lock()
	done := a.awaited[id]
	delete(a.awaited, id)
	a.mu.Unlock()
	if done != nil {
		done()
	}
}

// firstAnswer takes note of an answer to a request of ours on a leg. A 500 to the
// first after a takeover may mean that the far end has seen higher numbers, RFC
// 3261 section 12.2.2: the next one is far above, once.
func (c *call) firstAnswer(side store.Side, status int) {
	if !c.fresh[side] || status < 200 {
		return
	}
	c.fresh[side] = false
	if status != 500 || c.state() == store.Terminated {
		return
	}
	var mark uint32
	c.set(func(rec *record) { mark = dialog.Leap(&rec.Legs[side].Dialog) })
	c.reserve(side, mark)
}

// waits says whether the call was read back and may not be used yet.
func (c *call) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restored != nil
}

// resume goes on with a call that was read back, once its numbers are covered.
func (c *call) resume() {
	c.agent.forsake(c.id)
	if !c.waits() || c.state() == store.Terminated { // it was dropped
		return
	}
	health := c.restored
	c.set(func(rec *record) {
		c.restored = nil
		for i := range rec.Legs {
			d := &rec.Legs[i].Dialog
			dialog.Covered(d, d.LocalAsked)
		}
	})
	rec := c.snapshot()
	for _, side := range store.Sides {
		rec.Leg(side).Health = health[side]
	}
	c.agent.observer.Confirmed(rec)
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
