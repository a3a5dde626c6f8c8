package embedded

import (
	"io"
	"os"
	"time"
)

// MostOver is how many finished calls are kept.
const MostOver = mostOver

// Held is how many calls the store holds, finished ones included.
func (s *Store) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active) + max(len(s.over), len(s.expiry))
}

// Commit does at once what Run does soon.
func (s *Store) Commit() bool { return s.commit() }

// Rewrite lets the next Commit write the journal anew.
func (s *Store) Rewrite() { s.journal.abandon() }

// Disk lets the journal write and sync by other functions. It is to be called
// before Run.
func (s *Store) Disk(write func(f *os.File, b []byte, at int64) (int, error), sync func(*os.File) error) {
	s.journal.disk = disk{write, sync}
}

// SyncData is how a journal is synced.
var SyncData = syncData

// Replay reads a journal as Open does, and says what it found: where its last
// frame ends and how many parts before that are damaged.
func Replay(r io.Reader) (s *Store, end int64, damaged int, err error) {
	s = New()
	mark, err := readHead(r)
	if err != nil {
		return s, 0, 0, err
	}
	end, spans, _, err := readFrames(r, mark, func(payload []byte) error { return s.replay(payload, time.Now()) })
	return s, end, len(spans), err
}

// Journal is a journal of one frame.
func Journal(payload []byte) []byte {
	head, mark := newHead()
	frame := append(make([]byte, frameHead), payload...)
	seal(frame, mark, int64(len(head)))
	return append(head, frame...)
}
