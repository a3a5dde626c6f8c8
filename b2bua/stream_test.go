package b2bua_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
	"sipvigil/test/udp"
)

// stream is one end of a connection in memory that has addresses.
type stream struct {
	net.Conn
	local, remote *net.TCPAddr
}

func (s stream) LocalAddr() net.Addr  { return s.local }
func (s stream) RemoteAddr() net.Addr { return s.remote }

// listener accepts streams.
type listener struct {
	addr   *net.TCPAddr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// listens has the agent, before it serves, listen for connections of this
// transport.
func (w *world) listens(transport string) *listener {
	l := &listener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5060},
		conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	w.streams = append(w.streams, b2bua.Listener{Listener: l, Transport: transport})
	return l
}

// connectTo gives the phone a connection of this transport to a listener; what
// comes through it is read as if it came in datagrams. Over TLS it believes
// whom trust names.
func (p *phone) connectTo(l *listener, transport string, trust *tls.Config) {
	p.t.Helper()
	ours, theirs := net.Pipe()
	from := &net.TCPAddr{IP: p.host.Addr.IP, Port: p.host.Addr.Port}
	p.stream, p.over = ours, transport
	l.conns <- stream{theirs, l.addr, from}
	if transport == "tls" || transport == "wss" {
		c := trust.Clone()
		c.ServerName = "sipvigil.example"
		secured := tls.Client(ours, c)
		if err := secured.Handshake(); err != nil {
			p.t.Fatal(err)
		}
		p.stream = secured
	}
	r := bufio.NewReader(p.stream)
	read := func() ([]byte, error) { return readMessage(r) }
	if transport == "ws" || transport == "wss" {
		dialer := ws.Dialer{Protocols: []string{"sip"}}
		if _, _, err := dialer.Upgrade(p.stream, &url.URL{Host: "sipvigil.example", Path: "/"}); err != nil {
			p.t.Fatal(err)
		}
		p.stream = browser{p.stream}
		read = func() ([]byte, error) { return wsutil.ReadServerText(p.stream.(browser).Conn) }
	}
	go func() {
		for {
			m, err := read()
			if err != nil {
				return
			}
			p.host.In <- udp.Datagram{From: l.addr, Data: m}
		}
	}()
}

// browser writes each message into a frame of a WebSocket.
type browser struct{ net.Conn }

func (b browser) Write(msg []byte) (int, error) {
	return len(msg), wsutil.WriteClientText(b.Conn, msg)
}

// closed says whether the agent has closed the phone's connection.
func (p *phone) closed() bool {
	synctest.Wait()
	_ = p.stream.SetWriteDeadline(time.Now().Add(time.Millisecond))
	_, err := p.stream.Write([]byte("\r\n"))
	return errors.Is(err, io.ErrClosedPipe)
}

// readMessage reads up to where Content-Length says.
func readMessage(r *bufio.Reader) ([]byte, error) {
	var head strings.Builder
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		head.WriteString(line)
		if v, ok := strings.CutPrefix(line, "Content-Length:"); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		if line == "\r\n" && head.Len() > 2 {
			break
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return append([]byte(head.String()), body...), err
}

// overTCP runs a test with a caller that is connected over TCP.
func overTCP(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		l := w.listens("tcp")
		w.serve()
		w.agent.Loaded()
		w.alice.connectTo(l, "tcp", nil)
		t.Cleanup(func() { _ = w.alice.stream.Close() })
		f(w)
	})
}

func TestACallFromTCPToUDP(t *testing.T) {
	overTCP(t, func(w *world) {
		w.dial()
		same(w.T, w.invite.Get("Contact"), "<sip:alice@127.0.0.1:5060>")
		res := w.accept()
		same(w.T, res.Get("Contact"), "<sip:bob@127.0.0.1:5060;transport=tcp>")
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		m := w.alice.next("OPTIONS")
		same(w.T, m.RequestURI, "sip:alice@127.0.0.1:5071;transport=tcp")
		if !strings.HasPrefix(m.Get("Via"), "SIP/2.0/TCP 127.0.0.1:5060;branch=") {
			w.Errorf("Via: %s", m.Get("Via"))
		}
		w.alice.respond(m, 200, "")
		w.heard("probe caller OPTIONS: answered 200 after 0s")
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.heard("ending callee-bye", "ended callee-bye confirmed/confirmed")
	})
}

func TestAConnectionOutlivesItsTransactions(t *testing.T) {
	overTCP(t, func(w *world) {
		w.connect()
		for range 50 {
			w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
			w.alice.respond(w.alice.next("OPTIONS"), 200, "")
			w.alice.request("INFO", "")
			w.bob.respond(w.bob.next("INFO"), 200, "")
			w.alice.next("200 INFO")
			w.bob.request("INFO", "")
			w.alice.respond(w.alice.next("INFO"), 200, "")
			w.bob.next("200 INFO")
			pass(time.Minute)
		}
	})
}

func TestA2xxIsRepeatedOverTCPToo(t *testing.T) {
	overTCP(t, func(w *world) {
		w.dial()
		w.accept()
		pass(1600 * time.Millisecond)
		w.alice.next("200 INVITE")
		w.alice.next("200 INVITE")
		w.alice.nothing()
		w.ack()
	})
}

