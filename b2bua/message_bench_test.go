package b2bua

import (
	"bytes"
	"testing"

	"sipvigil/store"
)

const benchInvite = "INVITE sip:bob@192.0.2.1 SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bK-0123456789abcdef\r\nMax-Forwards: 70\r\n" +
	"From: \"Alice\" <sip:alice@a.example.com>;tag=0123456789\r\nTo: <sip:bob@b.example.com>\r\n" +
	"Call-ID: 0123456789abcdef0123456789abcdef@192.0.2.9\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.9:5062>\r\n" +
	"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\nSupported: timer, 100rel\r\nUser-Agent: phone 1.0\r\n" +
	"Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n"

// BenchmarkParse is what it takes to let a datagram in and take it apart.
func BenchmarkParse(b *testing.B) {
	parser := newParser()
	b.ReportAllocs()
	for b.Loop() {
		if v := screen([]byte(benchInvite)); v != (verdict{}) {
			b.Fatal("refused")
		}
		if _, err := parser.parse([]byte(benchInvite)); err != nil {
			b.Fatal(err)
		}
	}
}

func written(r *request) string {
	var b bytes.Buffer
	r.write(&b)
	return b.String()
}

// BenchmarkBuild is a request inside a dialog, from the leg's record to what is
// sent.
func BenchmarkBuild(b *testing.B) {
	c, _ := quickCall(b, "192.0.2.1:5060", store.Dialog{CallID: "0123456789abcdef@192.0.2.9", LocalTag: "0123456789abcdef", RemoteTag: "rt",
		LocalURI: "<sip:bob@b>", RemoteURI: `"Alice" <sip:alice@a>`, Target: "sip:alice@192.0.2.9:5062", Peer: "192.0.2.9:5062"})
	b.ReportAllocs()
	for b.Loop() {
		out := c.agent.question(c.dialog(store.Caller), "OPTIONS", 7)
		if len(written(out)) == 0 {
			b.Fatal("nothing")
		}
	}
}
