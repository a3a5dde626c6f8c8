package b2bua

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/gobwas/ws"
)

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: agentAddr.IP, Port: agentAddr.Port} }

// pipeEnd is a pipe with addresses.
type pipeEnd struct {
	net.Conn
	remote net.Addr
}

func (p pipeEnd) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: agentAddr.IP, Port: agentAddr.Port}
}
func (p pipeEnd) RemoteAddr() net.Addr { return p.remote }

// peer is the far end of a connection; it reads all that comes.
type peer struct {
	conn net.Conn

	mu     sync.Mutex
	got    []byte
	closed time.Time
}

// connect opens a connection from the caller's address and this port.
func (l *pipes) connect(t *testing.T, port int) *peer {
	return l.connectFrom(t, &net.TCPAddr{IP: callerAddr.IP, Port: port})
}

func (l *pipes) connectFrom(t *testing.T, from *net.TCPAddr) *peer {
	ours, theirs := net.Pipe()
	l.conns <- pipeEnd{theirs, from}
	p := newPeer(t, ours)
	synctest.Wait()
	return p
}

// newPeer is a peer with its end of a connection.
func newPeer(t *testing.T, ours net.Conn) *peer {
	p := &peer{conn: ours}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := ours.Read(buf)
			p.mu.Lock()
			p.got = append(p.got, buf[:n]...)
			if err != nil {
				p.closed = time.Now()
				p.mu.Unlock()
				return
			}
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = ours.Close() })
	return p
}

// write sends bytes in a goroutine of its own: nobody may be there to read them.
func (p *peer) write(b []byte) {
	go func() { _, _ = p.conn.Write(b) }()
	synctest.Wait()
}

// statuses are those of the final answers that have come, without repetitions.
func (p *peer) statuses() []int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []int
	var last []byte
	for msg := range bytes.SplitAfterSeq(p.got, []byte("\r\n\r\n")) {
		msg = bytes.TrimLeft(msg, "\r\n")
		if status(msg) >= 200 && !bytes.Equal(msg, last) {
			all, last = append(all, status(msg)), msg
		}
	}
	return all
}

// text is all that has come.
func (p *peer) text() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.got)
}

func (p *peer) open() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed.IsZero()
}

// closedAfter is how long it took since start until the connection was closed,
// 0 while it is open.
func (p *peer) closedAfter(start time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.IsZero() {
		return 0
	}
	return p.closed.Sub(start)
}

// overStreams runs a test in a bubble with an agent that listens for
// connections of this transport.
func overStreams(t *testing.T, transport string, f func(n *memoryNet, l *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		f(newNet(t, Listener{l, transport}), l)
	})
}

// streamed says what over a connection becomes of torture messages for which it
// is something else than over UDP: the statuses of the answers, and when the
// connection is closed.
var streamed = map[string]struct {
	want   []int
	closed time.Duration
	why    string
}{
	"clerr.dat":   {nil, firstMessage + partialMessage, "the rest of its body never comes"},
	"baddn.dat":   {nil, firstMessage + partialMessage, "in the archive it has lost the end of its header"},
	"ncl.dat":     {[]int{400}, lingering, "where it ends cannot be known"},
	"mcl01.dat":   {[]int{400}, lingering, "where it ends cannot be known"},
	"inv2543.dat": {[]int{400}, lingering, "it has no Content-Length"},
	"dblreq.dat":  {[]int{200, 400}, lingering, "its INVITE is a message too, without a Contact; its body is longer than it says, and the rest is no SIP"},
}

func TestEveryTortureMessageOnAConnectionGetsItsAnswer(t *testing.T) {
	noNames(t)
	for _, tt := range torture {
		t.Run(tt.file, func(t *testing.T) {
			overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
				want, special := streamed[tt.file]
				if !special && tt.want != 0 {
					want.want = []int{tt.want}
				}
				start := time.Now()
				p := l.connect(n.T, 5071)
				p.write(readTorture(t, filepath.FromSlash(tt.file)))
				time.Sleep(firstMessage + partialMessage + time.Second)
				got := p.statuses()
				slices.Sort(got) // two transactions are answered in any order
				if !slices.Equal(got, want.want) {
					n.Errorf("got %v, want %v\n%s", got, want.want, p.text())
				}
				// What brought nothing that could be read is closed without more.
				if got := p.closedAfter(start); got != want.closed && (special || got != firstMessage) {
					n.Errorf("closed after %v, want %v", got, want.closed)
				}
				n.call("after-" + filepath.Base(tt.file))
				if got := n.count("sipvigil_b2bua_panics_total"); got != 0 {
					n.Errorf("%v panics", got)
				}
			})
		})
	}
}