func TestByesThatCrossOverTCPEndTheCallAtOnce(t *testing.T) {
	for _, status := range []int{0, 200, 481} {
		overTCP(t, func(w *world) {
			w.connect()
			w.bob.request("BYE", "")
			w.bob.next("200 BYE")
			bye := w.alice.next("BYE")
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			if status != 0 {
				w.alice.respond(bye, status, "")
			}
			w.heard("ending callee-bye", "ended callee-bye confirmed/confirmed")
		})
	}
}

func TestAConnectionThatClosesAfterItsByeEndsTheCallAtOnce(t *testing.T) {
	overTCP(t, func(w *world) {
		w.connect()
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		_ = w.alice.stream.Close()
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.heard("ending caller-bye", "ended caller-bye confirmed/confirmed")
	})
}

// A browser can only connect to us. Its leg waits for it, whatever Contact says.
func TestABrowserThatIsBackOnAnotherConnectionIsReachedThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		l := w.listens("ws")
		w.serve()
		w.agent.Loaded()
		w.alice.connectTo(l, "ws", nil)
		w.connect()
		_ = w.alice.stream.Close()
		pass(time.Second)
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		synctest.Wait()
		if heard := strings.Join(w.obs.heard(), "\n"); !strings.Contains(heard, "probe caller OPTIONS: unsent") {
			t.Errorf("without a connection: %s", heard)
		}
		w.alice.host.Addr.Port++
		w.alice.connectTo(l, "ws", nil)
		t.Cleanup(func() { _ = w.alice.stream.Close() })
		w.alice.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 200, "")
		w.alice.next("200 INFO")
		w.obs.heard()
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		w.alice.respond(w.alice.next("OPTIONS"), 200, "")
		w.heard("probe caller OPTIONS: answered 200 after 0s")
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.alice.respond(w.alice.next("BYE"), 200, "")
	})
}

// Where its Contact says nobody listens: most phones only connect.
func TestAPhoneThatIsBackOnAnotherConnectionIsReachedThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		l := w.listens("tcp")
		w.serve()
		w.agent.Loaded()
		w.alice.connectTo(l, "tcp", nil)
		w.connect()
		second := w.posing(w.alice, "127.0.0.1:5081")
		second.connectTo(l, "tcp", nil)
		t.Cleanup(func() { _ = second.stream.Close() })
		second.request("OPTIONS", "")
		second.next("200 OPTIONS")
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		w.alice.respond(w.alice.next("OPTIONS"), 200, "") // its own is there yet
		_ = w.alice.stream.Close()
		pass(time.Second)
		second.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 200, "")
		second.next("200 INFO")
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		second.respond(second.next("BYE"), 200, "")
	})
}

func TestAByeOnAConnectionThatClosesHasAnOutcome(t *testing.T) {
	overTCP(t, func(w *world) {
		w.connect()
		w.release(store.End{Reason: store.Operator})
		w.alice.next("BYE")
		_ = w.alice.stream.Close() // no answer any more
		w.bob.respond(w.bob.next("BYE"), 200, "")
		pass(32 * time.Second)
		w.heard("ending operator", "ended operator unconfirmed/confirmed")
	})
}

func TestAFarEndThatCannotBeConnectedHoldsNothingUp(t *testing.T) {
	overTCP(t, func(w *world) {
		dialled := 0
		w.agent.DialWith(func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialled++
			<-ctx.Done()
			return nil, ctx.Err()
		})
		w.connect()
		_ = w.alice.stream.Close()
		pass(time.Second)
		for range 5 {
			w.bob.request("INFO", "")
		}
		w.bob.nothing()
		pass(3 * time.Second)
		for range 5 { // all have waited for the same connection
			w.bob.next("500 INFO")
		}
		w.bob.request("INFO", "")
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.bob.next("487 INFO")
		if dialled != 2 {
			t.Errorf("dialled %d times", dialled)
		}
		pass(6 * time.Second)
		if rec := w.obs.ended; len(rec) != 1 || rec[0].End.Released[store.Caller] != store.ReleaseUnconfirmed {
			t.Errorf("ended: %v", rec)
		}
	})
}

func TestRequestsThatWaitForAConnectionKeepTheirOrder(t *testing.T) {
	overTCP(t, func(w *world) {
		alice := w.alice
		w.connect()
		_ = alice.stream.Close()
		pass(time.Second)
		ours, theirs := net.Pipe()
		w.agent.DialWith(func(_ context.Context, _, addr string) (net.Conn, error) {
			same(t, addr, aliceAddr)
			time.Sleep(2 * time.Second)
			return stream{theirs, &net.TCPAddr{IP: alice.host.Addr.IP, Port: 9}, &net.TCPAddr{IP: alice.host.Addr.IP, Port: alice.host.Addr.Port}}, nil
		})
		for range 3 {
			w.bob.request("INFO", "")
			synctest.Wait()
			w.agent.Probe(w.id, store.Caller, "OPTIONS", 10*time.Second)
			synctest.Wait()
		}
		w.Cleanup(func() { _ = ours.Close() })
		r := bufio.NewReader(ours)
		for _, want := range []string{"1 INFO", "2 OPTIONS", "3 INFO", "4 OPTIONS", "5 INFO", "6 OPTIONS"} {
			raw, err := readMessage(r)
			if err != nil {
				t.Fatal(err)
			}
			m, err := ua.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			same(t, m.Get("CSeq"), want)
		}
	})
}
