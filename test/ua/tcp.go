package ua

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// tcpWire listens, dials where no connection is, and reads all connections.
type tcpWire struct {
	listener *net.TCPListener
	tasks    *tasks
	receive  receiver

	mu      sync.Mutex
	closed  bool
	streams map[netip.AddrPort]*stream // by the far end's address
}

// stream is one TCP connection.
type stream struct {
	conn *net.TCPConn
	mu   sync.Mutex // held while a message is written, so that two never mix
}

// writeTimeout ends the wait for a peer that does not read; a phone that
// cannot even dial in this time is not there.
const writeTimeout = 5 * time.Second

func openTCP(addr string, t *tasks, receive receiver) (*tcpWire, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", at)
	if err != nil {
		return nil, err
	}
	return &tcpWire{listener: listener, tasks: t, receive: receive, streams: make(map[netip.AddrPort]*stream)}, nil
}

func (w *tcpWire) local() netip.AddrPort {
	return unmap(w.listener.Addr().(*net.TCPAddr).AddrPort())
}

func (w *tcpWire) run() {
	for {
		conn, err := w.listener.AcceptTCP()
		if err != nil {
			return
		}
		w.adopt(conn)
	}
}

// adopt begins to read a connection. It returns the stream to write to, which
// is an older one when two were dialled at the same time; nil after close.
func (w *tcpWire) adopt(conn *net.TCPConn) *stream {
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
	s := &stream{conn: conn}
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
	in := bufio.NewReader(s.conn)
	for {
		raw, err := readMessage(in)
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
		// From the phone's own address, as UDP would.
		dialer := net.Dialer{Timeout: writeTimeout, LocalAddr: &net.TCPAddr{IP: w.listener.Addr().(*net.TCPAddr).IP}}
		conn, err := dialer.Dial("tcp", to.String())
		if err != nil {
			return err
		}
		if s = w.adopt(conn.(*net.TCPConn)); s == nil {
			return ErrClosed
		}
	}
	return s.write(raw)
}

func (s *stream) write(raw []byte) error {
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

func (w *tcpWire) close() {
	_ = w.listener.Close()
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
