package ua

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// tcpWire listens, dials where no connection is, and reads all connections. It
// carries TCP, TLS and, as a client that nobody can connect to, WebSockets.
type tcpWire struct {
	listener net.Listener // nil for WebSockets
	tls      *tls.Config  // nil without TLS
	web      bool         // WebSockets
	tasks    *tasks
	receive  receiver

	mu      sync.Mutex
	closed  bool
	streams map[netip.AddrPort]*stream // by the far end's address
}

// stream is one connection.
type stream struct {
	conn net.Conn
	in   *bufio.Reader
	web  bool
	mu   sync.Mutex // held while a message is written, so that two never mix
}

// writeTimeout ends the wait for a peer that does not read; a phone that
// cannot even dial in this time is not there.
const writeTimeout = 20 * time.Second

// tlsOf is what TLS needs, nil for a transport without it.
func tlsOf(transport string, cfg *tls.Config) *tls.Config {
	if transport != "tls" && transport != "wss" {
		return nil
	}
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return cfg
}

func openTCP(transport, addr string, secured *tls.Config, t *tasks, receive receiver) (*tcpWire, error) {
	w := &tcpWire{
		tls: tlsOf(transport, secured), web: isWeb(transport), tasks: t, receive: receive,
		streams: make(map[netip.AddrPort]*stream),
	}
	if w.web {
		return w, nil
	}
	var err error
	if w.listener, err = net.Listen("tcp", addr); err == nil && w.tls != nil {
		w.listener = tls.NewListener(w.listener, w.tls)
	}
	return w, err
}

func (w *tcpWire) local() netip.AddrPort {
	if w.listener == nil {
		return netip.AddrPort{}
	}
	return unmap(w.listener.Addr().(*net.TCPAddr).AddrPort())
}

func (w *tcpWire) run() {
	for w.listener != nil {
		conn, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.adopt(conn)
	}
}

// adopt begins to read a connection. It returns the stream to write to, which
// is an older one when two were dialled at the same time; nil after close.
func (w *tcpWire) adopt(conn net.Conn) *stream {
	peer := unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = conn.Close()
		return nil
	}
	if older := w.streams[peer]; older != nil {
		_ = conn.Close()
		return older
	}
	s := &stream{conn: conn, in: bufio.NewReader(conn), web: w.web}
	w.streams[peer] = s
	w.tasks.start(func() { w.read(s, peer) })
	return s
}

func (w *tcpWire) read(s *stream, peer netip.AddrPort) {
	defer func() {
		_ = s.conn.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.streams[peer] == s {
			delete(w.streams, peer)
		}
	}()
	for {
		raw, err := s.next()
		if err != nil {
			return
		}
		w.receive(raw, source{addr: peer, stream: s})
	}
}

func (w *tcpWire) send(to netip.AddrPort, raw []byte) error {
	w.mu.Lock()
	s := w.streams[to]
	w.mu.Unlock()
	if s == nil {
		conn, err := w.dial(to)
		if err != nil {
			return err
		}
		if s = w.adopt(conn); s == nil {
			return ErrClosed
		}
	}
	return s.write(raw)
}

// dial opens a connection, and what is above TCP.
func (w *tcpWire) dial(to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Timeout: writeTimeout}
	if w.listener != nil { // from the phone's own address, as UDP would
		dialer.LocalAddr = &net.TCPAddr{IP: w.listener.Addr().(*net.TCPAddr).IP}
	}
	conn, err := dialer.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	if err = conn.SetDeadline(time.Now().Add(writeTimeout)); err == nil && w.tls != nil {
		cfg := w.tls.Clone()
		cfg.ServerName = cmp.Or(cfg.ServerName, to.Addr().String())
		secured := tls.Client(conn, cfg)
		conn, err = secured, secured.Handshake()
	}
	if err == nil && w.web {
		err = shakeHands(conn, to.String())
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *stream) next() ([]byte, error) {
	if s.web {
		return s.nextFrame()
	}
	return readMessage(s.in)
}

func (s *stream) write(raw []byte) error {
	if s.web {
		raw = webFrame(textFrame, raw)
	}
	return s.put(raw)
}

func (s *stream) put(raw []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(raw)
	if err != nil {
		_ = s.conn.Close() // half a message may be out: nothing can follow it
	}
	return err
}

// disconnect closes all connections.
func (w *tcpWire) disconnect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for peer, s := range w.streams {
		_ = s.conn.Close()
		delete(w.streams, peer)
	}
}

func (w *tcpWire) close() {
	if w.listener != nil {
		_ = w.listener.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, s := range w.streams {
		_ = s.conn.Close()
	}
}

// maxMessage bounds what a broken peer can make us collect.
const maxMessage = 1 << 20

// readMessage cuts one message out of a stream: RFC 3261 section 18.3. Empty
// lines between messages are keep-alives and skipped (section 7.5).
func readMessage(in *bufio.Reader) ([]byte, error) {
	var raw []byte
	for !bytes.HasSuffix(raw, []byte(endOfHead)) {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(raw) == 0 && len(bytes.TrimRight(line, "\r\n")) == 0 {
			continue
		}
		if raw = append(raw, line...); len(raw) > maxMessage {
			return nil, errors.New("message is too long")
		}
	}
	m, _, err := parseHead(string(raw))
	if err != nil {
		return raw, nil // receive reports it; the stream may still be in step
	}
	length, err := contentLength(m)
	if err != nil || length > maxMessage {
		return nil, errors.New("no usable Content-Length on a stream")
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	return append(raw, body...), nil
}
