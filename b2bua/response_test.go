package b2bua

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAResponseTellsTheTopmostViaWhereItsRequestCameFrom(t *testing.T) {
	for _, tt := range []struct{ source, via, want, to string }{
		{"192.0.2.7:40000", "SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK1", "192.0.2.7:5070"},
		{"192.0.2.7:40000", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1", "192.0.2.7:5060"},
		{"192.0.2.7:40000", "SIP/2.0/UDP h:5070;branch=z9hG4bK1", "SIP/2.0/UDP h:5070;branch=z9hG4bK1;received=192.0.2.7", "192.0.2.7:5070"},
		{"192.0.2.7:40000", "SIP/2.0/UDP 192.0.2.7:5070;rport;branch=z9hG4bK1",
			"SIP/2.0/UDP 192.0.2.7:5070;rport=40000;branch=z9hG4bK1;received=192.0.2.7", "192.0.2.7:40000"},
		{"192.0.2.7:40000", "SIP/2.0/UDP h;received=203.0.113.1;branch=z9hG4bK1;rport=1",
			"SIP/2.0/UDP h;branch=z9hG4bK1;rport=40000;received=192.0.2.7", "192.0.2.7:40000"},
		{"192.0.2.7:40000", "SIP/2.0/UDP 192.0.2.7;received=192.0.2.7;branch=z9hG4bK1",
			"SIP/2.0/UDP 192.0.2.7;received=192.0.2.7;branch=z9hG4bK1", "192.0.2.7:5060"},
		{"[2001:db8::7]:40000", "SIP/2.0/UDP [2001:DB8:0::7]:5070;branch=z9hG4bK1", "SIP/2.0/UDP [2001:DB8:0::7]:5070;branch=z9hG4bK1", "[2001:db8::7]:5070"},
		{"[2001:db8::7]:40000", "SIP/2.0/UDP [::1];branch=z9hG4bK1;rport", "SIP/2.0/UDP [::1];branch=z9hG4bK1;rport=40000;received=2001:db8::7", "[2001:db8::7]:40000"},
		{"[fe80::7%eth0]:40000", "SIP/2.0/UDP [fe80::7]:5070;branch=z9hG4bK1", "SIP/2.0/UDP [fe80::7]:5070;branch=z9hG4bK1", "[fe80::7%eth0]:5070"},
		{"[fe80::7%eth0]:40000", "SIP/2.0/UDP h:5070;branch=z9hG4bK1;Rport;Received=h",
			"SIP/2.0/UDP h:5070;branch=z9hG4bK1;rport=40000;received=fe80::7", "[fe80::7%eth0]:40000"},
	} {
		req := plainMessage([]byte("BYE sip:h SIP/2.0\r\nVia: " + tt.via + "\r\nf: <sip:a>;tag=1\r\nv: SIP/2.0/UDP second\r\n" +
			"TO: <sip:b>;tag=2\r\ni: c\r\nTimestamp: 5\r\nCSEQ: 2 BYE\r\n\r\n"))
		if req == nil {
			t.Fatalf("%s is not read", tt.via)
		}
		req.source = netip.MustParseAddrPort(tt.source)
		res := reply(req, 200, "OK", value(req, "to"))
		res.add("Server", product)
		res.body = []byte("body")
		if res.to.String() != tt.to {
			t.Errorf("%s from %s goes to %s, not to %s", tt.via, tt.source, res.to, tt.to)
		}
		want := "SIP/2.0 200 OK\r\nVia: " + tt.want + "\r\nFrom: <sip:a>;tag=1\r\nVia: SIP/2.0/UDP second\r\nTo: <sip:b>;tag=2\r\n" +
			"Call-ID: c\r\nCSeq: 2 BYE\r\nContent-Length: 4\r\nServer: sipvigil\r\n\r\nbody"
		if diff := cmp.Diff(want, string(res.text())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestAFieldThatARequestHasTooOftenIsGivenBackOnce(t *testing.T) {
	req := plainMessage([]byte("BYE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nf: <sip:a>\r\ni: c\r\nCSeq: 2 BYE\r\nt: <sip:b>\r\n" +
		strings.Repeat("t:\r\nf:\r\ni:\r\nCSeq:\r\n", 20) + "\r\n"))
	want := "SIP/2.0 400 Repeated from\r\nVia: SIP/2.0/UDP h;received=192.0.2.7\r\nFrom: <sip:a>\r\nCall-ID: c\r\nCSeq: 2 BYE\r\n" +
		"To: <sip:b>;tag=x\r\nContent-Length: 0\r\n\r\n"
	req.source = netip.MustParseAddrPort("192.0.2.7:5060")
	if diff := cmp.Diff(want, string(reply(req, 400, "Repeated from", "<sip:b>;tag=x").text())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatNearlyEverybodyWritesIsReadWithoutTheLibrary(t *testing.T) {
	for _, tt := range []struct {
		uri, via string
		plain    bool
	}{
		{"sip:bob@192.0.2.1", "SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bK-524287-1---0123", true},
		{"sip:+4930123@example.com:5060;user=phone;transport=udp", "SIP/2.0/TCP a.example.com;branch=z9hG4bKPj.1_2~3;alias;received=192.0.2.3", true},
		{"sip:[2001:db8::1]:5060", "SIP/2.0/UDP [2001:db8::9]:5062;branch=z9hG4bK1", true},
		{"sips:bob@h", "SIP/2.0/UDP h;branch=z9hG4bK1", false},
		{"tel:+4930", "SIP/2.0/UDP h;branch=z9hG4bK1", false},
		{"sip:bob@h?Subject=x", "SIP/2.0/UDP h;branch=z9hG4bK1", false},
		{"sip:bob@h", "SIP/2.0/UDP h;branch=z9hG4bK1, SIP/2.0/UDP i", false},
		{"sip:bob@h", "SIP / 2.0 / UDP h ;branch=z9hG4bK1", false},
		{"sip:bob@h", "SIP/2.0/UDP h;branch=\"z\"", false},
	} {
		text := strings.Replace(strings.Replace(benchInvite, "sip:bob@192.0.2.1", tt.uri, 1),
			"SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bK-0123456789abcdef", tt.via, 1)
		if got := plainMessage([]byte(text)) != nil; got != tt.plain {
			t.Errorf("%s %s: read here is %t", tt.uri, tt.via, got)
		}
	}
}
