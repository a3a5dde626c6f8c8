// Package locate finds where a SIP request goes: the transports, addresses and
// ports behind a SIP or SIPS URI, in the order to try them, by RFC 3263. What
// the DNS says is kept as long as it allows, and longer while it is silent.
package locate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sipvigil/b2bua/dialog"
)

// Bounds of one look-up.
const (
	findTime = 5 * time.Second // for all that it asks
	maxHops  = 16
)

// Hop is one place that a request can be sent to.
type Hop struct {
	Transport string // udp, tcp or tls
	Addr      netip.AddrPort
}

// Socket is what we can send from: a transport, and the kind of addresses that
// it reaches.
type Socket struct {
	Transport string
	IPv6      bool
}

// Config says who is asked. Its zero value stands for what the system is set to.
type Config struct {
	Server string // DNS server, host:port; empty: those of /etc/resolv.conf

	// What follows is for tests, and has defaults.
	Hosts string                                                            // file with names that are not asked for, /etc/hosts
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error) // reaches a DNS server
	Draw  func(n int) int                                                   // a random number below n
}

// Resolver finds hops, and remembers what it was told. Its methods may be
// called from many goroutines; those that need the same answer at the same
// time share one question.
type Resolver struct {
	cfg Config

	mu      sync.Mutex // guards what is below
	known   map[question]*record
	flights map[question]*flight
}

// New returns a resolver that knows nothing yet.
func New(cfg Config) *Resolver {
	if cfg.Hosts == "" {
		cfg.Hosts = "/etc/hosts"
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Draw == nil {
		cfg.Draw = rand.IntN
	}
	return &Resolver{cfg: cfg, known: make(map[question]*record), flights: make(map[question]*flight)}
}

// Find returns the hops behind a URI, the best first, at least one without an
// error. It asks the DNS for what it does not know, for five seconds at most.
func (r *Resolver) Find(ctx context.Context, u dialog.URI, sockets []Socket) ([]Hop, error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	return r.find(u, sockets, func(q question) ([]rr, error) { return r.lookup(ctx, q) })
}

// Known is Find without asking: false when the DNS would have to be, be it for
// one hop of many.
func (r *Resolver) Known(u dialog.URI, sockets []Socket) ([]Hop, bool) {
	var unknown atomic.Bool
	hops, err := r.find(u, sockets, func(q question) ([]rr, error) {
		rrs, err := r.recall(q)
		if errors.Is(err, errUnknown) {
			unknown.Store(true)
		}
		return rrs, err
	})
	return hops, err == nil && !unknown.Load()
}

func (r *Resolver) find(u dialog.URI, sockets []Socket, lookup func(question) ([]rr, error)) ([]Hop, error) {
	s := &search{uri: u, sockets: sockets, lookup: lookup, draw: r.cfg.Draw}
	hops, err := s.hops()
	if err != nil {
		return nil, fmt.Errorf("%q: %w", u.String(), err)
	}
	return hops[:min(len(hops), maxHops)], nil
}

// search is the way from one URI to its hops.
type search struct {
	uri     dialog.URI
	sockets []Socket
	lookup  func(question) ([]rr, error)
	draw    func(n int) int

	transports []string // that may be used
	open       bool     // the URI names none
}

// hops chooses transport, port and address, RFC 3263 sections 4.1 and 4.2.
func (s *search) hops() ([]Hop, error) {
	if err := s.allow(); err != nil {
		return nil, err
	}
	target := s.uri.Host
	if maddr, ok := s.uri.Param("maddr"); ok { // RFC 3263 section 4: TARGET
		target = strings.Trim(maddr, "[]")
	}
	if ip, err := netip.ParseAddr(target); err == nil && ip.Zone() == "" {
		if !isHost(ip) {
			return nil, fmt.Errorf("%s is the address of no host", ip)
		}
		return []Hop{s.hop(s.transports[0], ip, s.uri.Port)}, nil
	}
	name, ok := domain(target)
	if !ok {
		return nil, fmt.Errorf("%q is neither an address nor a name", target)
	}
	if s.uri.Port != 0 {
		return s.addresses(name, s.transports[0], s.uri.Port)
	}
	hops, err := s.services(name)
	if err != nil || len(hops) > 0 {
		return hops, err
	}
	// RFC 3263 section 4.2: no SRV records.
	return s.addresses(name, s.transports[0], 0)
}

// isHost says whether an address can be that of one host. To connect to none at
// all is to connect to this one.
func isHost(ip netip.Addr) bool {
	ip = ip.Unmap()
	return !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// allow finds the transports that the URI lets us use, the default first, RFC
// 3263 section 4.1. One that it names needs no socket of its own to be dialled
// from, but TLS needs a configuration. "tls" as a parameter is deprecated by
// RFC 3261 section 26.2.2, but in use.
func (s *search) allow() error {
	secure := s.uri.Scheme == "sips"
	if !secure && s.uri.Scheme != "sip" || s.uri.Host == "" {
		return errors.New("only sip and sips URIs can be reached")
	}
	t, named := s.uri.Param("transport")
	t = strings.ToLower(t)
	s.open = !named
	switch {
	case named && t == "udp" && !secure:
		s.transports = []string{t}
	case named && t == "tcp" && !secure:
		s.transports = []string{t}
	case named && t != "tcp" && t != "tls":
		// Who speaks WebSocket is reached through its own connection only.
		return fmt.Errorf("transport %q cannot be looked up", t)
	case named || secure:
		s.transports = []string{"tls"}
	default:
		s.transports = []string{"udp", "tcp", "tls"}
	}
	if secure || s.open || s.transports[0] == "tls" {
		s.transports = slices.DeleteFunc(s.transports, func(t string) bool {
			return !slices.ContainsFunc(s.sockets, func(k Socket) bool { return k.Transport == t })
		})
	}
	if len(s.transports) == 0 {
		return errors.New("there is no socket of its transport")
	}
	return nil
}

// hop is one place; port 0 is the transport's default.
func (s *search) hop(transport string, ip netip.Addr, port int) Hop {
	if port == 0 {
		port = 5060
		if transport == "tls" {
			port = 5061
		}
	}
	return Hop{transport, netip.AddrPortFrom(ip.Unmap(), uint16(port))}
}

// addresses looks a host up. Of both families the one of the first socket comes
// first; one that no socket reaches is not asked for.
func (s *search) addresses(host, transport string, port int) ([]Hop, error) {
	types := s.families(transport)
	found := make([][]rr, len(types))
	failed := make([]error, len(types))
	parallel(len(types), func(i int) {
		found[i], failed[i] = s.lookup(question{host, types[i]})
	})
	var hops []Hop
	for _, rrs := range found {
		for _, a := range rrs {
			if ip := a.ip; ip.IsValid() && isHost(ip) {
				hops = append(hops, s.hop(transport, ip, port))
			}
		}
	}
	if len(hops) > 0 {
		return hops, nil
	}
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s has no address that a socket of ours reaches", host)
}

// families are the types of address records to ask for.
func (s *search) families(transport string) []uint16 {
	var types []uint16
	for _, only := range []bool{true, false} { // sockets of the transport, else any
		for _, k := range s.sockets {
			t := uint16(typeA)
			if k.IPv6 {
				t = typeAAAA
			}
			if (k.Transport == transport || !only) && !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
		if len(types) > 0 {
			break
		}
	}
	return types
}

// parallel runs f for 0 to n-1 at the same time and waits.
func parallel(n int, f func(i int)) {
	if n == 1 {
		f(0)
		return
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
