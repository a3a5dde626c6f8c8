package b2bua

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// maxDatagram is the largest UDP message that we send or read. IP fragments
// what is larger than the path's MTU.
//
// Departs from RFC 3261 section 18.1.1: requests above 1300 bytes stay on UDP,
// because peers that were reached over UDP often do not listen on TCP.
const maxDatagram = 65535

// socket is one address that we serve on.
type socket struct {
	transport string
	addr      string // with its port
	ip        net.IP
	port      int
	v6        bool
	conn      *packetConn // nil for connections

	// Where peers reach us, as sent-by of RFC 3261 section 25.1, too; empty where
	// that depends on the peer.
	host, sentBy string
	public       int // the port
}

// newSocket describes a socket that peers reach by its own address, or by the one
// that is advertised, unless that is one of the other version of IP.
func newSocket(transport string, addr net.Addr, advertise string) socket {
	s := socket{transport: transport, addr: addr.String()}
	switch a := addr.(type) {
	case *net.UDPAddr:
		s.ip, s.port = a.IP, a.Port
	case *net.TCPAddr:
		s.ip, s.port = a.IP, a.Port
	}
	s.v6, s.public = s.ip.To4() == nil, s.port
	host, port, err := splitAdvertise(advertise)
	if ip := net.ParseIP(host); err == nil && host != "" && (ip == nil || (ip.To4() == nil) == s.v6) {
		s.host = host
		if port != 0 && (transport == "udp" || transport == "tcp") { // others have ports of their own
			s.public = port
		}
	} else if !s.ip.IsUnspecified() {
		s.host = s.ip.String()
	}
	if s.host != "" {
		s.sentBy = string(appendHostPort(nil, s.host, s.public))
	}
	return s
}

// socketFor is the socket that a leg's requests leave from: the one that it
// used before if it is still there, else the first of its transport and of its
// peer's IP version, else one that has something of that.
func (a *Agent) socketFor(transport, addr, peer string) *socket {
	v6 := isIPv6(peer)
	var found *socket
	best := -1
	for i := range a.sockets {
		s := &a.sockets[i]
		fit := 0
		if s.v6 == v6 {
			fit++
		}
		if s.transport == transport {
			fit += 2
		}
		switch {
		case fit == 3 && s.addr == addr:
			return s
		case fit > best:
			found, best = s, fit
		}
	}
	return found
}

// isIPv6 says whether an address with its port is one of IPv6.
func isIPv6(hostport string) bool {
	if !strings.HasPrefix(hostport, "[") {
		return false
	}
	ap, err := netip.ParseAddrPort(hostport)
	return err == nil && ap.Addr().Unmap().Is6()
}

// reachedAt is the host and port that a peer reaches us at.
func (a *Agent) reachedAt(s *socket, peer string) (host string, port int) {
	if s.host != "" {
		return s.host, s.public
	}
	// A socket bound to no address.
	if ip := a.ownAddrs.towards(peer, time.Now()); ip != "" {
		return ip, s.port
	}
	return "127.0.0.1", s.port
}

// isOurURI says whether a URI names one of our own sockets.
func (a *Agent) isOurURI(u dialog.URI) bool {
	t := transportOf(u)
	port := u.Port
	if port == 0 {
		port = defaultPort(t)
	}
	for i := range a.sockets {
		s := &a.sockets[i]
		if transportParam(s.transport) != transportParam(t) || s.port != port && s.public != port {
			continue
		}
		ip := net.ParseIP(u.Host)
		if s.host != "" && sameName(s.host, u.Host) || ip != nil && ip.Equal(net.ParseIP(s.host)) {
			return true
		}
		if s.ip.Equal(ip) || (s.ip.IsUnspecified() && isLocal(ip)) {
			return true
		}
	}
	return false
}

