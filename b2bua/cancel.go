package b2bua

import (
	"time"
)

// earlyFor is how long a CANCEL waits for its INVITE.
const earlyFor = 500 * time.Millisecond

// maxEarly is how many CANCELs may wait for their INVITE.
const maxEarly = 1000

// listenCancel has a CANCEL of an INVITE reported, in turn with the other
// messages of its Call-ID; false when one has come already. tag is that of the
// answers to the INVITE.
func (t *transactions) listenCancel(of *serverTx, tag string, f func(asked *received)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	of.tag, of.onCancel = tag, f
	return !of.cancelled
}

// cancel serves a CANCEL, RFC 3261 section 9.2: 200 with the tag of its
// INVITE's answers, and what it does to the INVITE is the INVITE's business.
// One that is faster than its INVITE waits for it a little.
func (t *transactions) cancel(in *inbound) {
	key, _ := serverKeyOf(in.req, "INVITE") // its own was made
	t.mu.Lock()
	invite := t.servers[key]
	switch {
	case invite != nil:
		in.tag = invite.tag
		invite.cancelled = true
		f := invite.onCancel
		t.mu.Unlock()
		in.answer(200)
		if f != nil {
			f(in.req)
		}
	case in.tag == "" && len(t.early) < maxEarly && t.early[key] == nil:
		t.early[key] = in
		t.mu.Unlock()
		time.AfterFunc(earlyFor, func() { t.late(key, in) })
	default:
		t.mu.Unlock()
		in.answer(481)
	}
}

// late answers a CANCEL that has waited for its INVITE, once.
func (t *transactions) late(key serverKey, in *inbound) {
	t.mu.Lock()
	if t.early[key] != in {
		t.mu.Unlock()
		return // has been answered
	}
	delete(t.early, key)
	invite := t.servers[key]
	if invite != nil {
		in.tag = invite.tag
	}
	t.mu.Unlock()
	if invite != nil {
		in.answer(200)
		return
	}
	in.answer(481)
}
