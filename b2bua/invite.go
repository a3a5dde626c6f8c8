package b2bua

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

var errNoContact = errors.New("no Contact")

// invite is an INVITE on its way from one leg to the other, from its arrival
// to its ACK.
type invite struct {
	from    store.Side // who sent it
	in      *inbound
	initial bool // it makes the call; else it is a re-INVITE

	out     *request // as sent on the other leg
	outTx   *clientTx
	outCSeq uint32
	target  target       // that is being tried
	hop     locate.Hop   // its address that is being tried
	hops    []locate.Hop // its addresses, still to be tried
	targets []target     // still to be tried
	attempt *attempt     // what out and its challenges belong to
	instead *named       // the leg that it takes over, when it was sent to ourselves for that

	forks  []*fork          // the dialogs that it has made, of an initial one
	fork   *fork            // the one in the call's record
	forked int              // how many there were at all targets
	blank  *[2]store.Dialog // both dialogs before any fork

	settled   bool         // a reliable response came: a re-INVITE's offer is answered
	ringing   bool         // a provisional response came: it may be cancelled
	copied    bool         // an address that has not answered may have it, too
	final     bool         // a final response came from where it was last sent
	cancelled store.Reason // why it is to be cancelled, "" if it is not
	cancel    *received    // the CANCEL that is why, if there is one
	ring      *time.Timer  // gives up waiting for the final response
	answer    *response    // the 2xx that we sent back, repeated until the ACK
	acked     atomic.Bool  // the repeating is to stop
	ack       *request     // the ACK that we sent for the other leg's 2xx
	told      *told        // what was known of the session before it
	said      [2][]byte    // the session description that each leg was last given, empty for an odd one
}

// onInvite admits a new call and sends it on.
func (a *Agent) onInvite(in *inbound) {
	in.answer(100) // RFC 3261 section 8.2.6.1: at once, the callee may take long
	trunk := a.trunkOf(in.ip())
	if f, why := a.admit(in); f != nil {
		a.metrics.rejected.WithLabelValues(why).Inc()
		in.refuse(f)
		return
	}
	uri, err := dialog.ParseURI(in.req.uri)
	if err != nil {
		in.refuse(&fault{400, "Bad Request-URI", nil})
		return
	}
	targets, instead := a.route(in.query(uri)), a.takeover(in.req, uri)
	switch {
	case in.route.through:
		t, f := in.flowTarget()
		if f != nil {
			a.metrics.rejected.WithLabelValues("flow").Inc()
			in.refuse(f)
			return
		}
		targets, instead = []target{t}, nil
	case instead != nil:
		targets = []target{{trunk: instead.trunk, uri: instead.leg.Target}}
	}
	if len(targets) == 0 {
		a.metrics.rejected.WithLabelValues("no_route").Inc()
		in.answer(404)
		return
	}
	c, err := a.newCallFrom(in, trunk)
	if err != nil {
		in.refuse(&fault{400, "Bad Contact or Route", nil})
		return
	}
	in.call = c
	in.tag = c.rec.Legs[store.Caller].LocalTag
	inv := &invite{from: store.Caller, in: in, initial: true, targets: targets}
	inv.takeOver(instead)
	c.inv = inv
	a.add(c)
	a.observer.Started(c.snapshot())
	if !c.listenCancel(inv) {
		inv.cancelled = store.CallerCancel
		in.answer(487)
	}
	c.here(in.req.callID, func() {
		defer in.rescue()
		c.locate(store.Caller)
		c.enterFrom(inv, trunk)
	})
}

// admit decides whether a new call is taken; why is a metric's label.
func (a *Agent) admit(in *inbound) (f *fault, why string) {
	if _, ok := forwards(in.req); !ok {
		return &fault{status: 483}, "max_forwards"
	}
	if a.loops(in) {
		return &fault{status: 482}, "loop"
	}
	if f := in.tooShort(); f != nil {
		return f, "session_interval"
	}
	return a.refusal(a.trunkOf(in.ip()))
}

// newCallFrom makes the call and both legs' dialogs as far as they are known.
func (a *Agent) newCallFrom(in *inbound, trunk string) (*call, error) {
	req, id := in.req, a.ids.make()
	contact, err := inviteTarget(req)
	if err != nil {
		return nil, err
	}
	identity := a.identity.Load()
	caller := store.Dialog{
		CallID:     req.callID,
		LocalTag:   dialog.MintTag(identity.tagKey, id, store.Caller),
		RemoteTag:  req.fromTag,
		LocalURI:   dialog.WithoutTag(value(req, "to")),
		RemoteURI:  dialog.WithoutTag(value(req, "from")),
		Target:     contact,
		RouteSet:   dialog.RouteSet(values(req, "record-route"), false), // RFC 3261 section 12.1.1
		Transport:  in.transport(),
		Peer:       in.source.String(),
		Listener:   in.listener(),
		UserAgent:  value(req, "user-agent"),
		Allow:      value(req, "allow"),
		RemoteCSeq: in.cseq,
	}
	dialog.Start(&caller, 1)
	saw(&caller, in.source)
	caller.Kept = in.keepsWay(contact, trunk)
	callee := store.Dialog{
		CallID:    invented(),
		LocalTag:  dialog.MintTag(identity.tagKey, id, store.Callee),
		LocalURI:  caller.RemoteURI,
		RemoteURI: caller.LocalURI,
	}
	dialog.Start(&callee, 1)
	c := a.newCall(store.Call{
		ID: id, State: store.Trying, Node: a.cfg.Node, Epoch: identity.epoch,
		TrunkIn: trunk, Started: time.Now(),
		Legs: [2]store.Leg{{Dialog: caller}, {Dialog: callee}},
	})
	c.asked, c.after = in.asked(), a.cameFrom(req)
	return c, nil
}

