package b2bua

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnRFC2543PeerWithoutBranchAndTagsCanCall(t *testing.T) {
	const via = "SIP/2.0/UDP 127.0.0.2:5062"
	request := func(method, user, to string, cseq int) []byte {
		return fmt.Appendf(nil, "%s sip:%s@127.0.0.1 SIP/2.0\r\nVia: %s\r\nFrom: <sip:alice@127.0.0.2:5062>\r\n"+
			"To: %s\r\nCall-ID: old\r\nCSeq: %d %[1]s\r\n\r\n", method, user, via, to, cseq)
	}
	test := func(t *testing.T, user string, want int) (n *memoryNet, to string) {
		n = newNet(t)
		n.send(request("INVITE", user, "<sip:bob@127.0.0.1>", 1))
		time.Sleep(100 * time.Millisecond)
		n.send(request("INVITE", user, "<sip:bob@127.0.0.1>", 1)) // once more, as if nothing had come
		time.Sleep(100 * time.Millisecond)
		finals := n.finals()
		if len(finals) != 1 || status(finals[0]) != want {
			t.Fatalf("got %d final answers, want %d:\n%s", len(finals), want, bytes.Join(finals, nil))
		}
		for _, a := range n.answers {
			if !bytes.Contains(a, []byte("Via: "+via+";received=")) && !bytes.Contains(a, []byte("Via: "+via+"\r\n")) {
				t.Errorf("Via is not as it was sent:\n%s", a)
			}
		}
		_, to, _ = strings.Cut(string(finals[0]), "\r\nTo: ")
		to, _, _ = strings.Cut(to, "\r\n")
		n.send(request("ACK", user, to, 1))
		time.Sleep(10 * time.Millisecond)
		n.forget()
		time.Sleep(40 * time.Second)
		if finals := n.finals(); len(finals) > 0 {
			t.Fatalf("the ACK was not recognised, the answer was repeated:\n%s", bytes.Join(finals, nil))
		}
		return n, to
	}
	t.Run("and is refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, "carol", relayed) })
	})
	t.Run("and hangs up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, to := test(t, "bob", 200)
			n.send(request("BYE", "bob", to, 2))
			time.Sleep(100 * time.Millisecond)
			if finals := n.finals(); len(finals) != 1 || status(finals[0]) != 200 {
				t.Fatalf("BYE got %d final answers, want 200:\n%s", len(finals), bytes.Join(finals, nil))
			}
		})
	})
}

func TestViasAreMadeReadable(t *testing.T) {
	test := func(via string, want ...string) {
		t.Helper()
		m, err := newParser().parse([]byte("OPTIONS sip:a@b SIP/2.0\r\nv: " + via + "\r\nf: <sip:c@d>\r\nCSeq: 1 OPTIONS\r\nSubject:\r\n folded\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range m.fields {
			if f.key == "via" {
				got = append(got, f.value)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", via, got, want)
		}
	}
	test("SIP/2.0/UDP a", "SIP/2.0/UDP a")
	test("SIP/2.0/UDP a;Branch=z9hG4bK1;x", "SIP/2.0/UDP a;Branch=z9hG4bK1;x")
	test("SIP / 2.0\r\n /UDP\r\n   a : 1 ; branch = 1 , SIP/2.0/UDP b", "SIP/2.0/UDP a:1;branch=1", "SIP/2.0/UDP b")
	test("SIP/2.0/UDP a;x=\"; y\" ;z", "SIP/2.0/UDP a;x=\"; y\";z")
}

func TestWhatNamesATransaction(t *testing.T) {
	key := func(method, uri, via, to string) serverKey {
		t.Helper()
		m, err := newParser().parse(fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP h%s\r\nFrom: <sip:a@h>\r\nTo: <sip:b@h>%s\r\n"+
			"Call-ID: 1\r\nCSeq: 1 %[1]s\r\n\r\n", method, uri, via, to))
		if err != nil {
			t.Fatal(err)
		}
		k, err := serverKeyOf(m, method)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, via := range []string{";branch=z9hG4bK1", ";Branch=z9hG4bK1;x", ";x=y;BRANCH=z9hG4bK1"} {
		if got, want := key("ACK", "sip:c@h", via, ";tag=1"), (serverKey{"z9hG4bK1", sentBy{host: "h"}, "INVITE"}); got != want {
			t.Errorf("%s: got %+v, want %+v", via, got, want)
		}
	}
	for _, via := range []string{"", ";branch=1", ";branch=z9hG4bK"} {
		invite := key("INVITE", "sip:b@h", via, "")
		if ack := key("ACK", "sip:b@h", via, ";tag=1"); ack != invite {
			t.Errorf("%s: the ACK is of %+v, the INVITE of %+v", via, ack, invite)
		}
		if ack := key("ACK", "sip:contact@h", via, ";tag=1"); ack == invite {
			t.Errorf("%s: an ACK to another Request-URI, as that of a 2xx, is of the INVITE", via)
		}
		if bye := key("BYE", "sip:b@h", via, ";tag=1"); bye == invite {
			t.Errorf("%s: BYE and INVITE are one", via)
		}
	}
}
