package b2bua

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// transportOf is the transport that a URI asks for, udp by default.
func transportOf(u dialog.URI) string {
	if t, ok := u.Param("transport"); ok {
		return strings.ToLower(t)
	}
	return "udp"
}

// defaultPort is the port where a URI names none, RFC 3261 section 19.1.2.
func defaultPort(transport string) int {
	if transport == "tls" {
		return 5061
	}
	return 5060
}

// find returns where a request to this URI may go, the best first. It may wait
// for the DNS, for some seconds: not in a call's turn.
func (a *Agent) find(uri string) (hops []locate.Hop, err error) {
	u, err := dialog.ParseURI(uri)
	if err != nil {
		return nil, err
	}
	a.mayWait()
	err = errors.New("the look-up broke")
	guarded(func() { hops, err = a.resolver.Find(context.Background(), u, a.reach()) }, a.panicked)
	return hops, err
}

// known is find for what needs no DNS, or is remembered; false otherwise.
func (a *Agent) known(uri string) ([]locate.Hop, bool) {
	u, err := dialog.ParseURI(uri)
	if err != nil {
		return nil, false
	}
	return a.resolver.Known(u, a.reach())
}

// reach is what our sockets let us reach. TLS needs none to be dialled from.
func (a *Agent) reach() []locate.Socket {
	list := make([]locate.Socket, 0, len(a.sockets))
	for i := range a.sockets {
		s := &a.sockets[i]
		list = append(list, locate.Socket{Transport: s.transport, IPv6: s.v6})
		if a.cfg.TLS != nil {
			list = append(list, locate.Socket{Transport: "tls", IPv6: s.v6})
		}
	}
	return list
}

// locate finds the address that the leg's requests go to, once its remote
// target or its route set is another one. What the DNS has to be asked for
// comes later, and until then the address stays.
func (c *call) locate(side store.Side) {
	if c.believes(side) {
		c.redirect(side, believe)
		return
	}
	c.redirect(side, aim)
}

// moveOn has the leg's next request go to the next of its far end's addresses,
// because the network does not take one to this address, RFC 3263 section 4.3.
// A far end with one address is left where it is. Where it is this machine that has
// no network, another address of the same kind is no better: who is there may not
// know the dialog, and say so as soon as there is a network again.
func (c *call) moveOn(side store.Side, failed string, why error) {
	c.redirect(side, func(d *store.Dialog, hops []locate.Hop) (transport, peer string) {
		if c.agent.destination(d) == failed {
			next := hops[(hopAt(hops, failed)+1)%len(hops)]
			alike := next.Addr.Addr().Unmap().Is4() == addrOf(failed).Is4()
			if addr := next.Addr.String(); addr != failed && !(alike && ours(why)) {
				return next.Transport, addr
			}
		}
		return d.Transport, d.Peer
	})
}

// redirect has the leg's address chosen from those of the URI that its requests
// go to. The DNS is asked outside of the turn, and its answer counts unless
// requests go to another URI by then.
func (c *call) redirect(side store.Side, choose func(*store.Dialog, []locate.Hop) (transport, peer string)) {
	_, _, uri := dialog.NextHop(c.dialog(side))
	if c.dialog(side).Kept || leads(uri, c.dialog(side)) {
		return
	}
	move := func(hops []locate.Hop) {
		d := c.dialog(side)
		if hops = fromThere(d.Peer, hops); len(hops) == 0 {
			return
		}
		transport, peer := choose(d, hops)
		if d.Peer == peer && d.Transport == transport {
			return
		}
		c.set(func(*record) { d.Transport, d.Peer = transport, peer })
		if c.stored {
			c.save()
		}
	}
	if hops, ok := c.agent.known(uri); ok {
		move(hops)
		return
	}
	c.agent.work.Go(func() {
		hops, err := c.agent.find(uri)
		c.do(func() {
			_, _, now := dialog.NextHop(c.dialog(side))
			switch {
			case now != uri || c.state() == store.Terminated:
			case err != nil:
				c.agent.log.Info("far end's URI leads nowhere, its address stays", c.fields(
					zap.String("leg", side.String()), zap.String("peer", c.dialog(side).Peer), zap.Error(err))...)
			default:
				move(hops)
			}
		})
	})
}

