package ua

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Kinds of frames, RFC 6455 section 5.2.
const (
	textFrame  = 1
	closeFrame = 8
	pingFrame  = 9
	pongFrame  = 10
)

// shakeHands makes a WebSocket of a connection, as a client: RFC 6455 section
// 4.1 and RFC 7118 section 4.1.
func shakeHands(conn net.Conn, host string) error {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	key := base64.StdEncoding.EncodeToString(nonce)
	_, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n", host, key)
	if err != nil {
		return err
	}
	// One byte at a time, so that nothing of the first frame is taken.
	res, err := http.ReadResponse(bufio.NewReader(oneByte{conn}), nil)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	switch {
	case res.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("WebSocket refused: %s", res.Status)
	case res.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return errors.New("WebSocket accepted with a wrong key")
	case res.Header.Get("Sec-WebSocket-Protocol") != "sip":
		return fmt.Errorf("WebSocket accepted with protocol %q", res.Header.Get("Sec-WebSocket-Protocol"))
	case !strings.EqualFold(res.Header.Get("Upgrade"), "websocket"):
		return errors.New("WebSocket accepted without an upgrade")
	}
	return nil
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(len(b), 1)]) }

// nextFrame reads one message. It answers pings.
func (s *stream) nextFrame() ([]byte, error) {
	var message []byte
	for {
		var head [2]byte
		if _, err := io.ReadFull(s.in, head[:]); err != nil {
			return nil, err
		}
		length := uint64(head[1] & 0x7f)
		if head[1]&0x80 != 0 || head[0]&0x70 != 0 {
			return nil, errors.New("a server's frame is masked, or has bits that mean nothing")
		}
		if length >= 126 {
			extended := make([]byte, 8)
			size := extended[:2+6*(length-126)]
			if _, err := io.ReadFull(s.in, size); err != nil {
				return nil, err
			}
			if length == 126 {
				length = uint64(binary.BigEndian.Uint16(size))
			} else {
				length = binary.BigEndian.Uint64(size)
			}
		}
		if length > maxMessage || len(message) > maxMessage {
			return nil, errors.New("message is too long")
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(s.in, payload); err != nil {
			return nil, err
		}
		switch head[0] & 0x0f {
		case closeFrame:
			return nil, io.EOF
		case pingFrame:
			if err := s.put(webFrame(pongFrame, payload)); err != nil {
				return nil, err
			}
		case pongFrame:
		default:
			if message = append(message, payload...); head[0]&0x80 != 0 {
				return message, nil
			}
		}
	}
}

// webFrame is a client's frame, masked as RFC 6455 section 5.3 demands.
func webFrame(kind byte, payload []byte) []byte {
	frame := []byte{0x80 | kind}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	mask := make([]byte, 4)
	_, _ = rand.Read(mask) // never fails
	frame = append(frame, mask...)
	for i, c := range payload {
		frame = append(frame, c^mask[i%4])
	}
	return frame
}
