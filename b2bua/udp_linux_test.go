package b2bua

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopbacks are addresses of this machine, of each version of IP.
var loopbacks = []string{"127.0.0.1:0", "[::1]:0"}

// bunched gives test a socket that is read in bunches, and one that sends to it,
// of each version of IP.
func bunched(t *testing.T, test func(t *testing.T, s *udpSocket, peer *net.UDPConn)) {
	for _, host := range loopbacks {
		t.Run(host, func(t *testing.T) {
			s := newUDPSocket(bindUDP(t, host), func() bool { return true })
			if s == nil {
				t.Fatal("not taken over")
			}
			t.Cleanup(func() { _ = s.Close() })
			test(t, s, bindUDP(t, host))
		})
	}
}

func TestDatagramsAreReadInTheirOrderFromBunches(t *testing.T) {
	bunched(t, func(t *testing.T, s *udpSocket, peer *net.UDPConn) {
		const count = 5 * mostInBunch / 2
		begin := time.Now().Add(-time.Millisecond)
		for i := range count {
			if _, err := peer.WriteTo([]byte(strconv.Itoa(i)), s.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range count {
			data, from, at, err := s.read()
			if err != nil || string(data) != strconv.Itoa(i) || from != peer.LocalAddr().(*net.UDPAddr).AddrPort() {
				t.Fatalf("read %q from %v, want %d: %v", data, from, i, err)
			}
			if at.Before(begin) || at.After(time.Now().Add(time.Millisecond)) {
				t.Errorf("came at %v", at)
			}
			s.answered++ // what is gathered is read, too
		}
	})
}

func TestALargeDatagramIsReadAndSentWhole(t *testing.T) {
	bunched(t, func(t *testing.T, s *udpSocket, peer *net.UDPConn) {
		large := bytes.Repeat([]byte("0123456789"), 6000)
		for range 3 {
			if err := s.send(large, peer.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, maxDatagram)
			_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, from, err := peer.ReadFrom(got)
			if err != nil || !bytes.Equal(got[:n], large) || from.String() != s.LocalAddr().String() {
				t.Fatalf("sent %d bytes from %v: %v", n, from, err)
			}
			_, _ = peer.WriteTo(large, s.LocalAddr())
			if data, _, _, err := s.read(); err != nil || !bytes.Equal(data, large) {
				t.Fatalf("read %d bytes: %v", len(data), err)
			}
		}
		if err := s.send(nil, other(s)); err == nil {
			t.Error("sent over the other version of IP")
		}
	})
}

func TestDatagramsWithoutRoomAreCounted(t *testing.T) {
	bunched(t, func(t *testing.T, s *udpSocket, peer *net.UDPConn) {
		size, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			t.Fatal(err)
		}
		large := make([]byte, 60000)
		sent := size/len(large) + 1 // the last has no room
		for range sent {
			_, _ = peer.WriteTo(large, s.LocalAddr())
		}
		if _, _, _, err := s.read(); err != nil || s.dropped != 0 {
			t.Fatalf("%d were dropped before the first was read: %v", s.dropped, err)
		}
		_, _ = peer.WriteTo([]byte("last"), s.LocalAddr()) // what a bunch took has made room
		for read := 1; s.dropped == 0; read++ {
			data, _, _, err := s.read()
			if err != nil {
				t.Fatal(err)
			}
			if string(data) == "last" && (s.dropped == 0 || read+int(s.dropped) != sent) {
				t.Fatalf("of %d datagrams %d were read and %d counted as dropped", sent, read, s.dropped)
			}
		}
	})
}

func TestToCloseASocketEndsItsReading(t *testing.T) {
	bunched(t, func(t *testing.T, s *udpSocket, _ *net.UDPConn) {
		ended := make(chan error)
		go func() { _, _, _, err := s.read(); ended <- err }()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error("reading:", err)
		}
		if _, err := s.WriteTo([]byte("x"), s.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Error("sending:", err)
		}
		if err := s.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error("closing again:", err)
		}
	})
}

func TestWhatIsNoSocketOfTheKernelStaysAsItIs(t *testing.T) {
	if s := newUDPSocket(&memoryConn{}, func() bool { return true }); s != nil {
		t.Error("taken over")
	}
}

// other is an address of the version that a socket is not of.
func other(s *udpSocket) netip.AddrPort {
	if s.family == unix.AF_INET {
		return netip.MustParseAddrPort("[::1]:5060")
	}
	return netip.MustParseAddrPort("127.0.0.1:5060")
}
