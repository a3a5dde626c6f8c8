package b2bua

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"
)

// How long a connection may keep us waiting.
const (
	firstMessage   = 10 * time.Second // for the first byte of SIP
	partialMessage = 30 * time.Second // for the rest of a message
	stuckWrite     = 3 * time.Second  // for room to write
	lingering      = time.Second      // for a last answer to be read
)

// stream is a connection as the library should see it: one that somebody else
// opened, whose every Read is one whole message that it can read. TCP, TLS and
// WebSockets are all the same to it.
type stream struct {
	net.Conn            // the innermost: what is read from it is SIP, or the frames of a WebSocket
	agent     *Agent    // whose it is
	transport string    // tcp, tls, ws, wss
	listener  string    // address of the socket that accepted it, "" when we opened it
	remote    string    // address of the far end, by which the library files it
	source    net.Addr  // the same
	opened    time.Time // which [firstMessage] counts from
	framer    framer
	guard     *guard
	peer      *x509.Certificate // of the far end, verified; nil without

	pongs   pongs
	started chan struct{} // closed when the library reads, that is, knows the connection
	once    sync.Once
	closing sync.Once

	// These belong to the goroutine that reads.
	proven bool // a message has come, and not a stranger's
	busy   bool // a message has begun to come
}

func (a *Agent) newStream(conn net.Conn, transport, listener string) *stream {
	s := &stream{
		Conn: conn, agent: a, transport: transport, listener: listener,
		remote: addrText(conn.RemoteAddr()), source: conn.RemoteAddr(), opened: time.Now(),
		guard: newGuard(a.metrics, a.seed), started: make(chan struct{}),
	}
	s.guard.agent = a
	r := bufio.NewReader(conn)
	s.framer = lines{r}
	if isWebSocket(transport) {
		s.framer = frames{r, onlyWriter{s}}
	}
	return s
}

func isWebSocket(transport string) bool { return transport == "ws" || transport == "wss" }

// addrText is an address as the library writes it.
func addrText(addr net.Addr) string {
	if ap, err := netip.ParseAddrPort(addr.String()); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
	}
	return addr.String()
}

// LocalAddr is the remote address: the library would also file a connection
// under its local one, and find the last that was accepted there in place of
// the peer that a request is for.
func (s *stream) LocalAddr() net.Addr { return s.source }

// Read returns one message. What cannot be read is answered as over UDP; after
// a message whose end cannot be known the connection is closed, RFC 4475
// sections 3.1.2.3 and 3.3.9.
func (s *stream) Read(b []byte) (int, error) {
	s.once.Do(func() { close(s.started) })
	runtime.Gosched() // as in [packetConn.ReadFrom]
	s.ended()
	for {
		n, v, err := s.framer.next(b, s)
		switch {
		case err != nil:
			s.failed(err)
			return 0, io.EOF
		case v.status != 0:
			v.drop = b[0] <= ' ' || screen(b[:n]).drop // no SIP, or nothing that is answered
			s.refuse(b[:n], v)
			s.linger("framing")
			return 0, io.EOF
		}
		n, keep := s.pass(b, n)
		if !keep {
			s.linger("framing")
			return 0, io.EOF
		}
		if n > 0 {
			s.proven = true
			s.agent.mirror.copy(s.transport, s.source, s.Conn.LocalAddr(), b[:n])
			return n, nil
		}
	}
}

// pass says how long the message is for the library, 0 if it is not for it, and
// whether others may follow.
func (s *stream) pass(b []byte, n int) (length int, keep bool) {
	v := screen(b[:n])
	v.drop = v.drop || b[0] <= ' ' // which is a keep-alive in datagrams only
	if v.drop || v.status != 0 || s.isStrange(b[:n]) {
		s.refuse(b[:n], v)
		// A request line that is none of SIP: a peer of another protocol.
		return 0, !v.drop || isStatusLine(b[:n]) || bytes.HasPrefix(b[:n], []byte("ACK "))
	}
	if v.adapt {
		n = s.guard.adapt(b, n)
	}
	if !s.agent.readable(b[:n]) {
		s.refuse(b[:n], bad("Bad Message"))
		return 0, true
	}
	return n, true
}

// readable says whether the library can read the message. It closes the
// connection of one that it cannot, and a panic in the goroutine that it reads
// in would end the process.
func (a *Agent) readable(msg []byte) (ok bool) {
	guarded(func() {
		_, n, err := a.parser.library.Parse(msg, true)
		ok = err == nil && n == len(msg)
	}, a.panicked)
	return ok
}

// refuse answers if it can and may: strangers as over UDP.
func (s *stream) refuse(msg []byte, v verdict) {
	if bytes.HasPrefix(msg, []byte("ACK ")) || isStatusLine(msg) {
		v.drop = true
	}
	from, ok := addrPort(s.remote)
	switch {
	case !ok:
	case s.isStrange(msg):
		s.guard.turnAway(msg, v, from, answering{s: s})
	default:
		s.guard.refuse(msg, v, from, answering{s: s})
	}
}

