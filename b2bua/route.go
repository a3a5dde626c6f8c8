package b2bua

import (
	"net/netip"
	"slices"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
)

// target is one place that a request may be sent to.
type target struct {
	trunk  string
	uri    string       // the Request-URI there
	place  string       // the URI that says where that is; empty: routes or uri do
	routes []string     // Route that it is sent with
	addrs  []locate.Hop // its addresses, if they have been found already
	flow   *dialog.Flow // by which it is sent, whatever the URIs say; nil: none
	last   bool         // addrs are demoted, and nothing else is left

	numbers *numbers // what the route makes of them; nil: they stay
}

// trunkOf is the trunk that a request from this address belongs to: the one
// with the longest prefix that holds it, so that a trunk for phones from
// anywhere takes nothing away from the others.
func (a *Agent) trunkOf(ip netip.Addr) string {
	name, longest := OtherTrunk, -1
	for i := range a.cfg.Trunks {
		for _, prefix := range a.cfg.Trunks[i].Sources {
			if prefix.Contains(ip) && prefix.Bits() > longest {
				name, longest = a.cfg.Trunks[i].Name, prefix.Bits()
			}
		}
	}
	return name
}

// query is what decides where a request goes.
type query struct {
	from   string     // trunk that it comes from
	uri    dialog.URI // its Request-URI
	caller string     // user part of its From
}

// query asks for where this request goes, with uri as its Request-URI.
func (in *inbound) query(uri dialog.URI) query {
	q := query{from: in.agent.trunkOf(in.ip()), uri: uri}
	if addr, err := dialog.ParseAddr(value(in.req, "from")); err == nil {
		if u, err := dialog.ParseURI(addr.URI); err == nil {
			q.caller = u.User
		}
	}
	return q
}

// route is where a call goes, in the order to try: as configured, else the
// Request-URI itself. It is empty when the Request-URI names ourselves.
func (a *Agent) route(q query) []target {
	if to, ok := a.configured(q, a.choose); ok {
		return to
	}
	if a.isOurURI(q.uri) {
		return nil
	}
	return []target{{trunk: OtherTrunk, uri: q.uri.String()}}
}

// configured is where the configuration leads to: the next hop if there is one,
// else the trunks of the first route that matches, in this order; false when
// none does.
func (a *Agent) configured(q query, order func(*Route) []string) ([]target, bool) {
	if a.cfg.NextHop != "" {
		return []target{{trunk: a.trunkAt(a.cfg.NextHop), uri: at(a.cfg.NextHop, q.uri)}}, true
	}
	for i := range a.cfg.Routes {
		r := &a.cfg.Routes[i]
		n, ok := r.match(q)
		if !ok {
			continue
		}
		uri := q.uri
		if n != nil {
			uri.User = renumbered(uri.User, n.called)
		}
		var to []target
		for _, name := range order(r) {
			to = append(to, a.targetsOf(name, uri)...)
		}
		for i := range to {
			to[i].numbers = n
		}
		return to, true
	}
	return nil, false
}

// trunkAt is the trunk that has this target.
func (a *Agent) trunkAt(uri string) string {
	for i := range a.cfg.Trunks {
		if slices.Contains(a.cfg.Trunks[i].Targets, uri) {
			return a.cfg.Trunks[i].Name
		}
	}
	return OtherTrunk
}

func (a *Agent) targetsOf(trunk string, requestURI dialog.URI) []target {
	var to []target
	for i := range a.cfg.Trunks {
		if a.cfg.Trunks[i].Name != trunk {
			continue
		}
		for _, uri := range a.cfg.Trunks[i].Targets {
			to = append(to, target{trunk: trunk, uri: at(uri, requestURI)})
		}
	}
	return to
}

// at is the Request-URI for a user at a configured place: its host, port and
// parameters, and the user that was called unless the place names its own.
func at(place string, requestURI dialog.URI) string {
	u, err := dialog.ParseURI(place) // was validated
	if err != nil {
		return place
	}
	if u.User == "" {
		u.User = requestURI.User
	}
	return u.String()
}
