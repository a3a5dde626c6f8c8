package b2bua

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

func TestDatagramsThatAreSentTogetherComeOneByOne(t *testing.T) {
	bunched(t, func(t *testing.T, s *udpSocket, first *net.UDPConn) {
		second := bindUDP(t, (&net.UDPAddr{IP: s.local.IP}).String())
		peers := []*net.UDPConn{first, second}
		for _, apart := range []bool{s.apart, true} {
			s.apart = apart
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
				t.Fatalf("apart %t: %d of %d sent: %v", apart, sent, len(all), err)
			}
			for i, peer := range peers {
				var got []string
				_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
				for b := make([]byte, maxDatagram); len(got) < len(want[i]); {
					n, from, err := peer.ReadFrom(b)
					if err != nil || from.String() != s.LocalAddr().String() {
						t.Fatalf("apart %t: datagram %d of %d: from %v: %v", apart, len(got), len(want[i]), from, err)
					}
					got = append(got, string(b[:n]))
				}
				if !slices.Equal(got, want[i]) {
					t.Errorf("apart %t: peer %d got %q, want %q", apart, i, got, want[i])
				}
			}
		}
	})
}

func TestWhatCannotBeSentIsNamed(t *testing.T) {
	bunched(t, func(t *testing.T, s *udpSocket, peer *net.UDPConn) {
		good := packet{[]byte("x"), peer.LocalAddr().(*net.UDPAddr).AddrPort()}
		bad := packet{[]byte("x"), other(s)}
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
	})
}

// BenchmarkSendTogether is a datagram of a bunch to one peer.
func BenchmarkSendTogether(b *testing.B) {
	for _, host := range loopbacks {
		for _, apart := range []bool{false, true} {
			b.Run(fmt.Sprintf("to=%s/apart=%t", host, apart), func(b *testing.B) {
				peer := bindUDP(b, host)
				s := newUDPSocket(bindUDP(b, host), func() bool { return true })
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
}
