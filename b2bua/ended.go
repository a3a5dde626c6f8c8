package b2bua

import (
	"sync"

	"github.com/emiago/sipgo/sip"

	"sipvigil/store"
)

// maxEnded is how many calls that have ended are remembered.
const maxEnded = 20_000

// ended remembers the dialogs of calls for as long as messages of them may
// still be on their way, 64*T1 after their end: a BYE that crossed ours gets
// 200 and not 481.
type ended struct {
	mu    sync.Mutex // guards calls
	calls map[string]*bygone
}

// bygone is what is remembered of a call. The call itself is let go.
type bygone struct {
	of      *ended
	id      string
	dialogs [2]dialogID
}

// dialogID names a dialog, RFC 3261 section 12.
type dialogID struct{ callID, local, remote string }

// add remembers a call that was answered.
func (e *ended) add(c *call) {
	if c.rec.Answered.IsZero() {
		return
	}
	b := &bygone{of: e, id: c.id}
	for _, side := range store.Sides {
		d := c.dialog(side)
		b.dialogs[side] = dialogID{d.CallID, d.LocalTag, d.RemoteTag}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.calls) >= maxEnded {
		return
	}
	if e.calls == nil {
		e.calls = make(map[string]*bygone)
	}
	e.calls[b.id] = b
	c.agent.transaction.waits.after(64*sip.T1, b, wakeForget)
}

// wake implements waker.
func (b *bygone) wake(wake) {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	delete(b.of.calls, b.id)
}

// has says whether a call has ended lately.
func (e *ended) has(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls[id] != nil
}

// owns says whether a request belongs to a call that has ended lately.
func (e *ended) owns(in *inbound) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.calls[in.id]
	if b == nil {
		return false
	}
	is := dialogID{in.req.callID, in.tag, in.req.fromTag}
	return b.dialogs[store.Caller] == is || b.dialogs[store.Callee] == is
}
