package b2bua

import (
	"net"
	"net/netip"
	"slices"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// keepsWay says whether a caller is reached by the way that its INVITE came,
// whatever its Contact says: it is behind a NAT, or it asks for that, RFC 5626
// section 4.3.
func (in *inbound) keepsWay(contact, trunk string) bool {
	if in.agent.believes(trunk) {
		return false
	}
	u, err := dialog.ParseURI(contact)
	_, ob := u.Param("ob")
	return err == nil && ob || in.behindNAT(contact)
}

// believes says whether the trunk of a leg has nat: off.
func (c *call) believes(side store.Side) bool {
	if side == store.Callee {
		return c.agent.believes(c.rec.TrunkOut)
	}
	return c.agent.believes(c.rec.TrunkIn)
}

// believe is aim for a far end whose Contact is believed.
func believe(d *store.Dialog, hops []locate.Hop) (transport, peer string) {
	if d.Transport == "udp" && hopAt(hops, d.Peer) < 0 {
		return aimFrom(d.Transport, "", hops) // nothing to compare with
	}
	return aim(d, hops)
}

// believes says whether a trunk has nat: off.
func (a *Agent) believes(trunk string) bool {
	for i := range a.cfg.Trunks {
		if a.cfg.Trunks[i].Name == trunk {
			return a.cfg.Trunks[i].NATOff
		}
	}
	return false
}

// behindNAT says whether a request comes from behind a NAT, so that its sender
// is reached at the address that it was seen at and not at its Contact: it has
// passed no other hop, its own idea of where it is (sent-by of its Via) is not
// where it came from (RFC 3581 section 4 is made for that), and its Contact is
// an address that means something in its own network only.
func (in *inbound) behindNAT(contact string) bool {
	u, uriErr := dialog.ParseURI(contact)
	if uriErr != nil || in.req.via.host == "" || !in.firstHop() {
		return false
	}
	ip := in.source.Addr()
	said, err := netip.ParseAddr(u.Host)
	if err != nil || said.Unmap() == ip || !isInner(said.Unmap()) {
		return false
	}
	sentBy, err := netip.ParseAddr(in.req.via.host)
	return err != nil || sentBy.Unmap() != ip
}

// fromThere is what a far end that was seen at peer can mean by these hops. Who is
// at another machine means its own by a loopback address, if no harm: what listens
// at ours is there for nobody else, and takes a line of SIP for a command perhaps.
func fromThere(peer string, hops []locate.Hop) []locate.Hop {
	here := func(h locate.Hop) bool { return h.Addr.Addr().Unmap().IsLoopback() }
	seen := addrOf(peer)
	if !slices.ContainsFunc(hops, here) || !seen.IsValid() || isLocal(seen.AsSlice()) {
		return hops
	}
	return slices.DeleteFunc(slices.Clone(hops), here)
}

// shared is the address space between a carrier's NAT and its customers'.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// isInner says whether an address means something in one network only.
func isInner(ip netip.Addr) bool {
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || shared.Contains(ip)
}

// isLocal says whether this machine has an address.
func isLocal(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

func trimBrackets(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}