// listenCancel has CANCELs of the INVITE served; false when one came already.
func (c *call) listenCancel(inv *invite) bool {
	return c.agent.transaction.listenCancel(inv.in.tx, inv.in.tag, func(asked *received) {
		c.do(func() { c.cancel(inv, store.CallerCancel, asked) })
	})
}

// sendInvite starts the client transaction and has its answers served. A
// transaction that got a provisional response has no time-out of its own.
func (c *call) sendInvite(inv *invite, at *attempt) error {
	tx, err := c.agent.send(at.out)
	if err != nil {
		return err
	}
	inv.attempt = at
	inv.out, inv.outTx, inv.ringing, inv.final = at.out, tx, false, false
	inv.outCSeq = at.out.cseq
	c.inviteFrom = inv.from
	c.inviteCSeq[inv.from], c.inviteCSeq[inv.from.Other()] = inv.in.cseq, inv.outCSeq
	tx.onRetransmission(func(res *received) {
		c.do(func() { c.onRepeated2xx(inv, res) })
	})
	c.agent.await(tx, func(res *received) {
		c.here(res.callID, func() { c.onInviteResponse(inv, tx, res) })
	}, func(err error) {
		c.do(func() { c.onInviteFailed(inv, tx, err) })
	})
	if inv.ring == nil {
		inv.ring = time.AfterFunc(c.agent.cfg.RingTimeout, func() {
			c.do(func() { c.cancel(inv, store.NoAnswer, nil) })
		})
	}
	return nil
}

// cancel gives the callee's INVITE up, RFC 3261 section 9.1: with CANCEL once
// a provisional response has come. asked is the caller's own CANCEL, if any.
//
// Departs from RFC 3261 section 9.2: a re-INVITE gets the answer of the other
// far end, be it 487, and not 487 at once. A 2xx may have crossed the CANCEL, and
// the session is one for both: RFC 3261 section 14.1.
func (c *call) cancel(inv *invite, why store.Reason, asked *received) {
	if inv.cancelled != "" || inv.answer != nil || c.inv != inv {
		return
	}
	inv.cancelled, inv.cancel = why, asked
	switch {
	case !inv.initial:
	case why == store.NoAnswer:
		inv.in.answer(408)
	default:
		inv.in.answer(487)
	}
	if inv.ringing {
		c.sendCancel(inv)
	}
}

// sendCancel sends CANCEL for the INVITE that went out.
func (c *call) sendCancel(inv *invite) {
	out := inv.out.sameBranch("CANCEL")
	if inv.cancel != nil {
		for _, v := range values(inv.cancel, "reason") { // RFC 3326 section 2
			out.add("Reason", v)
		}
	}
	tx, err := c.agent.send(out)
	if err != nil {
		c.agent.log.Info("CANCEL not sent", c.fields(zap.Error(err))...)
	} else {
		c.agent.await(tx, nil, nil)
	}
	c.expire(inv)
}

// expire ends the wait for an INVITE's final response: RFC 3261 section 9.1
// has it count as cancelled after 64*T1. A 2xx transaction stays for its
// repetitions.
func (c *call) expire(inv *invite) {
	tx := inv.outTx
	time.AfterFunc(64*sip.T1, func() {
		c.do(func() {
			if !inv.final {
				tx.terminate()
			}
		})
	})
}

// abandon ends a call that was not answered.
func (c *call) abandon(inv *invite, end store.End) {
	inv.stopRing()
	c.inv = nil
	c.finish(end)
}

// forsake ends a call whose INVITE was lost to a panic before it went out:
// nothing else would.
func (in *inbound) forsake() {
	c := in.call
	if c == nil {
		return
	}
	c.do(func() {
		if inv := c.inv; inv != nil && inv.in == in && inv.initial && inv.outTx == nil {
			c.abandon(inv, store.End{Reason: store.Unreachable, Status: 500})
		}
	})
}

func (inv *invite) stopRing() {
	if inv.ring != nil {
		inv.ring.Stop()
	}
}
