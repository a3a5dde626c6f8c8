package b2bua

import (
	"bufio"
	"bytes"
	"errors"
	"math"
)

// maxMessage is the largest message that is read from a connection. It leaves
// room for what [delimited] adds.
const maxMessage = maxDatagram - 1024

// framer cuts single messages out of a connection. What it waits for is told to
// the connection's timing.
type framer interface {
	// rest waits for the first byte of a message.
	rest(c timing) error
	// next puts one message into buf and returns its length, 0 for none. A
	// verdict with a status is the answer to a message whose end cannot be known;
	// no other can follow it.
	next(buf []byte, c timing) (n int, v verdict, err error)
}

// timing bounds how long a framer may wait.
type timing interface {
	begun()        // the first byte of a message is there
	ended()        // between messages
	pinged() error // the far end asks whether the connection is alive
	ponged() bool  // a line end came: whether it is the answer to our own ping
}

// errTooLong is a header that does not end where messages must.
var errTooLong = errors.New("message is too long")

// lines frames a byte stream, RFC 3261 section 18.3.
type lines struct{ r *bufio.Reader }

func (l lines) next(buf []byte, c timing) (int, verdict, error) {
	c.begun()
	defer c.ended()
	n, err := l.head(buf)
	if err != nil {
		return n, verdict{}, err
	}
	length, v := bodyLength(buf[:n])
	if v.status != 0 {
		return n, v, nil
	}
	if length > maxMessage-n {
		return n, verdict{status: 513}, nil // RFC 3261 section 21.5.14
	}
	for end := n + length; n < end; {
		more, err := l.r.Read(buf[n:end])
		if n += more; err != nil {
			return n, verdict{}, err
		}
	}
	return n, verdict{}, nil
}

// rest reads what may stand between messages: line ends are ignored, RFC 3261
// section 7.5, and two of them are a ping, RFC 5626 section 3.5.1. Some phones
// send NULs to keep a NAT open.
func (l lines) rest(c timing) error {
	for ends := 0; ; {
		b, err := l.r.ReadByte()
		if err != nil {
			return err
		}
		switch b {
		case 0, '\r':
		case '\n':
			if c.ponged() {
				ends = 0
				continue
			}
			if ends++; ends == 2 {
				ends = 0
				if err := c.pinged(); err != nil {
					return err
				}
			}
		default:
			return l.r.UnreadByte()
		}
	}
}

// head reads up to the empty line that ends the header.
func (l lines) head(buf []byte) (n int, err error) {
	for start := 0; ; {
		part, err := l.r.ReadSlice('\n')
		if len(part) > maxMessage-n {
			return n, errTooLong
		}
		n += copy(buf[n:], part)
		switch line := bytes.TrimSuffix(buf[start:n], []byte("\n")); {
		case errors.Is(err, bufio.ErrBufferFull):
			continue // the rest of the line
		case err != nil:
			return n, err
		case len(line) == 0 || string(line) == "\r":
			return n, nil
		}
		start = n
	}
}

// bodyLength reads the Content-Length that must tell where the body ends, RFC
// 3261 section 18.3. The header has to end for the screen where it ended for
// the framing: what one reads as a body the other must not read as a message.
func bodyLength(head []byte) (int, verdict) {
	f := fields{rest: head}
	f.line()
	length, lengths := uint64(0), 0
	for f.next() {
		if fieldOf(f.name) != fieldContentLength {
			continue
		}
		n, ok := digits(trimSpace(f.value), math.MaxInt32)
		if lengths++; !ok || lengths > 1 {
			return 0, bad("Bad Content-Length")
		}
		length = n
	}
	switch {
	case len(f.rest) > 0:
		return 0, bad("Bad Header Line")
	case lengths == 0:
		return 0, bad("Missing Content-Length") // RFC 3261 section 20.14
	}
	return int(length), verdict{}
}
