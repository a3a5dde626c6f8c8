package b2bua

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// subprotocol is what both ends of a WebSocket must agree on, RFC 7118 section
// 4.1.
const subprotocol = "sip"

// upgrade answers the HTTP request that opens a WebSocket. A client that does
// not offer our subprotocol gets 400.
func upgrade(conn net.Conn) error {
	offered := false
	u := ws.Upgrader{
		Protocol: func(p []byte) bool {
			offered = offered || string(p) == subprotocol
			return string(p) == subprotocol
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if offered {
				return nil, nil
			}
			return nil, ws.RejectConnectionError(ws.RejectionStatus(400),
				ws.RejectionReason("only the WebSocket subprotocol sip is spoken here"))
		},
	}
	_, err := u.Upgrade(conn)
	return err
}

// frames reads a WebSocket: each of its messages is one SIP message, RFC 7118
// section 5. It is the server's end.
type frames struct {
	r    *bufio.Reader
	conn io.Writer
}

// rest serves the control frames between messages, and returns io.EOF when the
// far end closes.
func (f frames) rest(c timing) error {
	for {
		if first, err := f.r.Peek(1); err != nil || !ws.OpCode(first[0]&0x0f).IsControl() {
			return err
		}
		c.begun()
		h, err := ws.ReadHeader(f.r)
		if err == nil {
			err = ws.CheckHeader(h, ws.StateServerSide)
		}
		if err == nil {
			err = f.control(h)
		}
		if err != nil {
			return err
		}
		c.ended()
	}
}

// next returns io.EOF when the far end closes.
func (f frames) next(buf []byte, c timing) (n int, v verdict, err error) {
	defer c.ended()
	state := ws.StateServerSide
	for {
		if _, err := f.r.Peek(1); err != nil {
			return n, verdict{}, err
		}
		c.begun()
		h, err := ws.ReadHeader(f.r)
		if err != nil {
			return n, verdict{}, err
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return n, verdict{}, err
		}
		if h.OpCode.IsControl() {
			if err := f.control(h); err != nil {
				return n, verdict{}, err
			}
			continue
		}
		if h.Length > int64(maxMessage-n) {
			return n, verdict{}, errTooLong
		}
		part := buf[n : n+int(h.Length)]
		if _, err := io.ReadFull(f.r, part); err != nil {
			return n, verdict{}, err
		}
		ws.Cipher(part, h.Mask, 0)
		n += len(part)
		if !h.Fin {
			state = state.Set(ws.StateFragmented)
			continue
		}
		switch whole := bytes.Trim(buf[:n], "\r\n\x00"); {
		case len(whole) > 0:
			return delimited(buf, n), verdict{}, nil
		case bytes.Equal(buf[:n], []byte("\r\n\r\n")):
			err = c.pinged() // RFC 5626 section 3.5.1
		}
		return 0, verdict{}, err // a keep-alive
	}
}

// control answers a ping with a pong, and a close with a close, RFC 6455
// sections 5.5.1 and 5.5.2.
func (f frames) control(h ws.Header) error {
	payload := make([]byte, h.Length) // at most 125, was checked
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return err
	}
	ws.Cipher(payload, h.Mask, 0)
	switch h.OpCode {
	case ws.OpPing:
		_, err := f.conn.Write(ws.MustCompileFrame(ws.NewPongFrame(payload)))
		return err
	case ws.OpClose:
		if len(payload) > 2 {
			payload = payload[:2]
		}
		_, _ = f.conn.Write(ws.MustCompileFrame(ws.NewCloseFrame(payload)))
		return io.EOF
	}
	return nil
}

// delimited gives a message the Content-Length that it needs in a stream and
// may leave out in a WebSocket, RFC 7118 section 5. What follows the body is no
// part of the message, RFC 3261 section 18.3; a body that is too short is left
// to the screen.
func delimited(buf []byte, n int) int {
	f := fields{rest: buf[:n]}
	f.line()
	for f.next() {
		if fieldOf(f.name) == fieldContentLength {
			length, ok := digits(trimSpace(f.value), maxMessage)
			for f.next() { // to the body
			}
			if ok && int(length) < len(f.rest) {
				n -= len(f.rest) - int(length)
			}
			return n
		}
	}
	at := n - len(f.rest) - len("\r\n")
	if f.broken || at < 0 {
		return n
	}
	line := "Content-Length: " + strconv.Itoa(len(f.rest)) + "\r\n"
	if n+len(line) > len(buf) {
		return n
	}
	copy(buf[at+len(line):], buf[at:n])
	return n + copy(buf[at:], line)
}

// frame is a SIP message as one WebSocket message. Text is UTF-8, so a message
// that is not goes as binary, RFC 7118 section 4.2.
func frame(msg []byte) ([]byte, error) {
	op := ws.OpText
	if !utf8.Valid(msg) {
		op = ws.OpBinary
	}
	b, err := ws.CompileFrame(ws.NewFrame(op, true, msg))
	if err != nil {
		return nil, fmt.Errorf("framing a message: %w", err)
	}
	return b, nil
}
