package b2bua

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/test/ua"
)

// quickCall is a call over UDP at an agent that serves on one socket, which
// sends nothing.
func quickCall(t testing.TB, listen string, dialog store.Dialog) (*call, *socket) {
	a, err := New(Default(), noStore{}, noObserver{}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(listen)
	a.sockets = []socket{newSocket("udp", net.UDPAddrFromAddrPort(addr), "")}
	dialog.Transport, dialog.Listener = "udp", listen
	c := a.newCall(store.Call{ID: "1", State: store.Confirmed, Legs: [2]store.Leg{{Dialog: dialog}, {}}})
	return c, &a.sockets[0]
}

func TestAQuickProbeIsTheSameRequestAsAnyOtherProbe(t *testing.T) {
	for _, tt := range []struct {
		name, listen, advertise string
		dialog                  store.Dialog
		sessions                [2]byte
	}{
		{"plain", "192.0.2.1:5060", "", store.Dialog{CallID: "c", LocalTag: "lt", RemoteTag: "rt", LocalURI: "<sip:bob@b>",
			RemoteURI: `"A, l" <sip:alice@a>`, Target: "sip:alice@192.0.2.9:5062;ob", Peer: "192.0.2.9:5062"}, [2]byte{}},
		{"with sessions", "192.0.2.1:5060", "", store.Dialog{CallID: "c", LocalTag: "lt", RemoteTag: "rt", LocalURI: "sip:b",
			RemoteURI: "sip:alice@a", Target: "sip:192.0.2.9", Peer: "192.0.2.9:5060"}, [2]byte{1, 2}},
		{"of one session", "192.0.2.1:5060", "", store.Dialog{LocalURI: "<tel:+1>", Target: "sip:192.0.2.9"}, [2]byte{3, 3}},
		{"with loose routes", "192.0.2.1:5060", "", store.Dialog{LocalURI: "<sip:bob:secret@b;x=1>;p=2", RemoteURI: "<sip:a@a>",
			Target: "sip:alice@a?Subject=x", RouteSet: []string{"<sip:p1;lr>;a=b", "<sip:p2>"}}, [2]byte{}},
		{"with a strict route", "192.0.2.1:5060", "", store.Dialog{LocalURI: "<sip:b>", RemoteURI: "<sip:a@a>",
			Target: "sip:alice@a", RouteSet: []string{"<sip:p1;method=INVITE>", "<sip:p2;lr>"}}, [2]byte{}},
		{"over IPv6", "[2001:db8::1]:5060", "", store.Dialog{LocalURI: "<sip:b@h>", RemoteURI: "<sip:a@a>",
			Target: "sip:alice@[2001:db8::9]", Peer: "[2001:db8::9]:5060"}, [2]byte{}},
		{"advertised", "192.0.2.1:5060", "sip.example.com:5080", store.Dialog{LocalURI: "<sip:b@h>", RemoteURI: "<sip:a@a>",
			Target: "sip:alice@h"}, [2]byte{}},
		{"without a tag", "192.0.2.1:5060", "", store.Dialog{LocalURI: "", RemoteURI: "<sip:a@a>", Target: "sip:alice@h"}, [2]byte{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := quickCall(t, tt.listen, tt.dialog)
			*s = newSocket("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.listen)), tt.advertise)
			for i, b := range tt.sessions {
				c.sessionIDs.id[i][0] = b
			}
			out := c.agent.question(c.dialog(store.Caller), "OPTIONS", 7)
			c.ownSession(&out.header, store.Caller)
			var branch branchText
			copy(branch[:], out.branch[len(magicCookie):])
			if diff := cmp.Diff(written(out), string(c.appendProbe(nil, store.Caller, s, 7, branch))); diff != "" {
				t.Errorf("(-any other +quick):\n%s", diff)
			}
		})
	}
}

func TestWhatCountsAsTheAnswerToAProbe(t *testing.T) {
	branch := newBranch()
	for _, tt := range []struct {
		name, text string
		status     int
	}{
		{"a 200", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bK%s;rport=1\r\nCSeq: 2 OPTIONS\r\n\r\n", 200},
		{"without a phrase", "SIP/2.0 481 \r\nv:SIP/2.0/UDP h;rport;branch=z9hG4bK%s\r\nCSeq: 2 OPTIONS\r\n\r\n", 481},
		{"two Vias", "SIP/2.0 100 T\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%s,SIP/2.0/UDP i;branch=z9hG4bKx\r\nVia: SIP/2.0/UDP j;branch=y\r\nCSeq: 2 OPTIONS\r\n\r\n", 100},
		{"the number before the Via", "SIP/2.0 200 OK\r\nCSeq: 2 OPTIONS\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%s\r\n\r\n", 200},
		{"another method", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%s\r\nCSeq: 2 UPDATE\r\n\r\n", 0},
		{"a longer branch", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%sx\r\nCSeq: 2 OPTIONS\r\n\r\n", 0},
		{"in the second Via", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKy\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%s\r\nCSeq: 2 OPTIONS\r\n\r\n", 0},
		{"a request", "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%s\r\nCSeq: 2 OPTIONS\r\n\r\n", 0},
		{"no number", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%s\r\n\r\n", 0},
		{"no status", "SIP/2.0 2xx OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%s\r\nCSeq: 2 OPTIONS\r\n\r\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got, ok := readAnswer(fmt.Appendf(nil, tt.text, branch[:]))
			if ok != (tt.status != 0) || ok && (status != tt.status || got != branch) {
				t.Errorf("got %d %s %t, want %d", status, got[:], ok, tt.status)
			}
		})
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bK0123456789abcdefghijkl;rport=1\r\nCSeq: 2 OPTIONS\r\n\r\n"))
	f.Add([]byte("SIP/2.0 200"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		status, branch, ok := readAnswer(datagram)
		if ok && (status < 100 || status > 699 || !bytes.Contains(datagram, branch[:])) {
			t.Errorf("read %d %q", status, branch[:])
		}
	})
}

func TestOnlyAProbeThatIsNotAnsweredIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := quickCall(t, "192.0.2.1:5060", store.Dialog{CallID: "c", LocalTag: "l", LocalURI: "<sip:b@b>", RemoteURI: "<sip:a@a>",
			Target: "sip:a@192.0.2.9", Peer: "192.0.2.9:5060", LocalMark: 1 << 30, LocalAsked: 1 << 30})
		conn := &echo{}
		s.conn = newPacketConn(conn, c.agent.metrics, c.agent.seed)
		s.conn.guard.agent = c.agent
		from := netip.MustParseAddrPort("192.0.2.9:5060")
		close(c.agent.serving)
		c.agent.add(c)
		begin := time.Now()
		var answers [][]byte
		for range 4 { // at 0, 100, 200 and 300 ms
			c.agent.Probe(c.id, store.Caller, "OPTIONS", 64*sip.T1)
			answers = append(answers, bytes.Clone(conn.answer()))
			time.Sleep(100 * time.Millisecond)
		}
		answer := func(i int, want bool) {
			t.Helper()
			if serveAnswer(&c.agent.quick, answers[i], from, time.Now()) != want {
				t.Errorf("answer %d is wanted: %t", i, !want)
			}
		}
		var again []string
		conn.heard = func(b []byte) {
			m, _ := ua.Parse(b)
			again = append(again, m.Get("CSeq")+" "+time.Since(begin).String())
		}
		answer(1, true)
		answer(1, false)
		time.Sleep(1300 * time.Millisecond)
		answer(3, true)
		answer(0, true)
		time.Sleep(time.Second)
		answer(2, true)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"1 OPTIONS 500ms", "3 OPTIONS 700ms", "4 OPTIONS 800ms", "1 OPTIONS 1.5s", "3 OPTIONS 1.7s"}
		if diff := cmp.Diff(want, again); diff != "" {
			t.Error("sent again:", diff)
		}
		q := &c.agent.quick
		if len(q.waiting) > 0 || q.oldest != nil || q.newest != nil {
			t.Errorf("%d wait, line from %v to %v", len(q.waiting), q.oldest, q.newest)
		}
	})
}

// BenchmarkProbe is one probe and its answer, without sockets.
func BenchmarkProbe(b *testing.B) {
	c, s := quickCall(b, "192.0.2.1:5060", store.Dialog{CallID: "0123456789abcdef@192.0.2.9", LocalTag: "0123456789abcdef", RemoteTag: "rt",
		LocalURI: "<sip:bob@b>", RemoteURI: `"Alice" <sip:alice@a>`, Target: "sip:alice@192.0.2.9:5062", Peer: "192.0.2.9:5062",
		LocalMark: 1 << 30, LocalAsked: 1 << 30})
	conn := &echo{}
	s.conn = newPacketConn(conn, c.agent.metrics, c.agent.seed)
	s.conn.guard.agent = c.agent
	from := netip.MustParseAddrPort("192.0.2.9:5062")
	close(c.agent.serving)
	c.agent.add(c)
	b.ReportAllocs()
	for b.Loop() {
		c.agent.Probe(c.id, store.Caller, "OPTIONS", 64*sip.T1)
		if !serveAnswer(&c.agent.quick, conn.answer(), from, time.Now()) {
			b.Fatal("no answer")
		}
	}
}

// BenchmarkProbeOfManyCalls is BenchmarkProbe where calls are more than the caches
// of a processor hold.
func BenchmarkProbeOfManyCalls(b *testing.B) {
	const calls, together = 20_000, 64
	first, s := quickCall(b, "192.0.2.1:5060", store.Dialog{})
	conn := &echo{}
	s.conn = newPacketConn(conn, first.agent.metrics, first.agent.seed)
	s.conn.guard.agent = first.agent
	from := netip.MustParseAddrPort("192.0.2.9:5062")
	close(first.agent.serving)
	conn.heard = func([]byte) {
		if !serveAnswer(&first.agent.quick, conn.answer(), from, time.Now()) {
			b.Fatal("no answer")
		}
	}
	var ask []store.Question
	for range calls {
		id := first.agent.ids.make()
		d := store.Dialog{CallID: id + "@192.0.2.9", LocalTag: id, RemoteTag: "rt", Transport: "udp", Listener: "192.0.2.1:5060",
			LocalURI: "<sip:bob@b>", RemoteURI: `"Alice" <sip:alice@a>`, Target: "sip:alice@192.0.2.9:5062", Peer: "192.0.2.9:5062",
			LocalMark: 1 << 30, LocalAsked: 1 << 30}
		c := first.agent.newCall(store.Call{ID: id, State: store.Confirmed, Legs: [2]store.Leg{{Dialog: d}, {Dialog: d}}})
		c.rec.compact()
		first.agent.add(c)
		ask = append(ask, store.Question{ID: id, Side: store.Side(len(ask) % 2), Method: "OPTIONS"})
	}
	rand.Shuffle(len(ask), func(i, j int) { ask[i], ask[j] = ask[j], ask[i] })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := i % calls
		if at%together == 0 {
			first.agent.Ask(ask[at:min(at+together, calls)], 64*sip.T1)
		}
	}
}

// echo is a socket that remembers what was sent last.
type echo struct {
	memoryConn
	sent, back []byte
	heard      func([]byte)
}

func (e *echo) WriteTo(b []byte, _ net.Addr) (int, error) {
	e.sent = append(e.sent[:0], b...)
	if e.heard != nil {
		e.heard(b)
	}
	return len(b), nil
}

// answer is a 200 to what was sent last.
func (e *echo) answer() []byte {
	e.back = append(e.back[:0], "SIP/2.0 200 OK\r\n"...)
	_, rest, _ := bytes.Cut(e.sent, []byte("\r\n"))
	return append(e.back, rest...)
}

// serveAnswer does what the reader of a socket does with a datagram.
func serveAnswer(q *quickProbes, datagram []byte, from netip.AddrPort, came time.Time) bool {
	var replies []store.Reply
	did := q.answer(datagram, from, came, &replies)
	q.observer.Answered(replies...)
	return did
}
