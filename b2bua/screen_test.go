package b2bua

import (
	"bytes"
	"hash/maphash"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const ordinary = "INVITE sip:bob@biloxi.example.com;transport=udp SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP bigbox3.site3.atlanta.example.com:5060;branch=z9hG4bK77ef4c2312983.1;rport\r\n" +
	"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bKnashds8;received=192.0.2.1\r\n" +
	"Max-Forwards: 69\r\n" +
	"To: Bob <sip:bob@biloxi.example.com>\r\n" +
	"From: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n" +
	"Call-ID: a84b4c76e66710@pc33.atlanta.example.com\r\n" +
	"CSeq: 314159 INVITE\r\n" +
	"Contact: <sip:alice@pc33.atlanta.example.com>\r\n" +
	"User-Agent: Example Phone 1.0\r\n" +
	"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE\r\n" +
	"Content-Type: application/sdp\r\n" +
	"Content-Length: 5\r\n\r\nv=0\r\n"

func TestScreen(t *testing.T) {
	test := func(name, from, to string, want verdict) {
		t.Helper()
		msg := strings.Replace(ordinary, from, to, 1)
		if msg == ordinary && from != to {
			t.Fatalf("%s: %q is not there", name, from)
		}
		if got := screen([]byte(msg)); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	pass, drop := verdict{}, verdict{drop: true}
	test("an ordinary request passes", "", "", pass)
	test("tel is left to the transaction", "sip:bob@biloxi.example.com;transport=udp", "tel:+1234", pass)
	test("an IPv6 host", "sip:bob@biloxi.example.com", "sip:bob@[2001:db8::1]:5070", pass)
	test("methods tell case", "INVITE sip", "invite sip", verdict{status: 501})
	test("another version", "udp SIP/2.0", "udp SIP/3.0", verdict{status: 505})
	test("not SIP at all", "udp SIP/2.0", "udp HTTP/1.1", drop)
	test("no Request-URI", "sip:bob@biloxi.example.com;transport=udp ", "", bad("Bad Request Line"))
	test("no scheme", "sip:bob@", "bob@", bad("Bad Request-URI"))
	test("port that is no number", "biloxi.example.com;", "biloxi.example.com:port;", bad("Bad Request-URI"))
	test("port zero", "biloxi.example.com;", "biloxi.example.com:0;", bad("Bad Request-URI"))
	test("a scheme with a dot", "sip:bob@", "soap.beep:bob@", verdict{status: 416})
	test("bad lower Via", "Via: SIP/2.0/UDP pc33", "Via: SIP/2.0 pc33", bad("Bad Via"))
	test("a protocol that is no token", "Via: SIP/2.0/UDP pc33", "Via: :;SIP/2.0/UDP pc33", bad("Bad Via"))
	test("Via without host", "UDP bigbox3.site3.atlanta.example.com:5060", "UDP ", bad("Bad Via"))
	test("a transport that is no token", "SIP/2.0/UDP bigbox3", "SIP/2.0/: bigbox3", bad("Bad Via"))
	test("a host that is none", "UDP bigbox3.site3.atlanta.example.com:5060", "UDP =", bad("Bad Via"))
	test("a comma in quotes divides nothing", "received=192.0.2.1", "x=\",\"", pass)
	test("a version in mixed case", "udp SIP/2.0", "udp sIP/2.0", drop)
	test("an IPv6 host without end", "sip:bob@biloxi.example.com", "sip:bob@["+strings.Repeat("0", 41)+"]", bad("Bad Request-URI"))
	test("header line without colon", "Max-Forwards: 69", "Max-Forwards 69", bad("Bad Header Line"))
	test("line end that others read otherwise", "Max-Forwards: 69", "Max-Forwards: 69\nFoo: bar", bad("Bad Header Line"))
	test("carriage return alone", "Max-Forwards: 69", "Max-Forwards: 69\rFoo: bar", bad("Bad Header Line"))
	test("first line is folded", "udp SIP/2.0\r\n", "udp SIP/2.0\r\n x: y\r\n", bad("Bad Header Line"))
	test("header without end", "\r\n\r\nv=0\r\n", "\r\n", bad("Bad Header Line"))
	test("no CSeq", "CSeq:", "X:", bad("Missing CSeq"))
	test("CSeq of 2^31", "314159", "2147483648", bad("Bad CSeq"))
	test("CSeq below 2^31", "314159", "2147483647", pass)
	test("CSeq without method", "314159 INVITE", "314159", bad("Bad CSeq"))
	test("body too short", "Content-Length: 5", "Content-Length: 6", bad("Body Shorter Than Content-Length"))
	test("body too long is cut by the library", "Content-Length: 5", "Content-Length: 4", pass)
	test("Content-Length twice", "Content-Length: 5", "l: 5\r\nContent-Length: 5", bad("Bad Content-Length"))
	test("a response is never answered", "INVITE sip:bob@biloxi.example.com;transport=udp SIP/2.0\r\n", "SIP/2.0 20 OK\r\n", drop)
	test("a response of 2.0", "INVITE sip:bob@biloxi.example.com;transport=udp SIP/2.0\r\n", "SIP/2.0 200 OK\r\n", pass)
	test("an ACK is never answered", "INVITE sip:bob@", "ACK bob@", drop)
	test("no Via", ordinary, "INVITE sip:bob@example.com SIP/2.0\r\n\r\n", bad("Bad or Missing Via"))
	test("a keep-alive", ordinary, "\r\n\r\n", pass)
	test("nothing", ordinary, "", pass)
}

func TestTheAnswerToAMalformedRequestGoesBackToItsSource(t *testing.T) {
	from := &net.UDPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 40000}
	test := func(via, wantVia string, wantPort int) {
		t.Helper()
		req := "OPTIONS  sip:a@b SIP/2.0\r\nVia: " + via + "\r\nv: SIP/2.0/TCP z\r\nt:\r\n <sip:a@b>\r\nf: <sip:c@d>;tag=1\r\n" +
			"f: <sip:c@d>;tag=2\r\ni: 1\r\nCSeq: 1\r\n OPTIONS\r\nSubject: none\r\n\r\n"
		want := "SIP/2.0 400 Bad Request Line\r\nVia: " + wantVia + "\r\nVia: SIP/2.0/TCP z\r\nTo: <sip:a@b>;tag=x\r\n" +
			"From: <sip:c@d>;tag=1\r\nCall-ID: 1\r\nCSeq: 1   OPTIONS\r\nServer: sipvigil\r\nContent-Length: 0\r\n\r\n"
		got, port := statelessAnswer([]byte(req), bad("Bad Request Line"), from, "x")
		if string(got) != want || port != wantPort {
			t.Errorf("to port %d:\n%swant %d:\n%s", port, got, wantPort, want)
		}
	}
	test("SIP/2.0/UDP h;branch=1", "SIP/2.0/UDP h;branch=1;received=198.51.100.7", 5060)
	test("SIP/2.0/UDP h:5070", "SIP/2.0/UDP h:5070;received=198.51.100.7", 5070)
	test("SIP/2.0/UDP [::1]", "SIP/2.0/UDP [::1];received=198.51.100.7", 5060)
	test("SIP/2.0/UDP [::1]:5070;maddr=192.0.2.9", "SIP/2.0/UDP [::1]:5070;maddr=192.0.2.9;received=198.51.100.7", 5070)
	test("SIP/2.0/UDP h;RPORT;branch=1", "SIP/2.0/UDP h;rport=40000;branch=1;received=198.51.100.7", 40000)
	test("SIP/2.0/UDP h;received=1.2.3.4, SIP/2.0/UDP i", "SIP/2.0/UDP h;received=198.51.100.7, SIP/2.0/UDP i", 5060)
}

func TestAnswersToMalformedRequestsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		conn := newMemoryConn()
		conn.out = func([]byte, *net.UDPAddr) { sent++ }
		g := newGuard(newMetrics(prometheus.NewRegistry()), maphash.MakeSeed())
		flood := func(from *net.UDPAddr, want int) {
			t.Helper()
			sent = 0
			msg := []byte(strings.Replace(ordinary, "INVITE ", "INVITE  ", 1))
			for range 10 * answersPerSecond {
				if g.pass(msg, from.AddrPort(), conn) {
					t.Fatal("passed")
				}
			}
			if sent != want {
				t.Errorf("%d answers, want %d", sent, want)
			}
		}
		flood(callerAddr, answersPerSecond)
		time.Sleep(500 * time.Millisecond)
		flood(callerAddr, answersPerSecond/2)
		for _, ip := range []net.IP{net.IPv4bcast, net.IPv4zero, net.IPv4(224, 0, 1, 75), net.IPv6linklocalallnodes} {
			time.Sleep(time.Second)
			flood(&net.UDPAddr{IP: ip, Port: 5060}, 0)
		}
	})
}

