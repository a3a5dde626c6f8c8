package b2bua

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestDatagramsThatAreSentTogetherComeOneByOne(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprintf("apart %t", apart), func(t *testing.T) {
			s, first := bunched(t)
			s.apart = s.apart || apart
			second := bindUDP(t, "udp4", "127.0.0.1:0")
			peers := []*net.UDPConn{first, second}
			var all []packet
			want := make([][]string, len(peers))
			for i := range 3 * mostTogether / 2 {
				to := i / 40 % len(peers) // in runs that are longer and shorter than what goes as one
				size := 20
				switch {
				case i%50 == 49:
					size = 9000
				case i%7 == 0:
					size = 30
				}
				text := bytes.Repeat([]byte{'a' + byte(i%26)}, size)
				all = append(all, packet{text, peers[to].LocalAddr().(*net.UDPAddr).AddrPort()})
				want[to] = append(want[to], string(text))
			}
			if sent, err := s.sendAll(all); sent != len(all) || err != nil {
				t.Fatalf("%d of %d sent: %v", sent, len(all), err)
			}
			for i, peer := range peers {
				var got []string
				_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
				for b := make([]byte, maxDatagram); len(got) < len(want[i]); {
					n, from, err := peer.ReadFrom(b)
					if err != nil || from.String() != s.LocalAddr().String() {
						t.Fatalf("datagram %d of %d: from %v: %v", len(got), len(want[i]), from, err)
					}
					got = append(got, string(b[:n]))
				}
				if !slices.Equal(got, want[i]) {
					t.Errorf("peer %d got %q, want %q", i, got, want[i])
				}
			}
		})
	}
}

func TestWhatCannotBeSentIsNamed(t *testing.T) {
	s, peer := bunched(t)
	good := packet{[]byte("x"), peer.LocalAddr().(*net.UDPAddr).AddrPort()}
	bad := packet{[]byte("x"), netip.MustParseAddrPort("[2001:db8::1]:5060")}
	large := packet{make([]byte, maxDatagram), good.to}
	for _, tt := range []struct {
		all  []packet
		want int
	}{
		{[]packet{good, good, bad, good}, 2},
		{[]packet{bad, good}, 0},
		{[]packet{good, large, good}, 1},
	} {
		if sent, err := s.sendAll(tt.all); sent != tt.want || err == nil {
			t.Errorf("%d sent: %v, want %d", sent, err, tt.want)
		}
	}
	_ = s.Close()
	if sent, err := s.sendAll([]packet{good, good}); sent != 0 || err == nil {
		t.Errorf("%d sent by a closed socket: %v", sent, err)
	}
}

// BenchmarkSendTogether is a datagram of a bunch to one peer.
func BenchmarkSendTogether(b *testing.B) {
	for _, apart := range []bool{false, true} {
		b.Run(fmt.Sprintf("apart=%t", apart), func(b *testing.B) {
			conn, peer := bindUDP(b, "udp4", "127.0.0.1:0"), bindUDP(b, "udp4", "127.0.0.1:0")
			s := newUDPSocket(conn, func() bool { return true })
			defer func() { _ = s.Close() }()
			s.apart = apart
			all := slices.Repeat([]packet{{make([]byte, 480), peer.LocalAddr().(*net.UDPAddr).AddrPort()}}, 64)
			for i := 0; b.Loop(); i++ {
				if i%len(all) == 0 {
					_, _ = s.sendAll(all)
				}
			}
		})
	}
}
