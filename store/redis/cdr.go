package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	cdrLength  = 100_000 // of the stream, about
	cdrPending = 50_000  // records that wait for Redis; the oldest go first
	cdrBatch   = 1024
)

// records are the CDRs that Redis lacks. Its owner guards it.
type records struct {
	lines [][]byte
	lost  int // since Redis was last there
}

func (r *records) add(line []byte) {
	if len(r.lines) == cdrPending {
		r.lines = r.lines[1:]
		r.lost++
	}
	r.lines = append(r.lines, line)
}

// Record queues a call detail record for the stream of all nodes, field "cdr".
// It is there at least once: a write whose answer was lost is repeated.
func (s *Store) Record(cdr []byte) {
	s.mu.Lock()
	s.records.add(cdr)
	s.mu.Unlock()
	s.poke()
}

// unwritten says whether Redis lacks anything.
func (s *Store) unwritten() bool {
	if s.Status().Pending > 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records.lines) > 0
}

// writeRecords appends what is queued to the stream.
func (s *Store) writeRecords(ctx context.Context) error {
	for {
		s.mu.Lock()
		n := min(len(s.records.lines), cdrBatch)
		lines, lost := s.records.lines[:n:n], s.records.lost
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := s.appendRecords(ctx, lines); err != nil {
			return err
		}
		s.mu.Lock()
		// What was lost meanwhile was at the front, too.
		s.records.lines = s.records.lines[max(0, n-(s.records.lost-lost)):]
		lost, s.records.lost = s.records.lost, 0
		if len(s.records.lines) == 0 {
			s.records.lines = nil
		}
		s.mu.Unlock()
		if lost > 0 {
			s.log.Error("call detail records were lost while the store was away: take them from the file of cdr.file, if there is one",
				zap.Int("records", lost))
		}
	}
}

func (s *Store) appendRecords(ctx context.Context, lines [][]byte) error {
	pipe := s.client.Pipeline()
	for _, line := range lines {
		pipe.XAdd(ctx, &goredis.XAddArgs{Stream: s.keys.cdr(), MaxLen: cdrLength, Approx: true, Values: []any{"cdr", line}})
	}
	return s.limited(ctx, func(ctx context.Context) error {
		_, err := pipe.Exec(ctx)
		return err
	})
}
