package b2bua

import (
	"hash/maphash"
	"path/filepath"
	"strings"
	"testing"

	"sipvigil/store"
)

func TestWhatIsRefusedUnderOverloadIsReadAtAGlance(t *testing.T) {
	via := "Via: SIP/2.0/UDP 192.0.2.7:5080;branch=z9hG4bKone;rport"
	for _, tt := range []struct {
		name, what, via, to string
		known               bool // a request with the same key is being served
		refused             bool
	}{
		{name: "a new call", what: "INVITE", via: via, to: "<sip:bob@b>", refused: true},
		{name: "in a dialog", what: "INVITE", via: via, to: "<sip:bob@b>;tag=x"},
		{name: "one that is being served", what: "INVITE", via: via, to: "<sip:bob@b>", known: true},
		{name: "the same, otherwise written", what: "INVITE", to: "<sip:bob@b>", known: true,
			via: "v: SIP/2.0/UDP 192.0.2.7:05080;rport;branch=z9hG4bKone, SIP/2.0/UDP other;branch=z9hG4bKtwo"},
		{name: "no branch to know it by", what: "INVITE", via: "Via: SIP/2.0/UDP 192.0.2.7", to: "<sip:bob@b>"},
		{name: "not for the quick eye", what: "INVITE", via: "Via: SIP / 2.0 / UDP 192.0.2.7;branch=z9hG4bKone", to: "<sip:bob@b>"},
		{name: "BYE", what: "BYE", via: via, to: "<sip:bob@b>;tag=x"},
		{name: "ACK in a dialog", what: "ACK", via: via, to: "<sip:bob@b>;tag=x"},
		{name: "ACK to such an answer", what: "ACK", via: via, to: "<sip:bob@b>;tag=" + noCallTag + "y", refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := quickCall(t, "192.0.2.1:5060", store.Dialog{})
			a := c.agent
			a.Overload()
			if tt.known {
				a.transaction.servers[serverKey{"z9hG4bKone", sentBy{"192.0.2.7", 5080}, "INVITE"}] = &serverTx{}
			}
			g := newGuard(a.metrics, maphash.MakeSeed())
			g.agent = a
			answers := &echo{}
			msg := tt.what + " sip:bob@b SIP/2.0\r\n" + tt.via + "\r\nFrom: <sip:a@a>;tag=f\r\nTo: " + tt.to +
				"\r\nCall-ID: c\r\nCSeq: 1 " + tt.what + "\r\n\r\n"
			if got := g.shed([]byte(msg), callerAddr.AddrPort(), answers); got != tt.refused {
				t.Fatalf("refused is %t, want %t", got, tt.refused)
			}
			answer := string(answers.sent)
			if is503 := strings.HasPrefix(answer, "SIP/2.0 503 ") && strings.Contains(answer, "\r\nRetry-After: 2\r\n"); is503 != (tt.refused && tt.what == "INVITE") {
				t.Errorf("answer is %q", answer)
			}
		})
	}
}

// FuzzGlance holds what is read at a glance to what the library reads.
func FuzzGlance(f *testing.F) {
	f.Add([]byte(ordinary))
	f.Add([]byte("INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nTo: <sip:b>\r\nTo: <sip:b>;tag=x\r\nCSeq: 1 INVITE\r\n\r\n"))
	for _, tt := range torture {
		f.Add(readTorture(f, filepath.FromSlash(tt.file)))
	}
	parser := newParser()
	f.Fuzz(func(t *testing.T, msg []byte) {
		key, tag, ok := glance(msg)
		if v := screen(msg); v != (verdict{}) || !ok || len(msg) == 0 || msg[0] <= ' ' || len(msg) > maxDatagram {
			return
		}
		req, err := parser.parse(msg)
		if err != nil || req.method != "INVITE" && req.method != "ACK" {
			return
		}
		want, err := serverKeyOf(req, "INVITE")
		if err != nil {
			return
		}
		if key != want {
			t.Errorf("key %+v, the library has %+v", key, want)
		}
		if want := req.toTag; tag != want {
			t.Errorf("tag %q, the library has %q", tag, want)
		}
	})
}