// leads says whether a URI names the very address that a leg has: nothing better
// can be found.
func leads(uri string, d *store.Dialog) bool {
	u, err := dialog.ParseURI(uri)
	if _, elsewhere := u.Param("maddr"); err != nil || u.Scheme != "sip" || elsewhere || transportOf(u) != d.Transport {
		return false
	}
	ip, err := netip.ParseAddr(u.Host)
	peer, _ := netip.ParseAddrPort(d.Peer)
	if u.Port == 0 {
		u.Port = defaultPort(d.Transport)
	}
	return err == nil && peer == netip.AddrPortFrom(ip.Unmap(), uint16(u.Port))
}

// aim is the address that a leg's requests go to. The address that the far
// end was last seen at stays where it is one of these, and where a look at them
// shows that it is the better one: its own connection, or a NAT in front of it.
func aim(d *store.Dialog, hops []locate.Hop) (transport, peer string) {
	return aimFrom(d.Transport, d.Peer, hops)
}

func aimFrom(transport, peer string, hops []locate.Hop) (string, string) {
	seen, _ := netip.ParseAddrPort(peer)
	seen = netip.AddrPortFrom(seen.Addr().Unmap(), seen.Port())
	said := hops[0]
	ip := said.Addr.Addr()
	switch {
	case isWebSocket(transport): // a browser: it is reached through its connection only
		return transport, peer
	case !seen.IsValid():
	case slices.ContainsFunc(hops, func(h locate.Hop) bool { return h.Transport == transport && h.Addr == seen }),
		transport != "udp" && seen.Addr() == ip,
		ip.IsPrivate() && !seen.Addr().IsPrivate() && !seen.Addr().IsLoopback():
		return transport, peer
	}
	return said.Transport, said.Addr.String()
}

// destination is where a request on this leg goes now: to its peer, or, when
// the peer's connection is gone, to where its target says that it listens.
func (a *Agent) destination(d *store.Dialog) string {
	if d.Transport == "udp" || d.Kept || isWebSocket(d.Transport) || a.streams.leads(d.Transport, d.Peer) {
		return d.Peer
	}
	_, _, uri := dialog.NextHop(d)
	hops, _ := a.known(uri)
	hops = slices.DeleteFunc(fromThere(d.Peer, hops), func(h locate.Hop) bool { return h.Transport != d.Transport })
	if len(hops) == 0 || hopAt(hops, d.Peer) >= 0 {
		return d.Peer
	}
	return hops[0].Addr.String()
}

// back notes where a far end is now that is reached by the way that it came: its
// NAT gave it another address or port, or it came back on another connection,
// maybe before we hear that the one before is dead. Nothing else leads to it. Any
// other far end is reached on its new connection once the one before is closed,
// since most phones take none.
func (c *call) back(side store.Side, in *inbound) {
	d := c.dialog(side)
	transport, peer := in.transport(), in.source.String()
	browser := isWebSocket(d.Transport) && isWebSocket(transport)
	switch {
	case peer == d.Peer, in.forwarded:
		return
	case browser:
	case transport != d.Transport, !c.isFarEnd(side, in.source):
		return
	case !d.Kept && (transport == "udp" || c.agent.streams.leads(transport, d.Peer)):
		return
	}
	c.set(func(rec *record) {
		d := &rec.Legs[side].Dialog
		d.Transport, d.Peer, d.Listener = transport, peer, in.listener()
	})
	if c.stored {
		c.save()
	}
}

// hopAt is the index of the hop at an address, or -1.
func hopAt(hops []locate.Hop, addr string) int {
	return slices.IndexFunc(hops, func(h locate.Hop) bool { return h.Addr.String() == addr })
}

// sendAround is send for a request that must not get lost to one dead address:
// it tries the others of this URI that speak the same transport, RFC 3263
// section 4.3. It may wait for the DNS and for connections. Without a URI it is
// send.
func (a *Agent) sendAround(req *request, uri string) (*clientTx, error) {
	if uri == "" {
		return a.send(req)
	}
	tx, err := a.sendWaiting(req)
	if err == nil {
		return tx, nil
	}
	failed := req.to
	hops, _ := a.find(uri)
	for _, h := range hops {
		if h.Addr.String() == failed || h.Transport != req.transport {
			continue
		}
		req.rebranch()
		req.to = h.Addr.String()
		if tx, err = a.sendWaiting(req); err == nil {
			return tx, nil
		}
	}
	return nil, err
}
