package b2bua

import (
	"net/netip"
	"testing"

	"sipvigil/store"
)

func TestStrangersLeaveConnectionsToTrunks(t *testing.T) {
	test := func(sources []string, from func(n int) string, want int) {
		t.Helper()
		c, _ := quickCall(t, "192.0.2.1:5060", store.Dialog{})
		a := c.agent
		trunk := Trunk{Name: "carrier"}
		for _, s := range sources {
			trunk.Sources = append(trunk.Sources, netip.MustParsePrefix(s))
		}
		a.cfg.Trunks = []Trunk{trunk}
		taken := func(from func(n int) string) (n int) {
			for i := range maxStreams + 1 {
				ip := netip.MustParseAddr(from(i))
				if most, each := a.room(ip); a.streams.take(ip, most, each) {
					n++
				}
			}
			return n
		}
		if got := taken(from); got != want {
			t.Errorf("of %s %d are taken, want %d", from(0), got, want)
		}
		if got := taken(func(int) string { return "203.0.113.7" }); got != maxStreams-want {
			t.Errorf("the carrier gets %d more, want %d", got, maxStreams-want)
		}
	}
	host := func(ip string) func(int) string { return func(int) string { return ip } }
	many := func(n int) string { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}).String() }
	neighbours := func(n int) string {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(n >> 8), 15: byte(n)}).String()
	}
	networks := func(n int) string {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 6: byte(n >> 8), 7: byte(n)}).String()
	}
	carrier := []string{"203.0.113.0/24"}
	test(carrier, host("192.0.2.9"), maxPerSource)
	test(carrier, neighbours, maxPerSource)
	test(carrier, networks, maxAnybody)
	test(carrier, many, maxAnybody)
	test(carrier, host("127.0.0.1"), maxStreams)
	test(append(carrier, "0.0.0.0/0"), host("192.0.2.9"), maxAnybody)
	test(append(carrier, "192.0.2.0/24"), host("192.0.2.9"), maxStreams)
}
