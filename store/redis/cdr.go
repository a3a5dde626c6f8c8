package redis

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"sipvigil/store"
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

// writeRecords appends to the stream what is queued still: what came in with
// changes went out with them.
func (s *Store) writeRecords(ctx context.Context) error {
	for {
		pipe := s.client.Pipeline()
		written := s.addRecords(ctx, pipe)
		if pipe.Len() == 0 {
			return nil
		}
		_ = s.limited(ctx, func(ctx context.Context) error {
			_, err := pipe.Exec(ctx)
			return err
		})
		if err := written(); err != nil {
			return err
		}
	}
}

// addRecords adds to a pipeline what is queued. When the pipeline was executed,
// written takes out of the queue what Redis has now.
func (s *Store) addRecords(ctx context.Context, pipe goredis.Pipeliner) (written func() error) {
	s.mu.Lock()
	n := min(len(s.records.lines), cdrBatch)
	lines, lost := s.records.lines[:n:n], s.records.lost
	s.mu.Unlock()
	replies := make([]*goredis.StringCmd, n)
	for i, line := range lines {
		replies[i] = pipe.XAdd(ctx, &goredis.XAddArgs{Stream: s.keys.cdr(), MaxLen: cdrLength, Approx: true, Values: []any{"cdr", line}})
	}
	return func() error {
		for _, reply := range replies {
			if err := reply.Err(); err != nil {
				return err
			}
		}
		s.recorded(n, lost)
		return nil
	}
}

// recorded takes the first n lines out of the queue, which Redis has. Before they
// were sent so many had been lost.
func (s *Store) recorded(n, lost int) {
	if n == 0 {
		return
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

// Records returns up to n call detail records of all nodes that were written
// before the one at a place, the newest first; without a place it begins with
// the newest of all. Its error wraps store.ErrUnavailable.
func (s *Store) Records(ctx context.Context, before string, n int) ([]store.Record, error) {
	from := "+"
	if before != "" {
		if !placePattern.MatchString(before) {
			return nil, fmt.Errorf("%q is no place in the stream of records: %w", before, store.ErrNotFound)
		}
		from = "(" + before
	}
	entries, err := s.client.XRevRangeN(ctx, s.keys.cdr(), from, "-", int64(n)).Result()
	if err != nil {
		return nil, s.unavailable("read call detail records", err)
	}
	list := make([]store.Record, 0, len(entries))
	for _, e := range entries {
		line, _ := e.Values["cdr"].(string) // an entry without it is not ours; its place still counts
		list = append(list, store.Record{Place: e.ID, Line: []byte(line), Written: writtenAt(e.ID)})
	}
	return list, nil
}

// writtenAt is when an entry of this id was added, by the clock of its server.
func writtenAt(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	ms, _ := strconv.ParseInt(text, 10, 64) // one that is too large is in the future
	return time.UnixMilli(ms)
}

// placePattern is the form of a stream's entry ids.
var placePattern = regexp.MustCompile(`^[0-9]{1,20}-[0-9]{1,20}$`)
