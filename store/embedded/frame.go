package embedded

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
)

// A journal is a head and frames. The head is a line with the version, a mark
// of four random bytes, and the CRC32C of both. A frame is the mark, the length
// of its payload, a CRC32C over its place in the file and the payload, and the
// payload. Nobody on the network knows the mark, so that no text in a record
// can pass for a frame when what is around it is damaged.
//
// A payload is the epoch and the tag key, in every frame so that no damage
// loses them, and then entries, each after its length.
const (
	title     = "sipvigil journal "
	version   = "1"
	headSize  = len(title) + len(version) + 1 + markSize + 4
	markSize  = 4
	frameHead = markSize + 4 + 4
	frameFull = 256 << 10 // a frame that is longer gets no more entries
	frameMost = 2 << 20   // no frame is longer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newHead returns the head of a new journal and its mark.
func newHead() (head []byte, mark [markSize]byte) {
	_, _ = rand.Read(mark[:]) // never fails
	head = append([]byte(title+version+"\n"), mark[:]...)
	return binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli)), mark
}

// errNoJournal is a file whose head cannot be believed.
var errNoJournal = errors.New("is no journal of sipvigil, or its first bytes are damaged: move it away to start without the calls in it")

// readHead returns the mark of a journal.
func readHead(r io.Reader) (mark [markSize]byte, err error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return mark, err
	}
	line, _, ok := strings.Cut(string(head[:n]), "\n")
	other, ours := strings.CutPrefix(line, title)
	switch sum := headSize - 4; {
	case ok && ours && other != version:
		return mark, fmt.Errorf("has version %.20q, and this sipvigil reads %s: run the sipvigil that wrote it, or move it away to start without the calls in it", other, version)
	case !ok || !ours || n < headSize || crc32.Checksum(head[:sum], castagnoli) != binary.LittleEndian.Uint32(head[sum:]):
		return mark, errNoJournal
	}
	copy(mark[:], head[headSize-4-markSize:])
	return mark, nil
}

// seal fills in the first bytes of a frame that is to begin at a place.
func seal(frame []byte, mark [markSize]byte, at int64) {
	copy(frame, mark[:])
	binary.LittleEndian.PutUint32(frame[markSize:], uint32(len(frame)-frameHead))
	binary.LittleEndian.PutUint32(frame[markSize+4:], checksum(frame[frameHead:], at))
}

func checksum(payload []byte, at int64) uint32 {
	var place [8]byte
	binary.LittleEndian.PutUint64(place[:], uint64(at))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, payload)
}

// span is a part of a file.
type span struct{ from, to int64 }

// readFrames yields the payload of each frame behind the head, and goes on
// after what is damaged: frames speak for themselves. It returns where the last
// one ends, what is damaged before that, and where the file ends. What is
// behind the last frame is one that was being written when the process ended.
// A payload is good until the next.
func readFrames(r io.Reader, mark [markSize]byte, yield func(payload []byte) error) (end int64, damaged []span, size int64, err error) {
	in := bufio.NewReaderSize(r, frameHead+frameMost)
	at := int64(headSize)
	end = at
	for {
		frame, err := peekFrame(in, mark, at)
		if err != nil {
			return end, damaged, at, err
		}
		if frame == nil {
			n, err := skip(in, mark)
			if n == 0 || err != nil {
				return end, damaged, at, err
			}
			at += int64(n)
			continue
		}
		if at > end {
			damaged = append(damaged, span{end, at})
		}
		if err := yield(frame[frameHead:]); err != nil {
			return end, damaged, at, fmt.Errorf("frame at byte %d: %w", at, err)
		}
		_, _ = in.Discard(len(frame)) // it is in the buffer
		at += int64(len(frame))
		end = at
	}
}

// peekFrame returns the frame that comes next, nil if there is none.
func peekFrame(in *bufio.Reader, mark [markSize]byte, at int64) ([]byte, error) {
	head, err := in.Peek(frameHead)
	if err != nil || !bytes.HasPrefix(head, mark[:]) {
		return nil, notEOF(err)
	}
	size := binary.LittleEndian.Uint32(head[markSize:])
	sum := binary.LittleEndian.Uint32(head[markSize+4:])
	if size > frameMost {
		return nil, nil
	}
	frame, err := in.Peek(frameHead + int(size))
	if err != nil || checksum(frame[frameHead:], at) != sum {
		return nil, notEOF(err)
	}
	return frame, nil
}

// skip goes to the next mark, or to the end, and returns how far that was.
func skip(in *bufio.Reader, mark [markSize]byte) (int, error) {
	buf, err := in.Peek(frameHead + frameMost)
	if notEOF(err) != nil || len(buf) == 0 {
		return 0, notEOF(err)
	}
	n := len(buf)
	if i := bytes.Index(buf[1:], mark[:]); i >= 0 {
		n = i + 1
	} else if err == nil {
		n -= markSize - 1 // a mark may have begun
	}
	return in.Discard(n)
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// writer writes frames.
type writer struct {
	disk *disk
	file *os.File
	mark [markSize]byte
	at   int64 // where the next frame begins
	meta []byte

	frame []byte // the one that is being filled
	body  codec  // of the entry that is being written, kept for its memory
}

// begin starts a frame.
func (w *writer) begin() {
	w.frame = append(append(w.frame[:0], make([]byte, frameHead)...), w.meta...)
}

// add adds an entry to the frame, and says whether it can be read back.
func (w *writer) add(e *entry) bool {
	w.body.out = w.body.out[:0]
	w.body.entry(e)
	if len(w.body.out) > frameMost-frameFull-1024 {
		return false
	}
	w.frame = binary.AppendUvarint(w.frame, uint64(len(w.body.out)))
	w.frame = append(w.frame, w.body.out...)
	return true
}

func (w *writer) full() bool { return len(w.frame) > frameFull }

// flush writes the frame and begins the next one.
func (w *writer) flush() error {
	seal(w.frame, w.mark, w.at)
	if _, err := w.disk.write(w.file, w.frame, w.at); err != nil {
		return err
	}
	w.at += int64(len(w.frame))
	w.begin()
	return nil
}
