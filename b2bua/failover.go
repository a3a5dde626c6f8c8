package b2bua

import (
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// failoverTime is how long an address may take to answer the INVITE at all when
// there is another one to try; over UDP it has been sent four times by then.
//
// Departs from RFC 3263 section 4.3: an address fails after this time, not only
// with Timer B after 32 s, by when the caller has hung up. Timer B stays for
// the last address.
const failoverTime = 4 * time.Second

// next sends the initial INVITE to the next address: of the target that is
// being tried, else of the targets after it. When none is left the caller gets
// the last fault.
func (c *call) next(inv *invite, last *fault) {
	inv.outTx, inv.ringing, inv.final = nil, false, false
	for inv.cancelled == "" && inv.more() {
		if len(inv.hops) == 0 {
			inv.target, inv.targets = inv.targets[0], inv.targets[1:]
			hops, ok := c.agent.knownHops(inv.target)
			if !ok {
				c.look(inv, last)
				return
			}
			if inv.hops = inv.usable(c.agent.cfg.Links, hops); len(inv.hops) == 0 {
				last = &noLink
				continue
			}
		}
		if c.lacks(store.Callee, inv.target.trunk) {
			c.leaveBy(inv, last)
			return
		}
		if c.holds[store.Callee] != inv.target.trunk {
			c.free(store.Callee) // of the trunk before, where this one has no limit
		}
		h := inv.hops[0]
		inv.hops = inv.hops[1:]
		if c.agent.isDown(inv.target.trunk, h) { // since the addresses were looked at
			last = &noLink
			continue
		}
		err := c.try(inv, inv.target, h)
		if err == nil {
			return
		}
		c.agent.heard(inv.target.trunk, h, Traffic{Kind: Unsent, Reason: cause(err)})
		c.unreachable(inv, zap.Stringer("addr", h.Addr), err)
	}
	if inv.cancelled != "" {
		c.abandon(inv, store.End{Reason: inv.cancelled, Status: 487})
		return
	}
	if last == &noChannel {
		c.congested(inv, last)
		return
	}
	if last.status == 503 && last.header == nil {
		last = &nothingLeft
	}
	inv.in.refuse(last)
	c.abandon(inv, store.End{Reason: store.Unreachable, Status: last.status})
}

// nothingLeft is what a caller gets when nothing that was tried could be reached,
// RFC 3261 section 21.5.4.
var nothingLeft = fault{503, "", []string{"Retry-After", "10"}}

// more says whether there is something to try yet.
func (inv *invite) more() bool { return len(inv.hops)+len(inv.targets) > 0 }

// look asks the DNS for the target's addresses, and goes on from there. The
// call may be given up meanwhile.
func (c *call) look(inv *invite, last *fault) {
	t := inv.target
	c.agent.work.Go(func() {
		hops, err := c.agent.hops(t)
		c.do(func() {
			defer inv.in.rescue()
			if c.inv != inv {
				return
			}
			if err != nil {
				c.unreachable(inv, zap.Skip(), err)
			}
			if inv.hops = inv.usable(c.agent.cfg.Links, hops); len(hops) > 0 && len(inv.hops) == 0 {
				last = &noLink
			}
			c.next(inv, last)
		})
	})
}

func (c *call) unreachable(inv *invite, at zap.Field, err error) {
	c.agent.log.Info("callee cannot be reached", c.fields(
		zap.String("target", inv.target.uri), zap.String("trunk", inv.target.trunk), at, zap.Error(err))...)
}

// try sends the initial INVITE to one address: the same request on a new
// transaction, RFC 3263 section 4.3.
func (c *call) try(inv *invite, t target, h locate.Hop) error {
	inv.hop = h
	uri, routes, listener := inv.way(t)
	peer := h.Addr.String()
	s := c.agent.socketFor(h.Transport, listener, peer)
	if inv.outCSeq == 0 {
		inv.outCSeq, _ = c.spend(store.Callee)
	}
	c.set(func(rec *record) {
		rec.TrunkOut = t.trunk
		d := &rec.Legs[store.Callee].Dialog
		d.Target, d.Transport, d.Peer, d.Listener = t.uri, h.Transport, peer, s.addr
		d.Kept = t.flow != nil
		if inv.instead == nil {
			caller := &rec.Legs[store.Caller].Dialog
			d.RemoteURI, d.LocalURI = caller.LocalURI, caller.RemoteURI
			if n := t.numbers; n != nil {
				d.RemoteURI, d.LocalURI = n.called.in(d.RemoteURI), n.calling.in(d.LocalURI)
			}
		}
	})
	c.setSession(store.Callee, sessionUUID{}, false)
	mf, _ := forwards(inv.in.req)
	out := c.agent.newRequest(c.dialog(store.Callee), outline{
		method: "INVITE", cseq: inv.outCSeq, uri: uri, routes: routes, maxForwards: mf, contact: true,
	})
	c.relayHeaders(&out.header, inv.in.req, store.Callee)
	t.numbers.apply(out)
	out.body = inv.in.req.body
	if err := c.sendInvite(inv, c.attempt(store.Callee, out)); err != nil {
		return err
	}
	if tx := inv.outTx; inv.more() {
		time.AfterFunc(failoverTime, func() { c.do(func() { c.giveUp(inv, tx, 408) }) })
	}
	return nil
}

// giveUp goes on to the next address when this one has not said a word. The
// status is what that comes to.
func (c *call) giveUp(inv *invite, tx *clientTx, status int) {
	if c.inv != inv || inv.outTx != tx || inv.ringing || inv.final || inv.cancelled != "" {
		return
	}
	c.agent.heard(inv.target.trunk, inv.hop, Traffic{Kind: NoReply})
	c.agent.forget(&forgotten{attempt: inv.attempt, hop: inv.hop, dialog: *c.dialog(store.Callee), trunk: c.trunk(store.Callee)})
	tx.terminate()
	inv.copied = true
	c.next(inv, &fault{status: status})
}

// askAnew sends the INVITE to the same address once more, with the next number.
// The other address, which was given up, leads to the same host, and what went
// there has come: RFC 3261 section 8.2.2.2 has the second copy refused with 482.
// With another number it is none. The first is cancelled once it is heard of.
func (c *call) askAnew(inv *invite) {
	inv.copied, inv.outCSeq = false, 0
	inv.hops = append([]locate.Hop{inv.hop}, inv.hops...)
	c.next(inv, &fault{status: 482})
}

// forgotten is an INVITE that went to the next address before its answer came.
type forgotten struct {
	*attempt
	hop    locate.Hop   // that it was sent to
	dialog store.Dialog // as far as it is known
	trunk  string

	mu        sync.Mutex // guards what is below
	cancelled bool
	declined  map[string]*request // the ACK of each fork that answered, by its tag
}

// forget keeps an INVITE for as long as an answer may come late.
func (a *Agent) forget(f *forgotten) {
	f.declined = make(map[string]*request)
	a.late.Store(f.out.branch, f)
	time.AfterFunc(2*64*sip.T1, func() { a.late.Delete(f.out.branch) })
}

// onLate serves an answer to an INVITE that nobody waits for any more, so that
// no phone rings for it: RFC 3261 section 9.1 has CANCEL sent after a
// provisional response only, and RFC 3261 section 13.2.2.4 a 2xx acknowledged
// and ended. It is false when the answer is not such a one.
func (a *Agent) onLate(res *received) bool {
	v, ok := a.late.Load(res.via.branch)
	if !ok || res.cseqMethod != "INVITE" {
		return ok
	}
	f, tag := v.(*forgotten), res.toTag
	a.heard(f.trunk, f.hop, answerOf(res))
	f.mu.Lock()
	cancel := res.status < 200 && !f.cancelled
	f.cancelled = f.cancelled || cancel
	ack, full := f.declined[tag], len(f.declined) >= maxForks
	f.mu.Unlock()
	switch {
	case cancel:
		if tx, err := a.send(f.out.sameBranch("CANCEL")); err == nil {
			a.await(tx, nil, nil)
		}
	case res.status < 200:
	case res.status >= 300:
		a.write(f.out.refusedAck(res)) // for its transaction
	case ack != nil:
		a.write(ack)
	case !full:
		d := f.dialog
		ack = a.decline(&d, f.attempt, f.trunk, res)
		f.mu.Lock()
		f.declined[tag] = ack
		f.mu.Unlock()
	}
	return true
}