// options is a request that is answered 200.
func options(id string) []byte {
	return fmt.Appendf(nil, "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2:5071;branch=z9hG4bK-%[1]s\r\n"+
		"From: <sip:alice@127.0.0.2>;tag=a\r\nTo: <sip:127.0.0.1>\r\nCall-ID: %[1]s\r\nCSeq: 1 OPTIONS\r\n"+
		"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n", id)
}

func TestAConnectionThatSaysNothingIsClosedAndOneThatRestsIsNot(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		start := time.Now()
		mute, pinging, slow, good := l.connect(n.T, 1), l.connect(n.T, 2), l.connect(n.T, 3), l.connect(n.T, 4)
		good.write(options("good"))
		go func() {
			for range 40 { // a byte a second
				_, _ = slow.conn.Write([]byte("x"))
				time.Sleep(time.Second)
			}
		}()
		for range 5 {
			pinging.write([]byte("\r\n\r\n"))
			time.Sleep(time.Second)
		}
		if got := pinging.text(); got != strings.Repeat("\r\n", 5) { // RFC 5626 section 4.4.1
			n.Errorf("pings were answered with %q", got)
		}
		time.Sleep(time.Hour)
		for what, tt := range map[string]struct {
			peer *peer
			want time.Duration
		}{
			"mute":    {mute, firstMessage},
			"pinging": {pinging, firstMessage},
			"slow":    {slow, firstMessage + partialMessage},
			"good":    {good, 0},
		} {
			if got := tt.peer.closedAfter(start); got != tt.want {
				n.Errorf("%s: closed after %v, want %v", what, got, tt.want)
			}
		}
		good.write([]byte("\r\n\r\n"))
		good.write(options("again"))
		if got := good.statuses(); !slices.Equal(got, []int{200, 200}) {
			n.Errorf("got %v", got)
		}
		// A message that stops half way ends a connection that was good before.
		begun := time.Now()
		good.write(options("half")[:50])
		time.Sleep(time.Minute)
		if got := good.closedAfter(begun); got != partialMessage {
			n.Errorf("closed after %v, want %v", got, partialMessage)
		}
	})
}

func TestAPeerOfAnotherProtocolIsClosedWithoutAnAnswer(t *testing.T) {
	for _, in := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "EHLO a\r\n\r\n", "\x16\x03\x01\r\n\r\n"} {
		overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
			start := time.Now()
			p := l.connect(n.T, 1)
			p.write([]byte(in))
			time.Sleep(2 * time.Second)
			if got := p.closedAfter(start); got != lingering || p.text() != "" {
				n.Errorf("%q: closed after %v, got %q", in, got, p.text())
			}
		})
	}
}

func TestAMessageThatBreaksTheParserCostsItsConnectionNothingElse(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		parsers := map[string]sip.HeaderParser{"content-length": sip.DefaultHeadersParser()["content-length"],
			"via": sip.DefaultHeadersParser()["via"],
			"x":   func([]byte, string) (sip.Header, error) { panic("the parser is broken") }}
		n.agent.parser.library = sip.NewParser(sip.WithHeadersParsers(parsers))
		p, other := l.connect(n.T, 1), l.connect(n.T, 2)
		p.write(bytes.Replace(options("bad"), []byte("To:"), []byte("X: y\r\n z\r\nTo:"), 1))
		p.write(options("good"))
		other.write(options("other"))
		if got := p.statuses(); !slices.Equal(got, []int{400, 200}) {
			n.Errorf("got %v", got)
		}
		if got := other.statuses(); !slices.Equal(got, []int{200}) {
			n.Errorf("another connection got %v", got)
		}
		if got := n.count("sipvigil_b2bua_panics_total"); got != 1 {
			n.Errorf("%v panics were counted, want 1", got)
		}
	})
}

