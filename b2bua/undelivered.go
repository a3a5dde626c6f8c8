package b2bua

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// What the observer is told about a leg whose far end seems to be out of reach.
const (
	portClosed       = "nothing listens at its port (ICMP)"
	hostUnreachable  = "its host cannot be reached (ICMP)"
	netUnreachable   = "its network cannot be reached (ICMP)"
	connectionClosed = "its connection is closed"
)

// gathering is how long addresses are gathered before the calls are looked
// through for their legs: many connections may close together.
const gathering = 100 * time.Millisecond

// maxLost bounds how many addresses are gathered. The legs at those beyond it
// are asked when it is their turn, as if nothing had been known.
const maxLost = 10000

// way is how the requests of a leg go out.
type way struct{ transport, peer string }

// lost are the ways that are out of order, until the observer is told.
type lost struct {
	mu   sync.Mutex // guards what is below
	ways map[way]string
}

// undelivered takes an ICMP error about a datagram of ours, of which it quotes
// the beginning: RFC 3261 section 18.4. Anybody can send such an error, so it
// counts only when what it quotes carries a tag that only we can make. Then it
// is about all legs at that address.
//
// Departs from RFC 3261 section 18.4: it fails a transaction only where there
// is another address to try, or that belongs to no call. A far end that is just
// starting hears one of the repetitions.
func (a *Agent) undelivered(to netip.AddrPort, quoted []byte, why string) {
	tag := ownTag(quoted)
	if q, ok := a.pings.Load(tag); ok && q.(*ping).to == netip.AddrPortFrom(to.Addr().Unmap(), to.Port()) {
		a.work.Go(func() { q.(*ping).giveUp(Traffic{Kind: Unsent, Reason: why}) })
		return
	}
	id, _, ok := dialog.ReadTag(tag)
	if !ok || !dialog.CheckTag(a.identity.Load().tagKey, tag) {
		return
	}
	c := a.call(id)
	if c == nil {
		return
	}
	w := way{"udp", netip.AddrPortFrom(to.Addr().Unmap(), to.Port()).String()}
	a.lose(w, why)
	a.work.Go(func() { c.do(func() { c.passOver(w.peer) }) })
}

// ownTag is the tag in From of a request, or in To of a response, of which only
// the beginning may be there: "" if that ends before it.
func ownTag(message []byte) string {
	kind := fieldFrom
	if isStatusLine(message) {
		kind = fieldTo
	}
	f := fields{rest: message}
	f.line()
	for f.next() {
		if fieldOf(f.name) == kind && bytes.HasSuffix(message[:len(message)-len(f.rest)], []byte("\n")) {
			return dialog.Tag(string(f.value))
		}
	}
	return ""
}

// lose has the observer told about all legs whose requests go out this way.
func (a *Agent) lose(w way, why string) {
	a.lost.mu.Lock()
	defer a.lost.mu.Unlock()
	if a.closing.Load() || len(a.lost.ways) >= maxLost {
		return
	}
	if a.lost.ways == nil {
		a.lost.ways = make(map[way]string)
		a.work.Go(func() {
			select {
			case <-time.After(gathering):
				a.disturb()
			case <-a.closed:
			}
		})
	}
	a.lost.ways[w] = why
}

// disturb tells the observer what was gathered.
func (a *Agent) disturb() {
	a.lost.mu.Lock()
	ways := a.lost.ways
	a.lost.ways = nil
	a.lost.mu.Unlock()
	for _, c := range a.all() {
		for _, side := range store.Sides {
			if why := ways[c.way(side)]; why != "" && c.snapshot().State == store.Confirmed {
				a.observer.Disturbed(c.id, side, why)
			}
		}
	}
}

// way is how the requests of a leg go out. It needs no turn.
func (c *call) way(side store.Side) way {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := &c.rec.Legs[side].Dialog
	return way{strings.ToLower(d.Transport), d.Peer}
}

// passOver has the call go to the next address when the one that its INVITE
// went to refuses it: that is as good as 503, RFC 3261 section 8.1.3.1. The last address has the
// time that it has anyway: who is just starting hears a repetition.
func (c *call) passOver(peer string) {
	if inv := c.inv; inv != nil && inv.initial && inv.outTx != nil && inv.more() && c.way(store.Callee) == (way{"udp", peer}) {
		c.giveUp(inv, inv.outTx, 503)
	}
}
