package b2bua

import (
	"bytes"
	"fmt"
	"hash/maphash"
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

func TestViasAreMadeReadableAndGivenBackAsTheyWere(t *testing.T) {
	g := newGuard(nil, maphash.MakeSeed())
	test := func(via, want string) {
		t.Helper()
		const line, rest = "OPTIONS sip:a@b SIP/2.0\r\n", "\r\nf: <sip:c@d>\r\nSubject:\r\n folded\r\n\r\nbody"
		msg := line + "v: " + via + rest
		buf := make([]byte, 1000)
		adapted := buf[:g.adapt(buf, copy(buf, msg))]
		if !bytes.Contains(adapted, []byte(";branch=z9hG4bK")) {
			t.Errorf("no branch for the library in %q", adapted)
		}
		// As a response, which has the same Via.
		got := string(withoutBranch(bytes.Replace(adapted, []byte(line), []byte("SIP/2.0 200 OK\r\n"), 1)))
		want = "SIP/2.0 200 OK\r\nVia: " + want + rest
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	test("SIP/2.0/UDP a", "SIP/2.0/UDP a")
	test("SIP/2.0/UDP a;branch=1;x", "SIP/2.0/UDP a;branch=1;x")
	test("SIP/2.0/UDP a;Branch=z9hG4bK1;x", "SIP/2.0/UDP a;branch=z9hG4bK1;x")
	test("SIP/2.0/UDP a;branch=z9hG4bK1;x", "SIP/2.0/UDP a;branch=z9hG4bK1;x")
	test("SIP / 2.0\r\n /UDP\r\n   a : 1 ; branch = 1 , SIP/2.0/UDP b", "SIP/2.0/UDP a:1;branch=1,SIP/2.0/UDP b")
	test("SIP/2.0/UDP a;x=\"; y\" ;z", "SIP/2.0/UDP a;x=\"; y\";z")

	small := []byte("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\r\n")
	if n := g.adapt(small, len(small)); n != len(small) || !bytes.HasPrefix(small, []byte("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\r\n")) {
		t.Errorf("what does not fit was changed: %q", small)
	}
}