// sameName says whether two host names are the same: case means nothing, RFC 3261
// section 19.1.4, nor does a dot at the end.
func sameName(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// ReceiveBuffer is the size in bytes that the receive buffer of a UDP socket should
// have. It holds some 7,000 datagrams, what comes in a fifth of a second at three
// times the rate that can be served: by then new calls are refused, and nothing
// of those that were accepted is lost.
const ReceiveBuffer = 16 << 20

// packetConn is a UDP socket.
type packetConn struct {
	net.PacketConn
	bunches *udpSocket // the same, nil where it is not read in bunches
	addr    string     // the local address
	guard   *guard
	lost    *errorQueue            // nil where the system has none
	came    time.Time              // when what was read last came to this host
	replies []store.Reply          // to probes, read and not told yet
	serving atomic.Pointer[reader] // who serves what it has read
}

func newPacketConn(conn net.PacketConn, m *metrics, seed maphash.Seed) *packetConn {
	p := &packetConn{PacketConn: conn, addr: conn.LocalAddr().String(), guard: newGuard(m, seed)}
	expect := func() bool { return p.guard.agent.quick.wait() }
	if p.bunches = newUDPSocket(conn, expect); p.bunches != nil {
		p.PacketConn = p.bunches
	}
	p.lost = newErrorQueue(p.PacketConn)
	return p
}

// next reads what the guard lets pass. Errors other than the end of the socket do
// not end the reading.
func (p *packetConn) next(b []byte) (int, netip.AddrPort, error) {
	for {
		if !p.bunches.more() {
			p.tell()
		}
		datagram, from, err := p.read(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, from, err
		case err != nil:
			p.excuse(err)
			continue
		case p.answersProbe(datagram, from):
			if m := p.guard.agent.mirror; m != nil {
				m.copy("udp", net.UDPAddrFromAddrPort(from), p.LocalAddr(), datagram)
			}
			if p.bunches != nil {
				p.bunches.answered++
			}
			continue
		}
		p.tell()
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if p.guard.pass(datagram, from, p.PacketConn) {
			if m := p.guard.agent.mirror; m != nil {
				m.copy("udp", net.UDPAddrFromAddrPort(from), p.LocalAddr(), datagram)
			}
			return copy(b, datagram), from, nil
		}
	}
}

// read reads a datagram, into b or elsewhere.
func (p *packetConn) read(b []byte) (datagram []byte, from netip.AddrPort, err error) {
	if p.bunches != nil {
		before := p.bunches.dropped
		datagram, from, p.came, err = p.bunches.read()
		if lost := p.bunches.dropped - before; lost > 0 {
			p.guard.metrics.overflowed.Add(float64(lost))
			p.guard.agent.transaction.strain.overflowed()
		}
		return datagram, from, err
	}
	n, addr, err := p.PacketConn.ReadFrom(b)
	if err != nil {
		return nil, from, err
	}
	p.came = time.Now()
	return b[:n], addrPortOf(addr), nil
}

// lastCame implements carrier.
func (p *packetConn) lastCame() time.Time { return steady(p.came) }

// steady is when a datagram came, by the clock that nobody sets: the kernel counts
// by the other.
func steady(came time.Time) time.Time {
	now := time.Now()
	if waited := now.Sub(came); 0 < waited && waited < longestWait {
		return now.Add(-waited)
	}
	return now
}

// longestWait is how long a datagram can have waited in its socket. What seems
// longer is the work of whoever set the clock.
const longestWait = 10 * time.Second

// answer implements carrier.
func (p *packetConn) answer(text []byte, to netip.AddrPort) error {
	if len(text) > maxDatagram {
		return sip.ErrUDPMTUCongestion
	}
	return p.send(text, to)
}

// put implements outlet.
func (p *packetConn) put(r *request) error {
	b := writing.Get().(*bytes.Buffer)
	defer writing.Put(b)
	b.Reset()
	r.write(b)
	return p.write(b.Bytes(), r.to)
}

// writing holds what messages are written to.
var writing = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// write sends a message.
func (p *packetConn) write(msg []byte, to string) error {
	if len(msg) > maxDatagram {
		return sip.ErrUDPMTUCongestion
	}
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return fmt.Errorf("b2bua: destination of a message: %w", err)
	}
	return p.send(msg, addr)
}

// send sends what is ready.
func (p *packetConn) send(msg []byte, to netip.AddrPort) error {
	if m := p.guard.agent.mirror; m != nil {
		m.copy("udp", p.LocalAddr(), net.UDPAddrFromAddrPort(to), msg)
	}
	err := p.writeTo(msg, to)
	for tries := 0; p.excuse(err) && tries < mostExcuses; tries++ {
		err = p.writeTo(msg, to)
	}
	if errors.Is(err, syscall.ENOBUFS) {
		// This host has dropped it, as any other on its way may: it is sent again,
		// and says nothing about who it was for.
		return nil
	}
	return err
}

func (p *packetConn) writeTo(b []byte, to netip.AddrPort) error {
	var err error
	switch conn := p.PacketConn.(type) {
	case *udpSocket:
		err = conn.send(b, to)
	case *net.UDPConn:
		_, err = conn.WriteToUDPAddrPort(b, to)
	default:
		_, err = p.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	return err
}

// mostExcuses is how often one datagram is written again because of others.
const mostExcuses = 3

// excuse says whether an error may be one of an earlier datagram, and reads
// what is known of those.
func (p *packetConn) excuse(err error) bool {
	if err == nil || !p.lost.pending(err) {
		return false
	}
	p.lost.drain(p.guard.agent.undelivered)
	return true
}
