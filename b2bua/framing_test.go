package b2bua

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
)

// noTiming counts pings.
type noTiming struct{ pings int }

func (*noTiming) begun()          {}
func (*noTiming) ended()          {}
func (c *noTiming) pinged() error { c.pings++; return nil }
func (c *noTiming) ponged() bool  { return false }

// framed is what a framer makes of some bytes: the messages, the answer that
// ended it if one did, and how many pings there were.
func framed(f framer) (messages []string, answer string, pings int, err error) {
	c := &noTiming{}
	buf := make([]byte, maxDatagram)
	for {
		if err := f.rest(c); err != nil {
			return messages, "", c.pings, err
		}
		n, v, err := f.next(buf, c)
		switch {
		case err != nil:
			return messages, "", c.pings, err
		case v.status != 0:
			return messages, strings.TrimSpace(fmt.Sprint(v.status, " ", v.phrase)), c.pings, nil
		case n == 0:
			continue
		}
		messages = append(messages, string(buf[:n]))
	}
}

const (
	bare = "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n"
	full = "MESSAGE sip:a SIP/2.0\r\nX: y\r\n z\r\nContent-Length : \r\n 6\r\n\r\n\r\n\r\n12"
)

func TestAStreamIsCutWhereContentLengthSays(t *testing.T) {
	long := "OPTIONS sip:a SIP/2.0\r\nX: " + strings.Repeat("x", 9000) + "\r\nl: 0\r\n\r\n"
	for _, tt := range []struct {
		name, in string
		want     []string
		answer   string
		pings    int
		err      error
	}{
		{name: "nothing", in: "", err: io.EOF},
		{name: "one", in: bare, want: []string{bare}, err: io.EOF},
		{name: "several", in: bare + full + bare, want: []string{bare, full, bare}, err: io.EOF},
		{name: "lines longer than a buffer", in: long + bare, want: []string{long, bare}, err: io.EOF},
		{name: "one CRLF between messages", in: bare + "\r\n" + full, want: []string{bare, full}, err: io.EOF},
		{name: "a ping before, between and after", in: "\r\n\r\n" + bare + "\r\n\r\n" + full + "\r\n\r\n\r\n\r\n",
			want: []string{bare, full}, pings: 4, err: io.EOF},
		{name: "NULs of a keep-alive", in: "\x00\x00\x00\x00" + bare, want: []string{bare}, err: io.EOF},
		{name: "half a header", in: bare[:20], err: io.EOF},
		{name: "half a body", in: full[:len(full)-1], err: io.EOF},
		{name: "no Content-Length", in: "OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\n" + bare, answer: "400 Missing Content-Length"},
		{name: "two Content-Lengths", in: "OPTIONS sip:a SIP/2.0\r\nl: 0\r\nContent-Length: 0\r\n\r\n", answer: "400 Bad Content-Length"},
		{name: "a negative one", in: "OPTIONS sip:a SIP/2.0\r\nl: -1\r\n\r\n", answer: "400 Bad Content-Length"},
		{name: "one with a list", in: "OPTIONS sip:a SIP/2.0\r\nl: 1,1\r\n\r\n", answer: "400 Bad Content-Length"},
		{name: "a huge one", in: "OPTIONS sip:a SIP/2.0\r\nl: 99999999999999999999\r\n\r\n", answer: "400 Bad Content-Length"},
		{name: "one above the limit", in: "OPTIONS sip:a SIP/2.0\r\nl: 65000\r\n\r\n", answer: "513"},
		{name: "a header that the screen ends elsewhere", in: "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\rX: y\r\n\r\n", answer: "400 Bad Header Line"},
		{name: "an endless line", in: "OPTIONS " + strings.Repeat("x", 70000), err: errTooLong},
		{name: "an endless header", in: "OPTIONS sip:a SIP/2.0\r\n" + strings.Repeat("X: y\r\n", 20000), err: errTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)),
				iotest.DataErrReader(strings.NewReader(tt.in))} {
				got, answer, pings, err := framed(lines{bufio.NewReader(in)})
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("messages (-want +got):\n%s", d)
				}
				if answer != tt.answer || pings != tt.pings || !errors.Is(err, tt.err) {
					t.Errorf("answer %q, %d pings, error %v; want %q, %d, %v", answer, pings, err, tt.answer, tt.pings, tt.err)
				}
			}
		})
	}
}

// client is a frame as a client sends it.
func client(op ws.OpCode, fin bool, payload string) string {
	return string(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload)))))
}

