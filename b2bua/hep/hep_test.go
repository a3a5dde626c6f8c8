package hep

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var at = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)

func TestAPacketIsWrittenByteForByte(t *testing.T) {
	p := Packet{
		At: at, From: netip.MustParseAddrPort("192.0.2.1:5060"), To: netip.MustParseAddrPort("192.0.2.2:5070"),
		Agent: 2001, Correlation: "a@b", Payload: []byte("OPTIONS"),
	}
	b, err := Append(nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll("48455033 0073"+
		" 0000 0001 0007 02 0000 0002 0007 11"+
		" 0000 0003 000a c0000201 0000 0004 000a c0000202"+
		" 0000 0007 0008 13c4 0000 0008 0008 13ce"+
		" 0000 0009 000a 6b02bd20 0000 000a 000a 0001e240"+
		" 0000 000b 0007 01 0000 000c 000a 000007d1"+
		" 0000 0011 0009 614062 0000 000f 000d 4f5054494f4e53", " ", "")
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// chunks takes a packet apart again.
func chunks(t *testing.T, b []byte) map[uint16][]byte {
	t.Helper()
	if string(b[:4]) != magic || int(binary.BigEndian.Uint16(b[4:])) != len(b) {
		t.Fatalf("header %x of %d bytes", b[:6], len(b))
	}
	found := make(map[uint16][]byte)
	for b = b[header:]; len(b) > 0; {
		n := int(binary.BigEndian.Uint16(b[4:]))
		found[binary.BigEndian.Uint16(b[2:])] = b[header:n]
		b = b[n:]
	}
	return found
}

func TestAddressesOfEitherVersion(t *testing.T) {
	for _, c := range []struct {
		from, to       string
		family         byte
		source, target uint16
	}{
		{"192.0.2.1:1", "192.0.2.2:2", familyIPv4, chunkSource4, chunkTarget4},
		{"[::ffff:192.0.2.1]:1", "192.0.2.2:2", familyIPv4, chunkSource4, chunkTarget4},
		{"[2001:db8::1]:1", "[2001:db8::2]:2", familyIPv6, chunkSource6, chunkTarget6},
		{"[::]:1", "192.0.2.2:2", familyIPv6, chunkSource6, chunkTarget6},
	} {
		p := Packet{At: at, TCP: true, From: netip.MustParseAddrPort(c.from), To: netip.MustParseAddrPort(c.to)}
		b, err := Append(nil, &p)
		if err != nil {
			t.Fatal(err)
		}
		got := chunks(t, b)
		size := map[byte]int{familyIPv4: 4, familyIPv6: 16}[c.family]
		if got[chunkFamily][0] != c.family || len(got[c.source]) != size || len(got[c.target]) != size || got[chunkProtocol][0] != protoTCP {
			t.Errorf("%s to %s: %v", c.from, c.to, got)
		}
		if _, ok := got[chunkCorrelation]; ok {
			t.Error("an empty correlation is sent")
		}
	}
}

func TestWhatFitsIntoNoDatagramIsRefused(t *testing.T) {
	p := Packet{At: at, From: netip.MustParseAddrPort("192.0.2.1:1"), To: netip.MustParseAddrPort("192.0.2.2:2"), Payload: make([]byte, 65_535)}
	if b, err := Append(nil, &p); err != ErrTooLong || len(b) > 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestSenderReachesItsServer(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := NewSender(server.LocalAddr().String())
	defer s.Close()
	p := Packet{At: at, From: netip.MustParseAddrPort("192.0.2.1:1"), To: netip.MustParseAddrPort("192.0.2.2:2"), Payload: []byte("BYE")}
	if err := s.Send(&p); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, _, err := server.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := chunks(t, b[:n])[chunkPayload]; !bytes.Equal(got, p.Payload) {
		t.Errorf("payload %q", got)
	}
}

func TestAServerThatIsNotFoundIsLeftAloneForAWhile(t *testing.T) {
	s := NewSender("127.0.0.1:none")
	first := s.Send(&Packet{})
	if second := s.Send(&Packet{}); first == nil || second != net.ErrClosed {
		t.Errorf("%v, then %v", first, second)
	}
}
