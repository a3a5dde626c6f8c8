package b2bua

import (
	"sync"
	"time"

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
	calls map[string]*[2]dialogID
}

// dialogID names a dialog, RFC 3261 section 12.
type dialogID struct{ callID, local, remote string }

// add remembers a call that was answered.
func (e *ended) add(c *call) {
	if c.rec.Answered.IsZero() {
		return
	}
	var ids [2]dialogID
	for _, side := range store.Sides {
		d := c.dialog(side)
		ids[side] = dialogID{d.CallID, d.LocalTag, d.RemoteTag}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.calls) >= maxEnded {
		return
	}
	if e.calls == nil {
		e.calls = make(map[string]*[2]dialogID)
	}
	id := c.id // the call itself is let go
	e.calls[id] = &ids
	time.AfterFunc(64*sip.T1, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.calls, id)
	})
}

// owns says whether a request belongs to a call that has ended lately.
func (e *ended) owns(in *inbound) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := e.calls[in.id]
	if ids == nil {
		return false
	}
	is := dialogID{in.req.callID, in.tag, in.req.fromTag}
	return ids[store.Caller] == is || ids[store.Callee] == is
}