// isStrange is [guard.isStrange]. What a stranger says proves nothing: its
// connection has no longer than one that says nothing.
func (s *stream) isStrange(msg []byte) bool {
	from, ok := addrPort(s.remote)
	return ok && s.guard.isStrange(msg, from.Addr())
}

// answering is a connection in the place of a socket.
type answering struct {
	net.PacketConn
	s *stream
}

func (a answering) WriteTo(b []byte, _ net.Addr) (int, error) { return a.s.Write(b) }

// failed notes why a connection ends when that is not the far end's will.
func (s *stream) failed(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.agent.metrics.closed.WithLabelValues("slow").Inc()
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) && !isNetwork(err):
		s.agent.metrics.closed.WithLabelValues("framing").Inc()
	}
	_ = s.Close()
}

func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.ErrClosedPipe)
}

// linger ends a connection so that the answer just sent arrives: data that is
// not read when a socket is closed would make the kernel take it back.
func (s *stream) linger(reason string) {
	s.agent.metrics.closed.WithLabelValues(reason).Inc()
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = s.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.Copy(io.Discard, io.LimitReader(s.Conn, 1<<20))
	_ = s.Close()
}

// begun implements [timing].
func (s *stream) begun() {
	if s.busy {
		return
	}
	s.busy = true
	deadline := time.Now().Add(partialMessage)
	if !s.proven {
		deadline = s.opened.Add(firstMessage + partialMessage)
	}
	_ = s.SetReadDeadline(deadline)
}

// ended implements [timing]. A connection that we opened, or that has brought a
// message of somebody we know, may rest for as long as the kernel finds its
// peer there.
func (s *stream) ended() {
	s.busy = false
	var deadline time.Time
	if !s.proven && s.listener != "" {
		deadline = s.opened.Add(firstMessage)
	}
	_ = s.SetReadDeadline(deadline)
}

// pinged implements [timing]: RFC 5626 section 4.4.1 has a ping answered with
// one CRLF.
func (s *stream) pinged() error {
	_, err := s.Write([]byte("\r\n"))
	return err
}

// pongs are those who wait for the answer to a ping of ours.
type pongs struct {
	mu      sync.Mutex // guards waiting
	waiting []chan struct{}
}

// ping asks whether the far end is there, RFC 5626 section 4.4.1.
func (s *stream) ping(ctx context.Context) error {
	pong := make(chan struct{})
	s.pongs.mu.Lock()
	s.pongs.waiting = append(s.pongs.waiting, pong)
	s.pongs.mu.Unlock()
	if err := s.writeRaw([]byte("\r\n\r\n")); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ponged implements [timing].
func (s *stream) ponged() bool {
	s.pongs.mu.Lock()
	defer s.pongs.mu.Unlock()
	for _, pong := range s.pongs.waiting {
		close(pong)
	}
	answered := len(s.pongs.waiting) > 0
	s.pongs.waiting = nil
	return answered
}

// Write sends one message, without what the guard added for the library.
func (s *stream) Write(b []byte) (int, error) {
	out := withoutBranch(b)
	s.agent.mirror.copy(s.transport, s.Conn.LocalAddr(), s.source, out)
	if isWebSocket(s.transport) {
		var err error
		if out, err = frame(out); err != nil {
			return 0, err
		}
	}
	if err := s.writeRaw(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// answer implements carrier.
func (s *stream) answer(text []byte, _ netip.AddrPort) error {
	_, err := s.Write(text)
	return err
}

// put implements outlet.
func (s *stream) put(r *request) error {
	b := writing.Get().(*bytes.Buffer)
	defer writing.Put(b)
	b.Reset()
	r.write(b)
	_, err := s.Write(b.Bytes())
	return err
}

func (s *stream) writeRaw(b []byte) error {
	s.agent.mayWait()
	_ = s.SetWriteDeadline(time.Now().Add(stuckWrite))
	_, err := s.Conn.Write(b)
	if err != nil {
		_ = s.Close() // half a message may be out: nothing can follow it
	}
	return err
}

// onlyWriter writes to a stream what is framed already.
type onlyWriter struct{ s *stream }

func (w onlyWriter) Write(b []byte) (int, error) { return len(b), w.s.writeRaw(b) }

// Close ends the connection at once.
func (s *stream) Close() (err error) {
	s.closing.Do(func() {
		s.agent.streams.remove(s)
		err = rawConn(s.Conn).Close()
	})
	return err
}

// rawConn is the connection below TLS, whose own Close may wait for a peer that
// does not read.
func rawConn(conn net.Conn) net.Conn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return conn
}
