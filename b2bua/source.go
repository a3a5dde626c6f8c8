package b2bua

import (
	"net/netip"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// What becomes of requests inside a call whose source is not the far end's.
const (
	SourceEnforce = "enforce" // answered 403, without effect on the call
	SourceLog     = "log"     // served and logged
	SourceOff     = "off"     // served
)

// fromFarEnd says whether a request inside a dialog comes from where its far
// end is: the address that its requests go to, the one that the far end spoke
// from when it made or moved the dialog, or any of its trunk's. Ports are not
// compared: a NAT may give another one at any time.
//
// A request from elsewhere carries both tags and the Call-ID. So 403 tells its
// sender nothing new, and unlike 481 makes no honest far end, nor an element
// that asks after the call, take it for dead.
func (c *call) fromFarEnd(side store.Side, in *inbound) bool {
	mode := c.agent.cfg.SourceCheck
	if mode == SourceOff || c.isFarEnd(side, in.source) {
		return true
	}
	c.agent.metrics.spoofed.Inc()
	if c.agent.spoofLog.Allow() {
		c.agent.log.Warn("request inside a call comes from an address that is not its far end's",
			c.fields(zap.String("leg", side.String()), zap.String("method", in.method), zap.Stringer("source", in.source),
				zap.String("peer", c.dialog(side).Peer), zap.String("trunk", c.trunk(side)), zap.String("source_check", mode))...)
	}
	switch {
	case mode == SourceLog:
		return true
	case in.unsealed: // by a node that has not read the key of all yet, or has read a new one first
		in.later("Seal Not Known")
	default:
		in.answer(403)
	}
	return false
}

// isFarEnd is fromFarEnd for any message.
func (c *call) isFarEnd(side store.Side, source netip.AddrPort) bool {
	ip := source.Addr().WithZone("")
	d := c.dialog(side)
	if !ip.IsValid() || ip == addrOf(d.Peer) || d.Seen != "" && ip.String() == d.Seen {
		return ip.IsValid()
	}
	return c.agent.belongs(ip, c.trunk(side))
}

// belongs says whether an address is a trunk's: one of its sources, or a
// target that is given as an address.
func (a *Agent) belongs(ip netip.Addr, trunk string) bool {
	for i := range a.cfg.Trunks {
		t := &a.cfg.Trunks[i]
		if t.Name != trunk {
			continue
		}
		for _, prefix := range t.Sources {
			if prefix.Contains(ip) {
				return true
			}
		}
		for _, target := range t.Targets {
			if u, err := dialog.ParseURI(target); err == nil && addrOf(u.HostPort(5060)) == ip {
				return true
			}
		}
	}
	return false
}

// saw notes where the far end of a dialog spoke from, which need not be where
// its requests go.
func saw(d *store.Dialog, source netip.AddrPort) {
	ip := source.Addr().WithZone("")
	if !ip.IsValid() {
		return
	}
	var room [64]byte
	if text := ip.AppendTo(room[:0]); string(text) != d.Seen {
		d.Seen = string(text)
	}
}

// addrOf is the address of host:port, invalid when the host is a name.
func addrOf(hostport string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