func TestAWebSocketMessageIsOneSIPMessage(t *testing.T) {
	const plain = "OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\n"
	text := client(ws.OpText, true, bare)
	for _, tt := range []struct {
		name, in string
		want     []string
		pings    int
		written  string
		err      error
	}{
		{name: "text", in: text, want: []string{bare}, err: io.EOF},
		{name: "binary", in: client(ws.OpBinary, true, full), want: []string{full}, err: io.EOF},
		{name: "fragments around a ping", in: client(ws.OpText, false, bare[:5]) + client(ws.OpPing, true, "!") +
			client(ws.OpContinuation, false, "") + client(ws.OpContinuation, true, bare[5:]),
			want: []string{bare}, written: string(ws.MustCompileFrame(ws.NewPongFrame([]byte("!")))), err: io.EOF},
		{name: "without Content-Length", in: client(ws.OpText, true, plain+"body"),
			want: []string{"OPTIONS sip:a SIP/2.0\r\nX: y\r\nContent-Length: 4\r\n\r\nbody"}, err: io.EOF},
		{name: "more than Content-Length", in: client(ws.OpText, true, bare+bare), want: []string{bare}, err: io.EOF},
		{name: "less than Content-Length is left to the screen", in: client(ws.OpText, true, full[:len(full)-1]),
			want: []string{full[:len(full)-1]}, err: io.EOF},
		{name: "a keep-alive of SIP", in: client(ws.OpText, true, "\r\n\r\n") + client(ws.OpText, true, "\r\n") +
			client(ws.OpText, true, "") + text, want: []string{bare}, pings: 1, err: io.EOF},
		{name: "a close is answered", in: client(ws.OpClose, true, "\x03\xe8bye") + text,
			written: string(ws.MustCompileFrame(ws.NewCloseFrame([]byte("\x03\xe8")))), err: io.EOF},
		{name: "no mask", in: string(ws.MustCompileFrame(ws.NewTextFrame([]byte(bare)))), err: ws.ErrProtocolMaskRequired},
		{name: "a continuation of nothing", in: client(ws.OpContinuation, true, bare), err: ws.ErrProtocolContinuationUnexpected},
		{name: "a message inside of another", in: client(ws.OpText, false, "OPT") + text, err: ws.ErrProtocolContinuationExpected},
		{name: "a long control frame", in: client(ws.OpPing, true, strings.Repeat("x", 200)), err: ws.ErrProtocolControlPayloadOverflow},
		{name: "a long message", in: client(ws.OpText, true, strings.Repeat("x", 65000)), err: errTooLong},
		{name: "a long message in fragments", in: client(ws.OpText, false, strings.Repeat("x", 40000)) +
			client(ws.OpContinuation, true, strings.Repeat("x", 40000)), err: errTooLong},
		{name: "half a frame", in: text[:len(text)-1], err: io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				var written bytes.Buffer
				got, _, pings, err := framed(frames{bufio.NewReader(in), &written})
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("messages (-want +got):\n%s", d)
				}
				if pings != tt.pings || written.String() != tt.written || !errors.Is(err, tt.err) {
					t.Errorf("%d pings, wrote %q, error %v; want %d, %q, %v", pings, written.String(), err, tt.pings, tt.written, tt.err)
				}
			}
		})
	}
}

func TestAMessageThatIsNoTextLeavesAsBinary(t *testing.T) {
	for msg, want := range map[string]byte{"grüß": byte(ws.OpText), "\xff": byte(ws.OpBinary)} {
		b, err := frame([]byte(msg))
		if err != nil || b[0] != 0x80|want {
			t.Errorf("%q: % x, %v", msg, b, err)
		}
	}
}

// FuzzFraming looks for bytes that are cut in another way when they arrive in
// other pieces, and for messages that the library would cut elsewhere.
func FuzzFraming(f *testing.F) {
	f.Add([]byte(bare+full+"\r\n\r\n"+bare), false)
	f.Add([]byte(client(ws.OpText, true, bare)+client(ws.OpText, false, "x")+client(ws.OpPing, true, "")), true)
	for _, tt := range torture {
		msg := readTorture(f, filepath.FromSlash(tt.file))
		f.Add(msg, false)
		f.Add([]byte(client(ws.OpBinary, true, string(msg))), true)
	}
	parser := newParser()
	f.Fuzz(func(t *testing.T, in []byte, web bool) {
		of := func(r io.Reader) framer {
			if web {
				return frames{bufio.NewReader(r), io.Discard}
			}
			return lines{bufio.NewReader(r)}
		}
		whole, answer, pings, err := framed(of(bytes.NewReader(in)))
		again, answer2, pings2, err2 := framed(of(iotest.OneByteReader(bytes.NewReader(in))))
		if d := cmp.Diff(whole, again); d != "" || answer != answer2 || pings != pings2 || (err == nil) != (err2 == nil) {
			t.Fatalf("cut otherwise byte by byte: %q %q, %d %d, %v %v\n%s", answer, answer2, pings, pings2, err, err2, d)
		}
		for _, m := range whole {
			if len(m) == 0 || len(m) > maxMessage+len("Content-Length: 65535\r\n") {
				t.Fatalf("a message of %d bytes", len(m))
			}
			if v := screen([]byte(m)); v.drop || v.status != 0 {
				continue
			}
			if _, n, err := parser.library.Parse([]byte(m), true); err == nil && n != len(m) {
				t.Fatalf("the library ends the message after %d of %d bytes:\n%q", n, len(m), m)
			}
		}
	})
}
