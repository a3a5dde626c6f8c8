package b2bua

import (
	"net/netip"
	"strings"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// route is what the Route headers of a request said of us.
type route struct {
	through bool         // a token of ours says that it passes through us
	flow    *dialog.Flow // where it goes then; nil: where rest or its Request-URI say
	rest    []string     // what is left for those behind us
}

// takeRoute takes the topmost Routes that name us off a request, RFC 3261
// section 16.4, and reads the tokens in them, RFC 5626 section 5.3. A Route
// without a token is that of a phone that has us as its outbound proxy, and
// says nothing; nor does the sender's own token, except inside a dialog.
func (in *inbound) takeRoute() *fault {
	var list []string
	for _, v := range values(in.req, "route") {
		list = append(list, dialog.SplitList(v)...)
	}
	for ; len(list) > 0; list = list[1:] {
		addr, err := dialog.ParseAddr(list[0])
		if err != nil {
			break
		}
		u, err := dialog.ParseURI(addr.URI)
		if err != nil {
			break
		}
		flow, ok := in.agent.readFlow(u.User)
		if in.route.flow != nil && (!ok || flow != *in.route.flow) {
			break // the second of two that we gave is ours still
		}
		if !ok {
			if !in.agent.isOurURI(u) {
				break
			}
			if u.User != "" {
				return &badToken
			}
			continue
		}
		if in.cameBy(flow) {
			in.route.through = in.tag != ""
			continue
		}
		in.route.through, in.route.flow = true, &flow
	}
	in.route.rest = list
	return nil
}

// readFlow reads a token, also one that was given before the store's key was
// known: registrations outlive that.
func (a *Agent) readFlow(token string) (dialog.Flow, bool) {
	f, ok := dialog.ReadFlow(a.identity.Load().tagKey, token)
	if !ok {
		f, ok = dialog.ReadFlow(a.early, token)
	}
	return f, ok
}

// cameBy says whether the request came by this flow: then it goes out, and not
// to the far end of the flow. Who is believed may send from any port.
func (in *inbound) cameBy(f dialog.Flow) bool {
	return f.Transport == in.transport() &&
		(in.source == f.Peer || f.Believed && in.tag != "" && in.source.Addr() == f.Peer.Addr())
}

// wayBack is the flow that a request came by, to be used for what goes to its
// sender later. The sender's Contact is believed in a trunk with nat: off, and
// in a request other than REGISTER that no NAT has changed.
func (in *inbound) wayBack(trunk string) dialog.Flow {
	f := dialog.Flow{Transport: in.transport(), Peer: in.source}
	f.Local, _ = addrPort(in.listener())
	contact, _ := contactURI(in.req)
	// There is no other way to who speaks over a WebSocket, whatever its Contact says.
	f.Believed = !isWebSocket(f.Transport) && in.agent.believes(trunk) ||
		in.method != "REGISTER" && f.Transport == "udp" && !in.behindNAT(contact)
	return f
}

func addrPort(s string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err == nil
}

// ownURI is the URI by which requests come back through us to a flow, for who
// reaches this socket of ours from there.
func (a *Agent) ownURI(f dialog.Flow, s *socket, from string) dialog.URI {
	u := dialog.URI{Scheme: "sip", User: dialog.MintFlow(a.identity.Load().tagKey, f), Params: transportParam(s.transport) + ";lr"}
	u.Host, u.Port = a.reachedAt(s, from)
	return u
}

// firstHop says whether the request comes from its sender itself, RFC 5626
// section 5.1.
func (in *inbound) firstHop() bool {
	return len(values(in.req, "via")) == 1 // each has one value: so they are read
}

// alive says whether a flow can be used: a connection lives as long as it
// lives, a datagram can always be sent.
func (a *Agent) alive(f *dialog.Flow) bool {
	if f.Transport == "udp" {
		return a.serves("udp")
	}
	return a.streams.leads(f.Transport, f.Peer.String())
}

func (a *Agent) serves(transport string) bool {
	for i := range a.sockets {
		if a.sockets[i].transport == transport {
			return true
		}
	}
	return false
}

// The answers of RFC 5626 section 5.3.1 to a token that was tampered with, and
// to one of a flow that is gone: the registrar may try another one.
var (
	badToken   = fault{403, "Bad Flow Token", nil}
	flowFailed = fault{430, "Flow Failed", nil}
)

// flowTarget is where a request with a token of ours goes: to the flow, or
// where the Routes behind ours and its Request-URI say. A token opens no way
// out of the trunk that it was made for: who has one, which the phone itself
// has, could else have us call anybody in our name.
func (in *inbound) flowTarget() (target, *fault) {
	t := target{trunk: OtherTrunk, uri: in.req.uri, routes: in.route.rest}
	f := in.route.flow
	if f == nil {
		return t, nil
	}
	t.trunk = in.agent.trunkOf(f.Peer.Addr().Unmap())
	if !f.Believed && in.agent.alive(f) {
		t.flow = f
		return t, nil
	}
	hops, err := in.agent.hops(t)
	switch {
	case err != nil:
	case f.Believed:
		for _, h := range hops {
			if in.agent.trunkOf(h.Addr.Addr().Unmap()) != t.trunk {
				return t, &badToken
			}
		}
		t.addrs = hops
		return t, nil
	case hops[0].Transport == f.Transport && hops[0].Addr.Addr() == f.Peer.Addr() && hops[0].Addr != f.Peer:
		return t, nil // the connection is gone, but there is no NAT: where the Contact says
	}
	return t, &flowFailed
}

// hops are the addresses of a target. It may wait for the DNS.
func (a *Agent) hops(t target) ([]locate.Hop, error) {
	switch {
	case t.flow != nil:
		return []locate.Hop{{Transport: t.flow.Transport, Addr: t.flow.Peer}}, nil
	case t.addrs != nil:
		return t.addrs, nil
	}
	return a.find(t.hopURI())
}

// knownHops is hops for what needs no DNS, or is remembered; false otherwise.
func (a *Agent) knownHops(t target) ([]locate.Hop, bool) {
	if t.flow != nil || t.addrs != nil {
		hops, _ := a.hops(t)
		return hops, true
	}
	return a.known(t.hopURI())
}

// hopURI says where a target is that is no flow.
func (t *target) hopURI() string {
	if t.place != "" {
		return t.place
	}
	_, _, uri := t.lines()
	return uri
}

// lines are Request-URI and Routes of a request to a target, and the URI that
// says where it is sent.
func (t *target) lines() (requestURI string, routes []string, hop string) {
	return dialog.NextHop(&store.Dialog{Target: t.uri, RouteSet: t.routes})
}

// listener is the address of the socket that requests to a target leave from,
// if it is known.
func (t *target) listener(usual string) string {
	if t.flow != nil {
		return t.flow.Local.String()
	}
	return usual
}

// keepAlives answers what a phone says of keep-alives when it registers over a
// connection, RFC 6223 section 4.4: it may send them.
func (in *inbound) keepAlives() {
	for i := range in.req.fields {
		if f := &in.req.fields[i]; f.key == "via" && in.transport() != "udp" {
			value, params, _ := strings.Cut(f.value, ";")
			f.value = value + strings.Replace(";"+params+";", ";keep;", ";keep=30;", 1)
			f.value = strings.TrimSuffix(f.value, ";")
			return
		}
	}
}
