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
	"sync"
	"sync/atomic"
	"time"
)

// How long a connection may keep us waiting.
const (
	firstMessage   = 10 * time.Second // for the first byte of SIP
	partialMessage = 30 * time.Second // for the rest of a message
	stuckWrite     = 3 * time.Second  // for room to write a message, once it is its turn
	lingering      = time.Second      // for a last answer to be read
)

// stream is a connection that brings one message after the other. TCP, TLS and
// WebSockets are all the same to whoever sends over it.
type stream struct {
	conn      net.Conn       // the innermost: what is read from it is SIP, or the frames of a WebSocket
	agent     *Agent         // whose it is
	transport string         // tcp, tls, ws, wss
	listener  string         // address of the socket that accepted it, "" when we opened it
	source    netip.AddrPort // the far end
	remote    string         // the same as text
	opened    time.Time      // which [firstMessage] counts from
	framer    framer
	guard     *guard
	peer      *x509.Certificate // of the far end, verified; nil without

	pongs   pongs
	turn    chan struct{} // taken by who writes
	unsent  atomic.Int32  // messages that are being written, or wait for their turn
	closing sync.Once

	// These belong to the goroutine that reads.
	proven bool // a message has come, and not a stranger's
	busy   bool // a message has begun to come
}

func (a *Agent) newStream(conn net.Conn, transport, listener string) *stream {
	s := &stream{
		conn: conn, agent: a, transport: transport, listener: listener,
		source: sourceOf(conn), opened: time.Now(), guard: newGuard(a.metrics, a.seed),
		turn: make(chan struct{}, 1),
	}
	s.remote = s.source.String()
	s.guard.agent = a
	r := bufio.NewReader(conn)
	s.framer = lines{r}
	if isWebSocket(transport) {
		s.framer = frames{r, onlyWriter{s}}
	}
	return s
}

// sourceOf is the address of the far end.
func sourceOf(conn net.Conn) netip.AddrPort {
	ap := addrPortOf(conn.RemoteAddr())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func isWebSocket(transport string) bool { return transport == "ws" || transport == "wss" }

// serve serves what comes until the connection ends. A panic costs one message.
func (s *stream) serve() {
	defer s.close()
	for s.agent.panics(s.read) {
	}
}

// read reads messages.
func (s *stream) read() {
	for more := true; more; {
		s.ended()
		if err := s.framer.rest(s); err != nil {
			s.failed(err)
			return
		}
		more = s.readOne()
	}
}

// reading holds what messages are read into. Most connections rest most of the
// time, and have no room for a message then.
var reading = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// readOne reads a message, and says whether others may follow. What cannot be
// read is answered as over UDP; after a message whose end cannot be known the
// connection is closed, RFC 4475 sections 3.1.2.3 and 3.3.9.
func (s *stream) readOne() (more bool) {
	buf := reading.Get().(*[maxDatagram]byte)
	defer reading.Put(buf)
	n, v, err := s.framer.next(buf[:], s)
	msg := buf[:n]
	switch {
	case err != nil:
		s.failed(err)
	case v.status != 0:
		v.drop = buf[0] <= ' ' || screen(msg).drop // no SIP, or nothing that is answered
		s.refuse(msg, v)
		s.linger("framing")
	case n == 0 || s.pass(msg):
		return true
	default:
		s.linger("framing")
	}
	return false
}

// pass serves a message if it can, and says whether others may follow.
func (s *stream) pass(msg []byte) (more bool) {
	v := screen(msg)
	v.drop = v.drop || msg[0] <= ' ' // which is a keep-alive in datagrams only
	if v.drop || v.status != 0 || s.isStrange(msg) {
		s.refuse(msg, v)
		// A request line that is none of SIP: a peer of another protocol.
		return !v.drop || isStatusLine(msg) || bytes.HasPrefix(msg, []byte("ACK "))
	}
	var m *received
	guarded(func() { m, _ = s.agent.parser.parse(msg) }, s.agent.panicked)
	if m == nil {
		s.refuse(msg, bad("Bad Message"))
		return true
	}
	s.proven = true
	s.agent.mirror.copy(s.transport, s.conn.RemoteAddr(), s.conn.LocalAddr(), msg)
	m.source = s.source
	s.agent.recollect()
	if q := s.agent.transaction.arrived(m, s); q != nil {
		s.agent.work.Go(q.run)
	}
	return true
}

// refuse answers if it can and may: strangers as over UDP.
func (s *stream) refuse(msg []byte, v verdict) {
	if bytes.HasPrefix(msg, []byte("ACK ")) || isStatusLine(msg) {
		v.drop = true
	}
	if s.isStrange(msg) {
		s.guard.turnAway(msg, v, s.source, answering{s: s})
		return
	}
	s.guard.refuse(msg, v, s.source, answering{s: s})
}

// isStrange is [guard.isStrange]. What a stranger says proves nothing: its
// connection has no longer than one that says nothing.
func (s *stream) isStrange(msg []byte) bool {
	return s.guard.isStrange(msg, s.source.Addr())
}

// answering is a connection in the place of a socket.
type answering struct {
	net.PacketConn
	s *stream
}

func (a answering) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), a.s.send(b) }

