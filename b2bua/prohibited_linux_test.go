package b2bua

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// A firewall that rejects what goes to one peer says so over IPv6 with an error of
// its own, which the kernel hands to whoever sends next.
func TestAPeerBehindAFirewallKeepsNobodyElseFromBeingReached(t *testing.T) {
	router, err := net.ListenPacket("ip6:ipv6-icmp", "::1")
	if err != nil {
		t.Fatalf("%v (this test needs the right to send ICMP: root, or CAP_NET_RAW)", err)
	}
	defer func() { _ = router.Close() }()
	obs := listening{disturbed: make(chan string, 10)}
	a, err := New(Default(), noStore{}, obs, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer a.work.Wait()
	socket := newPacketConn(bindUDP(t, "[::1]:0"), a.metrics, a.seed)
	defer func() { _ = socket.Close() }()
	socket.guard.agent = a
	behind, peer := bindUDP(t, "[::1]:0").LocalAddr().String(), bindUDP(t, "[::1]:0")
	const id = "01890000-0000-7000-8000-000000000001"
	tag := dialog.MintTag(a.identity.Load().tagKey, id, store.Callee)
	a.add(a.newCall(store.Call{ID: id, State: store.Confirmed, Legs: [2]store.Leg{store.Callee: {
		Dialog: store.Dialog{LocalTag: tag, Transport: "udp", Peer: behind}}}}))
	ours := []byte("OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=" + tag + "\r\n\r\n")

	back := prohibited(netip.MustParseAddrPort(socket.addr), netip.MustParseAddrPort(behind), ours)
	if _, err := router.WriteTo(back, &net.IPAddr{IP: net.IPv6loopback}); err != nil {
		t.Fatal(err)
	}
	wait := []unix.PollFd{{Fd: int32(socket.bunches.fd)}}
	if n, err := unix.Poll(wait, 10_000); n != 1 || err != nil {
		t.Fatalf("the error did not come: %v", err)
	}
	if err := socket.write(ours, peer.LocalAddr().String()); err != nil {
		t.Errorf("to somebody else: %v", err)
	}
	select {
	case got := <-obs.disturbed:
		if want := id + " callee " + hostUnreachable; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody was told")
	}
}

// prohibited is the ICMPv6 error with which a firewall gives a datagram back, RFC
// 4443 section 3.1.
func prohibited(from, to netip.AddrPort, text []byte) []byte {
	b := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, 6<<4, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(text)))
	b = append(append(append(b, unix.IPPROTO_UDP, 64), from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	for _, n := range []uint16{from.Port(), to.Port(), uint16(8 + len(text)), 0} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return append(b, text...)
}
