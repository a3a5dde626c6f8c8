package b2bua

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// crlf is a text of SIP with its line ends.
func crlf(all ...string) string { return strings.Join(all, "\r\n") }

func TestARequestOnALegIsWrittenOut(t *testing.T) {
	for _, tt := range []struct {
		name, listen, transport, advertise string
		dialog                             store.Dialog
		outline                            outline
		want                               string
	}{
		{"with all that there is", "192.0.2.1:5060", "udp", "", store.Dialog{CallID: "c@h", LocalTag: "lt", RemoteTag: "rt",
			LocalURI: `"B" <sip:bob:secret@b>;x=1`, RemoteURI: "<sip:alice@a>", Peer: "192.0.2.9:5062"},
			outline{method: "INVITE", cseq: 4294967295, uri: "sip:alice@192.0.2.9:5062;ob", routes: []string{"<sip:p1;lr>;a=b", "<sip:p2>"},
				maxForwards: 69, contact: true},
			crlf("INVITE sip:alice@192.0.2.9:5062;ob SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=BRANCH;rport", "Max-Forwards: 69",
				"Route: <sip:p1;lr>;a=b", "Route: <sip:p2>", `From: "B" <sip:bob:secret@b>;x=1;tag=lt`, "To: <sip:alice@a>;tag=rt", "Call-ID: c@h",
				"CSeq: 4294967295 INVITE", "Contact: <sip:bob@192.0.2.1:5060>", "Content-Length: 3", "", "v=0")},
		{"with little", "192.0.2.1:5060", "tcp", "", store.Dialog{CallID: "c", LocalTag: "lt", LocalURI: "sip:b", RemoteURI: "sip:a", Peer: "192.0.2.9:5062"},
			outline{method: "ACK", cseq: 1, uri: "tel:+1", maxForwards: 70},
			crlf("ACK tel:+1 SIP/2.0", "Via: SIP/2.0/TCP 192.0.2.1:5060;branch=BRANCH;rport", "Max-Forwards: 70",
				"From: sip:b;tag=lt", "To: sip:a", "Call-ID: c", "CSeq: 1 ACK", "Content-Length: 3", "", "v=0")},
		{"to a browser over IPv6", "[2001:db8::1]:8443", "wss", "", store.Dialog{CallID: "c", LocalTag: "lt", LocalURI: "<tel:+1;ext=2>", RemoteURI: "<sip:a>", Peer: "[2001:db8::9]:5"},
			outline{method: "UPDATE", cseq: 7, uri: "sip:x@y.invalid;transport=ws", maxForwards: 0, contact: true},
			crlf("UPDATE sip:x@y.invalid;transport=ws SIP/2.0", "Via: SIP/2.0/WSS [2001:db8::1]:8443;branch=BRANCH;rport", "Max-Forwards: 0",
				"From: <tel:+1;ext=2>;tag=lt", "To: <sip:a>", "Call-ID: c", "CSeq: 7 UPDATE", "Contact: <sip:+1@[2001:db8::1]:8443;transport=ws>",
				"Content-Length: 3", "", "v=0")},
		{"advertised", "192.0.2.1:5060", "tls", "sip.example.com", store.Dialog{CallID: "c", LocalTag: "lt", LocalURI: "<sip:h>", RemoteURI: "<sip:a>"},
			outline{method: "BYE", cseq: 7, uri: "a b", maxForwards: 70, contact: true},
			crlf("BYE sip:invalid SIP/2.0", "Via: SIP/2.0/TLS sip.example.com:5060;branch=BRANCH;rport", "Max-Forwards: 70",
				"From: <sip:h>;tag=lt", "To: <sip:a>", "Call-ID: c", "CSeq: 7 BYE", "Contact: <sip:sip.example.com:5060;transport=tls>",
				"Content-Length: 3", "", "v=0")},
		{"advertised over the other version of IP", "[2001:db8::1]:5060", "udp", "203.0.113.7:5080", store.Dialog{CallID: "c", LocalTag: "lt", LocalURI: "<sip:b@h>", RemoteURI: "<sip:a>"},
			outline{method: "BYE", cseq: 7, uri: "sip:a@[2001:db8::9]", maxForwards: 70, contact: true},
			crlf("BYE sip:a@[2001:db8::9] SIP/2.0", "Via: SIP/2.0/UDP [2001:db8::1]:5060;branch=BRANCH;rport", "Max-Forwards: 70",
				"From: <sip:b@h>;tag=lt", "To: <sip:a>", "Call-ID: c", "CSeq: 7 BYE", "Contact: <sip:b@[2001:db8::1]:5060>",
				"Content-Length: 3", "", "v=0")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := quickCall(t, tt.listen, tt.dialog)
			*s = newSocket(tt.transport, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.listen)), tt.advertise)
			c.dialog(store.Caller).Transport = tt.transport
			out := c.agent.newRequest(c.dialog(store.Caller), tt.outline)
			out.body = []byte("v=0")
			if len(out.branch) != len(magicCookie)+branchLen {
				t.Errorf("branch %q", out.branch)
			}
			if diff := cmp.Diff(tt.want, strings.Replace(written(out), out.branch, "BRANCH", 1)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheUserOfAPlainValueIsThatOfAnyOther(t *testing.T) {
	for value, want := range map[string]string{
		"<sip:bob@b>": "bob", "<sip:+1-555@b;x=1>;p=2": "+1-555", "<sip:b>": "", "<sip:b;x=@>": "", "<sip:bob:secret@b>": "bob",
		"sip:bob@b": "bob", "<tel:+1;ext=2>": "+1", "<sips:bob@b>": "bob", "<sip:b%20b@b>": "b%20b", "<SIP:bob@b>": "bob", "": "", "<sip:@b>": "",
		`"Bob" <sip:bob@b>`: "bob", `"a\" <sip:x@y>" <sip:bob@b>`: "bob", `"a"b" <sip:x@y>`: "", `Bob <sip:bob@b>`: "bob",
		`"a <sip:x@y>" <sip:bob@b>`: "bob", `"\\" <sip:bob@b>`: "bob", `<sip:"" <sip:x@y>`: "", `Bob" <sip:bob@b>`: "",
	} {
		if got, parsed := userOf(value), parsedUser(value); got != want || parsed != want {
			t.Errorf("%s: user %q, %q when it is taken apart, want %q", value, got, parsed, want)
		}
	}
}

// invited is an INVITE that another node passes on.
func invited() *request {
	r := &request{method: "INVITE", uri: "sip:b", callID: "CSeq: 1 INVITE", cseq: 1, branch: "z9hG4bK1", transport: "udp", to: "192.0.2.9:5060", body: []byte("v=0")}
	r.header = []byte(crlf("Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport", "v: SIP/2.0/UDP i;branch=z9hG4bK1", "Max-Forwards: 69", "Route: <sip:p;lr>",
		"f: <sip:a>;tag=1", "To: <sip:b>", "Call-ID: CSeq: 1 INVITE", "CSeq: 1 INVITE", "Contact: <sip:c>", "Session-ID: 1", "x: 90", "X-Branch: z9hG4bK1",
		"Supported: a,", " b", ""))
	return r
}

func TestARequestOnceMoreIsAnotherTransactionWithItsOwnNumber(t *testing.T) {
	first := invited()
	next := first.again(2)
	want := strings.Replace(strings.Replace(written(invited()), "z9hG4bK1", next.branch, 1), "\r\nCSeq: 1 INVITE", "\r\nCSeq: 2 INVITE", 1)
	if diff := cmp.Diff(want, written(next)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if next.branch == first.branch || next.cseq != 2 || next.to != first.to {
		t.Errorf("got %+v", next)
	}
	if diff := cmp.Diff(written(invited()), written(first)); diff != "" {
		t.Errorf("the first was changed:\n%s", diff)
	}
}

func TestWhatBelongsToAnInviteLooksLikeIt(t *testing.T) {
	common := []string{"Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport", "Max-Forwards: 69", "Route: <sip:p;lr>", "f: <sip:a>;tag=1"}
	after := []string{"Call-ID: CSeq: 1 INVITE", "Session-ID: 1"}
	refused := withLines(486, "t: <sip:b>;tag=2")
	for _, tt := range []struct {
		out        *request
		method, to string
	}{
		{invited().sameBranch("CANCEL"), "CANCEL", "To: <sip:b>"},
		{invited().refusedAck(refused), "ACK", "To: <sip:b>;tag=2"}, // RFC 3261 section 17.1.1.3
	} {
		all := append(append(append([]string{tt.method + " sip:b SIP/2.0"}, common...), tt.to), after...)
		want := crlf(append(all, "CSeq: 1 "+tt.method, "Content-Length: 0", "", "")...)
		if diff := cmp.Diff(want, written(tt.out)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if tt.out.to != "192.0.2.9:5060" || tt.out.branch != "z9hG4bK1" {
			t.Errorf("got %+v", tt.out)
		}
	}
}

func TestFieldsOfARequestAreTakenOutByAnyOfTheirNames(t *testing.T) {
	r := invited()
	r.without("session-expires", "via", "supported")
	want := crlf("Max-Forwards: 69", "Route: <sip:p;lr>", "f: <sip:a>;tag=1", "To: <sip:b>", "Call-ID: CSeq: 1 INVITE", "CSeq: 1 INVITE",
		"Contact: <sip:c>", "Session-ID: 1", "X-Branch: z9hG4bK1", "")
	if diff := cmp.Diff(want, string(r.header)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.value("from") != "<sip:a>;tag=1" || r.value("via") != "" {
		t.Errorf("From %q, Via %q", r.value("from"), r.value("via"))
	}
}

func TestARequestOverAConnectionLeavesByNoSocket(t *testing.T) {
	udp := &packetConn{}
	for _, tt := range []struct {
		request, socket string
		want            *packetConn
	}{{"udp", "udp", udp}, {"tcp", "udp", nil}, {"udp", "tcp", nil}, {"tls", "tls", nil}} {
		r := &request{transport: tt.request}
		if r.leaveBy(&socket{transport: tt.socket, conn: udp}); r.socket != tt.want {
			t.Errorf("%s request by a %s socket: %v", tt.request, tt.socket, r.socket)
		}
	}
}

func TestATargetThatNamesTheAddressOfItsLegNeedsNoLook(t *testing.T) {
	for _, tt := range []struct {
		uri, transport, peer string
		want                 bool
	}{
		{"sip:a@192.0.2.9:5062", "udp", "192.0.2.9:5062", true},
		{"sip:192.0.2.9;transport=TLS", "tls", "192.0.2.9:5061", true},
		{"sip:192.0.2.9", "udp", "192.0.2.9:5060", true},
		{"sip:a@[2001:db8::9]:5;ob", "udp", "[2001:db8::9]:5", true},
		{"sip:a@[::ffff:192.0.2.9]", "udp", "192.0.2.9:5060", true},
		{"sip:192.0.2.9", "tls", "192.0.2.9:5061", false},
		{"sip:192.0.2.9;transport=tcp", "udp", "192.0.2.9:5060", false},
		{"sip:192.0.2.9:5062", "udp", "192.0.2.9:5060", false},
		{"sip:192.0.2.8", "udp", "192.0.2.9:5060", false},
		{"sip:192.0.2.9;maddr=192.0.2.8", "udp", "192.0.2.9:5060", false},
		{"sips:192.0.2.9", "udp", "192.0.2.9:5060", false},
		{"sip:phone.example.com", "udp", "192.0.2.9:5060", false},
		{"sip:phone.example.com", "udp", "", false},
		{"tel:+1", "udp", "192.0.2.9:5060", false},
	} {
		if got := leads(tt.uri, &store.Dialog{Transport: tt.transport, Peer: tt.peer}); got != tt.want {
			t.Errorf("%s for %s %s: %t", tt.uri, tt.transport, tt.peer, got)
		}
	}
}

func TestASessionTimerStandsOnceInARequest(t *testing.T) {
	r := invited()
	r.add("Min-SE", "90")
	withTimer(r, store.Session{Refresher: store.Self, Interval: 30 * time.Minute, MinSE: 2 * time.Minute})
	if got, want := append(r.values("session-expires"), r.values("min-se")...), []string{"1800;refresher=uac", "120"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
