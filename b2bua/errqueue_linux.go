package b2bua

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// errorQueue reads the ICMP errors about what a UDP socket has sent, ip(7) and
// ipv6(7). The kernel lets one in only if it quotes a datagram with the socket's port.
type errorQueue struct{ socket *udpSocket }

// mostErrors bounds what is read at once; the kernel reminds us of the rest.
const mostErrors = 64

// newErrorQueue is nil for what is no UDP socket of the kernel.
func newErrorQueue(conn net.PacketConn) *errorQueue {
	s, ok := conn.(*udpSocket)
	if !ok {
		return nil
	}
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if s.family == unix.AF_INET6 {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	var err error
	cerr := s.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) })
	if cerr != nil || err != nil {
		return nil
	}
	return &errorQueue{s}
}

// pending says whether err may be about a datagram that was sent earlier, to
// anybody: with such a queue the kernel hands that error to whoever uses the
// socket next, whose own datagram did not go out.
func (q *errorQueue) pending(err error) bool {
	return q != nil && slices.ContainsFunc([]error{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EACCES,
		unix.EMSGSIZE, unix.EPROTO}, func(of error) bool { return errors.Is(err, of) })
}

// drain reports what there is. It does not wait.
func (q *errorQueue) drain(report func(to netip.AddrPort, quoted []byte, why string)) {
	quoted, control := make([]byte, 1024), make([]byte, 512)
	for range mostErrors {
		var n, oobn int
		var from unix.Sockaddr
		var err error
		cerr := q.socket.Control(func(fd uintptr) {
			n, oobn, _, from, err = unix.Recvmsg(int(fd), quoted, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		})
		if cerr != nil || err != nil {
			return
		}
		if why := reasonOf(control[:oobn]); why != "" {
			report(aimedAt(from), quoted[:n], why)
		}
	}
}

// reasonOf reads a struct sock_extended_err: "" if it is not about somebody who
// cannot be reached.
func reasonOf(control []byte) string {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return ""
	}
	for _, m := range messages {
		of := m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR ||
			m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !of || len(m.Data) < 5 {
			continue
		}
		if origin := m.Data[4]; origin != unix.SO_EE_ORIGIN_ICMP && origin != unix.SO_EE_ORIGIN_ICMP6 {
			continue
		}
		switch syscall.Errno(binary.NativeEndian.Uint32(m.Data)) {
		case unix.ECONNREFUSED:
			return portClosed
		case unix.EHOSTUNREACH, unix.EACCES: // by a firewall, over IPv4 and over IPv6
			return hostUnreachable
		case unix.ENETUNREACH:
			return netUnreachable
		}
	}
	return ""
}

// aimedAt is where a datagram went that came back.
func aimedAt(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(zoned(sa.Addr, sa.ZoneId), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
