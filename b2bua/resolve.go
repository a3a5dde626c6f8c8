package b2bua

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// resolveTimeout bounds one look-up of a host name.
const resolveTimeout = 2 * time.Second

// hop is where a request goes next.
type hop struct {
	transport string // udp, tcp
	addr      string // IP and port
}

// transportOf is the transport that a URI asks for, udp by default.
func transportOf(u dialog.URI) string {
	if t, ok := u.Param("transport"); ok {
		return strings.ToLower(t)
	}
	return "udp"
}

// resolve finds the address behind a SIP URI.
//
// Departs from RFC 3263 section 4: names are looked up as hosts only; NAPTR
// and SRV are not asked.
func resolve(uri string) (hop, error) {
	u, err := dialog.ParseURI(uri)
	if err != nil {
		return hop{}, fmt.Errorf("%q: %w", uri, err)
	}
	if u.Scheme != "sip" || u.Host == "" {
		return hop{}, fmt.Errorf("%q: only sip URIs can be reached", uri)
	}
	h := hop{transport: transportOf(u)}
	if h.transport != "udp" && h.transport != "tcp" {
		return hop{}, fmt.Errorf("%q: transport %s is not supported", uri, h.transport)
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	host := u.Host
	if maddr, ok := u.Param("maddr"); ok {
		host = maddr
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		h.addr = netip.AddrPortFrom(ip.Unmap(), uint16(port)).String()
		return h, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return hop{}, fmt.Errorf("looking up %q: %w", host, err)
	}
	best := ips[0]
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			best = ip
			break
		}
	}
	h.addr = net.JoinHostPort(best.Unmap().String(), strconv.Itoa(port))
	return h, nil
}

// locate finds the address that the leg's requests go to. The address that the
// far end was last seen at stays where a look at its Contact shows that this
// is the better one: its own connection, or a NAT in front of it.
func locate(d *store.Dialog) error {
	_, _, uri := dialog.NextHop(d)
	h, err := resolve(uri)
	if err != nil {
		return err
	}
	seen, _ := netip.ParseAddrPort(d.Peer)
	said, _ := netip.ParseAddrPort(h.addr)
	switch {
	case !seen.IsValid():
	case d.Transport == "tcp" && seen.Addr().Unmap() == said.Addr(),
		said.Addr().IsPrivate() && !seen.Addr().Unmap().IsPrivate() && !seen.Addr().IsLoopback():
		return nil
	}
	d.Transport, d.Peer = h.transport, h.addr
	return nil
}

// destination is where a request on this leg goes now: to its peer, or over
// TCP, when the peer's connection is gone, to where its target says that it
// listens.
func (a *Agent) destination(d *store.Dialog) string {
	if d.Transport != "tcp" {
		return d.Peer
	}
	if conn, err := a.transport.GetConnection("tcp", d.Peer); err == nil {
		_, _ = conn.TryClose() // gives back what GetConnection took
		return d.Peer
	}
	_, _, uri := dialog.NextHop(d)
	if h, err := resolve(uri); err == nil && h.transport == "tcp" {
		return h.addr
	}
	return d.Peer
}

// isLoopback says whether an address is one of this machine's own.
func isLoopback(hostport string) bool {
	ap, err := netip.ParseAddrPort(hostport)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
