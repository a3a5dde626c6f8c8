package b2bua

import (
	"net/netip"
	"strings"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// crossing is a message on its way from one peer to another.
type crossing struct {
	agent    *Agent
	src      *received
	from, to string     // trunks
	call     *call      // nil outside of calls
	side     store.Side // of the call, that it goes to
}

// passed are the headers that do not pass as they are, and what becomes of
// their values; false takes one out. What they name exists on one leg only:
//
//   - Replaces, Join and Target-Dialog name a dialog. One that is a leg of ours
//     becomes the leg whose far end gets to see it.
//   - Refer-To may have them in its URI.
//   - Event: refer;id names a REFER by its CSeq.
//
// The other ones tell who a user is: see [crossing.asserted]. All else, Identity
// (RFC 8224 section 4) and Referred-By among it, is true on both legs, since
// From and To keep their URIs unless a route rewrites them: see numbers.apply. Bodies are never changed.
var passed = map[string]func(*crossing, string) (string, bool){
	"replaces":             (*crossing).replaces,
	"join":                 (*crossing).replaces,
	"target-dialog":        (*crossing).targetDialog,
	"refer-to":             (*crossing).referTo,
	"event":                (*crossing).event,
	"p-asserted-identity":  (*crossing).asserted,
	"p-preferred-identity": (*crossing).preferred,
	"remote-party-id":      (*crossing).remoteParty,
}

// relayHeaders copies what is the far ends' business from a message of one leg
// to a message to the other one, in order and byte for byte but for what is
// passed otherwise.
func (c *call) relayHeaders(dst *header, src *received, to store.Side) {
	trunks := [2]string{store.Caller: c.rec.TrunkIn, store.Callee: c.rec.TrunkOut}
	c.agent.relayHeaders(dst, crossing{src: src, from: trunks[to.Other()], to: trunks[to], call: c, side: to})
	c.relaySession(dst, src, to)
}

// relayHeaders is call.relayHeaders for what need not belong to a call.
func (a *Agent) relayHeaders(dst *header, x crossing) {
	x.agent = a
	for i := range x.src.fields {
		f := &x.src.fields[i]
		if f.own || f.key == "session-id" && x.call != nil {
			continue
		}
		value, ok := f.value, true
		if pass := passed[f.key]; pass != nil {
			x := x // most messages have nothing that takes the crossing to the heap
			value, ok = pass(&x, value)
		}
		if ok {
			dst.add(f.name, value)
		}
	}
}

// replaces has Replaces and Join name the dialog that the receiver knows.
func (x *crossing) replaces(value string) (string, bool) {
	return x.agent.seen(value, dialog.Replaces), true
}

// targetDialog is replaces for Target-Dialog, RFC 4538 section 3.
func (x *crossing) targetDialog(value string) (string, bool) {
	return x.agent.seen(value, dialog.TargetDialog), true
}

// referTo is the same for the headers in a Refer-To, which the receiver is to
// put into its request. So a transfer works whether that request comes through
// us or goes straight to its target.
func (x *crossing) referTo(value string) (string, bool) {
	addr, err := dialog.ParseAddr(value)
	if err != nil {
		return value, true
	}
	uri, err := dialog.ParseURI(addr.URI)
	if err != nil || uri.Headers == "" {
		return value, true
	}
	changed := false
	for name, names := range map[string]dialog.RefNames{
		"Replaces": dialog.Replaces, "Join": dialog.Replaces, "Target-Dialog": dialog.TargetDialog,
	} {
		if ref, ok := uri.Header(name); ok {
			if seen := x.agent.seen(ref, names); seen != ref {
				uri, changed = uri.WithHeader(name, seen), true
			}
		}
	}
	if changed {
		value = dialog.WithURI(value, uri.String())
	}
	return value, true
}

// seen has a header name a dialog as its receiver knows it. A dialog that is
// none of ours stays as it is: it may be known further on.
func (a *Agent) seen(value string, names dialog.RefNames) string {
	ref, err := dialog.ReadRef(value, names)
	if err != nil {
		return value
	}
	named, ok := a.named(ref)
	if !ok || named.ref == ref {
		return value
	}
	return dialog.WithRef(value, names, named.ref)
}

// named is a leg that a header names.
type named struct {
	leg   store.Dialog // whose far end is to receive the header
	trunk string
	ref   dialog.Ref // the leg as that far end knows it
}

// named finds the leg that a reference leads to. One whose receiver has a tag
// of ours was written by who takes us for the receiver: what it means is at
// the far end of the other leg. One in which we are the peer has been
// translated already, or comes from who has seen that leg from the far end.
//
// RFC 3891 section 3 has the tags compared with those that are local and remote
// to the receiver.
func (a *Agent) named(ref dialog.Ref) (named, bool) {
	for _, tag := range []string{ref.LocalTag, ref.RemoteTag} {
		id, side, ok := dialog.ReadTag(tag)
		c := a.call(id)
		if !ok || c == nil {
			continue
		}
		rec := c.snapshot()
		d := &rec.Legs[side].Dialog
		switch {
		case ref.Is(d.CallID, d.LocalTag, d.RemoteTag):
			side = side.Other()
		case !ref.Is(d.CallID, d.RemoteTag, d.LocalTag):
			continue
		}
		d = &rec.Legs[side].Dialog
		if d.RemoteTag == "" && rec.Answered.IsZero() {
			return named{}, false // there is no dialog yet
		}
		n := named{leg: *d, trunk: rec.TrunkIn, ref: dialog.Ref{CallID: d.CallID, LocalTag: d.RemoteTag, RemoteTag: d.LocalTag}}
		if side == store.Callee {
			n.trunk = rec.TrunkOut
		}
		if n.ref.LocalTag == "" {
			n.ref.LocalTag = "0" // RFC 3891 section 6.1
		}
		return n, true
	}
	return named{}, false
}

// event maps the id of a subscription that REFER made: the number of the REFER,
// RFC 3515 section 2.4.6, which is another one on each leg.
func (x *crossing) event(value string) (string, bool) {
	name, id := dialog.Event(value)
	if x.call == nil || id == "" || !strings.EqualFold(name, "refer") {
		return value, true
	}
	subscriber := x.side.Other() // SUBSCRIBE
	if x.src.method == "NOTIFY" {
		subscriber = x.side
	}
	if s := x.call.subscription(subscriber, x.side.Other(), name, id); s != nil {
		return dialog.WithParam(value, "id", s.id[x.side]), true
	}
	return value, true
}

// badReference is a reason phrase for 400, or "": Replaces and Join stand once,
// in an INVITE, and not together (RFC 3891 section 3, RFC 3911 section 4), and
// name a dialog (RFC 3891 section 6.1). Whether it exists and may be replaced
// is for the far end to say.
func badReference(req *received) string {
	var found []string
	for _, f := range req.fields {
		switch f.key {
		case "replaces", "join":
			if req.method != "INVITE" {
				return f.name + " Outside Of INVITE"
			}
			if _, err := dialog.ReadRef(f.value, dialog.Replaces); err != nil {
				return "Bad " + f.name
			}
			found = append(found, f.key)
		}
	}
	if len(found) > 1 {
		return "More Than One Dialog To Replace Or Join"
	}
	return ""
}

// takeover finds the leg whose far end an INVITE to ourselves is for: it has
// the Request-URI from a Contact of ours, and names a dialog of ours. RFC 3891
// section 4 has such an INVITE sent to the Contact of its target, which who
// talks through us takes to be us.
func (a *Agent) takeover(req *received, uri dialog.URI) *named {
	if !a.isOurURI(uri) {
		return nil
	}
	for _, name := range []string{"replaces", "join"} {
		if ref, err := dialog.ReadRef(value(req, name), dialog.Replaces); err == nil {
			if n, ok := a.named(ref); ok {
				return &n
			}
		}
	}
	return nil
}

// takeOver has an INVITE go to the leg that it takes over, at the address that
// this leg has. It does nothing for any other INVITE.
func (inv *invite) takeOver(instead *named) {
	if instead == nil {
		return
	}
	inv.instead = instead
	d := &instead.leg
	if addr, err := netip.ParseAddrPort(d.Peer); err == nil {
		inv.hops = []locate.Hop{{Transport: d.Transport, Addr: addr}}
		inv.target, inv.targets = inv.targets[0], nil
	}
}

// way is the Request-URI and Route of the initial INVITE, and our socket's
// address: by its target, or as of the leg that it takes over.
func (inv *invite) way(t target) (uri string, routes []string, listener string) {
	if inv.instead == nil {
		uri, routes, _ = t.lines()
		return uri, routes, t.listener(inv.in.call.dialog(store.Caller).Listener)
	}
	uri, routes, _ = dialog.NextHop(&inv.instead.leg)
	return uri, routes, inv.instead.leg.Listener
}
