package b2bua

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheKernelGetsAddressesAndGivesThemBack(t *testing.T) {
	const none = "invalid AddrPort"
	for _, tt := range []struct{ addr, v4, v6 string }{
		{"192.0.2.1:5060", "192.0.2.1:5060", "192.0.2.1:5060"},
		{"[::ffff:192.0.2.1]:5070", "192.0.2.1:5070", "192.0.2.1:5070"},
		{"[2001:db8::1]:65535", none, "[2001:db8::1]:65535"},
		{"[fe80::1%3]:5060", none, "[fe80::1%3]:5060"},
		{"[fe80::1%lo]:5060", none, "[fe80::1%1]:5060"},
		{"[fe80::1%gone]:5060", none, "[fe80::1]:5060"},
	} {
		for family, want := range map[uint16]string{unix.AF_INET: tt.v4, unix.AF_INET6: tt.v6} {
			var a sockaddr
			var got netip.AddrPort
			if a.write(netip.MustParseAddrPort(tt.addr), family) {
				got = a.read()
			}
			if got.String() != want {
				t.Errorf("%s of family %d: %v, want %s", tt.addr, family, got, want)
			}
		}
	}
	if new(sockaddr).write(netip.AddrPort{}, unix.AF_INET6) {
		t.Error("no address has been written")
	}
}