// failed notes why a connection ends when that is not the far end's will.
func (s *stream) failed(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.agent.metrics.closed.WithLabelValues("slow").Inc()
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) && !isNetwork(err):
		s.agent.metrics.closed.WithLabelValues("framing").Inc()
	}
	s.close()
}

func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.ErrClosedPipe)
}

// linger ends a connection so that the answer just sent arrives: data that is
// not read when a socket is closed would make the kernel take it back.
func (s *stream) linger(reason string) {
	s.agent.metrics.closed.WithLabelValues(reason).Inc()
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.Copy(io.Discard, io.LimitReader(s.conn, 1<<20))
	s.close()
}

// begun implements [timing].
func (s *stream) begun() {
	if s.busy {
		return
	}
	s.busy = true
	deadline := time.Now().Add(partialMessage)
	if !s.proven && s.listener != "" {
		deadline = s.opened.Add(firstMessage + partialMessage)
	}
	_ = s.conn.SetReadDeadline(deadline)
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
	_ = s.conn.SetReadDeadline(deadline)
}

// pinged implements [timing]: RFC 5626 section 4.4.1 has a ping answered with
// one CRLF.
func (s *stream) pinged() error {
	return s.send([]byte("\r\n"))
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

// send sends one message.
func (s *stream) send(out []byte) error {
	s.agent.mirror.copy(s.transport, s.conn.LocalAddr(), s.conn.RemoteAddr(), out)
	if isWebSocket(s.transport) {
		var err error
		if out, err = frame(out); err != nil {
			return err
		}
	}
	return s.writeRaw(out)
}

// answer implements carrier.
//
// Departs from RFC 3261 section 18.2.2: a response whose connection is gone is
// not sent over a new one. The far end sends its request again, or gives up.
func (s *stream) answer(text []byte, _ netip.AddrPort) error {
	return s.send(text)
}

// lastCame implements carrier: nothing waits before it is read.
func (s *stream) lastCame() time.Time { return time.Now() }

// put implements outlet.
func (s *stream) put(r *request) error {
	b := writing.Get().(*bytes.Buffer)
	defer writing.Put(b)
	b.Reset()
	r.write(b)
	return s.send(b.Bytes())
}

// writeRaw writes in turn. A deadline is the whole connection's: set out of turn it
// would give more time to a write that is stuck already, and one that is always
// busy would never be found stuck.
func (s *stream) writeRaw(b []byte) error {
	s.agent.mayWait()
	defer s.unsent.Add(-1)
	if s.unsent.Add(1) > maxWaiting {
		return errSlow
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	_ = s.conn.SetWriteDeadline(time.Now().Add(stuckWrite))
	_, err := s.conn.Write(b)
	if err != nil {
		s.close() // half a message may be out: nothing can follow it
	}
	_ = s.conn.SetWriteDeadline(time.Time{}) // TLS writes by itself, to change its keys
	return err
}

// errSlow: the far end reads more slowly than we have to write.
var errSlow = errors.New("too many messages wait for the far end to read")

// onlyWriter writes to a stream what is framed already.
type onlyWriter struct{ s *stream }

func (w onlyWriter) Write(b []byte) (int, error) { return len(b), w.s.writeRaw(b) }

// close ends the connection at once.
func (s *stream) close() {
	s.closing.Do(func() {
		s.agent.streams.remove(s)
		_ = rawConn(s.conn).Close()
	})
}

// rawConn is the connection below TLS, whose own Close may wait for a peer that
// does not read.
func rawConn(conn net.Conn) net.Conn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return conn
}