// FuzzScreen looks for what the library cannot parse although the screen let
// it pass, or what breaks either.
func FuzzScreen(f *testing.F) {
	f.Add([]byte(ordinary))
	f.Add([]byte("M a:b SIP/2.0\r\nVia: 0/0/0 0\r\nCSeq: 0 M\r\n\r\n")) // a host that is none
	for _, tt := range torture {
		f.Add(readTorture(f, filepath.FromSlash(tt.file)))
	}
	parser := newParser()
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := bytes.Clone(msg)
		v := screen(msg)
		if !bytes.Equal(msg, before) {
			t.Error("the message was changed")
		}
		switch {
		case v.drop || len(msg) == 0 || msg[0] <= ' ' || len(msg) > maxDatagram:
		case v.status != 0:
			answer, _ := statelessAnswer(msg, v, callerAddr, "x")
			a := fields{rest: answer}
			for a.line(); a.next(); {
			}
			if a.broken || len(a.rest) > 0 {
				t.Fatalf("answer is malformed:\n%q", answer)
			}
		default:
			m, err := parser.parse(msg)
			if err != nil {
				t.Fatalf("passed, but: %v", err)
			}
			if m.via.host == "" {
				t.Fatal("passed without Via")
			}
		}
	})
}

func BenchmarkScreen(b *testing.B) {
	msg := []byte(ordinary)
	b.ReportAllocs()
	for b.Loop() {
		if v := screen(msg); v != (verdict{}) {
			b.Fatal(v)
		}
	}
}