func TestAStrangerCannotTakeAllConnections(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		stranger := func(ip byte, port int) *peer {
			return l.connectFrom(n.T, &net.TCPAddr{IP: net.IPv4(192, 0, 2, ip), Port: port})
		}
		start := time.Now()
		var first []*peer
		for port := range maxPerSource {
			first = append(first, stranger(1, 1+port))
		}
		if stranger(1, 60000).open() {
			n.Error("one more connection was taken")
		}
		if !stranger(2, 1).open() {
			n.Error("somebody else was refused")
		}
		for port := range maxPerSource + 1 {
			if !l.connect(n.T, 1+port).open() {
				n.Fatalf("connection %d of this machine was refused", port+1)
			}
		}
		_ = first[0].conn.Close()
		synctest.Wait()
		if !stranger(1, 60001).open() {
			n.Error("a place that became free was not given away")
		}
		if got := first[1].closedAfter(start); got != 0 {
			n.Errorf("a connection was closed after %v", got)
		}
	})
}

func TestAConnectionFromTheSameAddressReplacesTheOlder(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		older := l.connect(n.T, 1)
		newer := l.connect(n.T, 1)
		newer.write(options("newer"))
		if older.open() || !slices.Equal(newer.statuses(), []int{200}) {
			n.Errorf("older is open: %v, newer got %v", older.open(), newer.statuses())
		}
	})
}

func TestAWebSocketIsOpenedForSIPOnly(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	for protocol, want := range map[string]string{
		"Sec-WebSocket-Protocol: sip\r\n":       "HTTP/1.1 101 ",
		"Sec-WebSocket-Protocol: chat, sip\r\n": "HTTP/1.1 101 ",
		"Sec-WebSocket-Protocol: chat\r\n":      "HTTP/1.1 400 ",
		"":                                      "HTTP/1.1 400 ",
	} {
		overStreams(t, "ws", func(n *memoryNet, l *pipes) {
			p, mute := l.connect(n.T, 1), l.connect(n.T, 2)
			start := time.Now()
			p.write([]byte(request + protocol + "\r\n"))
			if !strings.HasPrefix(p.text(), want) {
				n.Errorf("%q: got %q, want %s", protocol, p.text(), want)
			}
			if strings.Contains(want, "101") {
				p.write([]byte(client(ws.OpText, true, string(options("web")))))
				if !strings.Contains(p.text(), "SIP/2.0 200 OK\r\n") {
					n.Errorf("got %q", p.text())
				}
			}
			time.Sleep(time.Minute)
			if got := mute.closedAfter(start); got != handshakeTimeout {
				n.Errorf("a handshake that never came was closed after %v", got)
			}
		})
	}
}

func TestAMessageInManyPiecesHasNoMoreTimeThanOneInOne(t *testing.T) {
	overStreams(t, "ws", func(n *memoryNet, l *pipes) {
		p := l.connect(n.T, 1)
		p.write([]byte("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n"))
		p.write([]byte(client(ws.OpText, true, string(options("web")))))
		time.Sleep(time.Hour)
		if !p.open() {
			n.Fatal("a connection that rests was closed")
		}
		begun := time.Now()
		p.write([]byte(client(ws.OpText, false, "O")))
		for range 5 {
			time.Sleep(partialMessage - 10*time.Second)
			p.write([]byte(client(ws.OpPing, true, "") + client(ws.OpContinuation, false, "x")))
		}
		if got := p.closedAfter(begun); got != partialMessage {
			n.Errorf("closed after %v, want %v", got, partialMessage)
		}
	})
}

func TestRequestsToOnePeerShareOneConnection(t *testing.T) {
	n := newNet(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	for i := range 50 {
		go func() {
			req := &request{method: "OPTIONS", uri: "sip:h", transport: "tcp", to: l.Addr().String()}
			req.add("Call-ID", fmt.Sprint(i))
			n.agent.write(req)
		}()
	}
	conn := <-accepted
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 0, 1<<16)
	for bytes.Count(got, []byte("OPTIONS sip:")) < 50 {
		k, err := conn.Read(got[len(got):cap(got)])
		if err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+k]
	}
	_ = l.Close()
	if more, ok := <-accepted; ok {
		_ = more.Close()
		t.Fatal("more than one connection")
	}
}
