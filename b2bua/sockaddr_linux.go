package b2bua

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is an address and a port as the kernel has them: of IPv6, or of IPv4 in
// the first bytes.
type sockaddr unix.RawSockaddrInet6

func (a *sockaddr) v4() *unix.RawSockaddrInet4 { return (*unix.RawSockaddrInet4)(unsafe.Pointer(a)) }

func (a *sockaddr) port() []byte { return (*[2]byte)(unsafe.Pointer(&a.Port))[:] }

func (a *sockaddr) read() netip.AddrPort {
	ip := netip.AddrFrom4(a.v4().Addr)
	if a.Family == unix.AF_INET6 {
		ip = zoned(a.Addr, a.Scope_id)
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(a.port()))
}

// zoned is an address of IPv6. The zone of one that is link-local is the number of
// its interface, RFC 4007 section 11.2: its name would have to be asked for.
func zoned(addr [16]byte, scope uint32) netip.Addr {
	ip := netip.AddrFrom16(addr)
	if scope != 0 {
		return ip.WithZone(strconv.FormatUint(uint64(scope), 10))
	}
	return ip.Unmap()
}

// write makes it an address for sockets of this family, and is false for one that
// they do not reach.
func (a *sockaddr) write(to netip.AddrPort, family uint16) bool {
	ip := to.Addr()
	if !ip.IsValid() || family == unix.AF_INET && !ip.Unmap().Is4() {
		return false
	}
	*a = sockaddr{Family: family}
	binary.BigEndian.PutUint16(a.port(), to.Port())
	if family == unix.AF_INET {
		a.v4().Addr = ip.Unmap().As4()
		return true
	}
	a.Addr = ip.As16()
	if zone := ip.Zone(); zone != "" {
		a.Scope_id = scope(zone)
	}
	return true
}

// scope is the number of a zone, 0 of an interface that there is not.
func scope(zone string) uint32 {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}
