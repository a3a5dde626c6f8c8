package redis

import (
	"context"
	_ "embed" // the script
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
	cdrMark    = 24 * time.Hour // Redis remembers so long what it has of a process
)

// records are the CDRs that Redis lacks. Its owner guards it.
type records struct {
	lines [][]byte
	first int64 // number of the first of them; each one of this process has its own
	lost  int   // since Redis was last there
}

func (r *records) add(line []byte) {
	if len(r.lines) == cdrPending {
		r.dropBefore(r.first + 1)
		r.lost++
	}
	r.lines = append(r.lines, line)
}

// dropBefore takes out those whose number is lower.
func (r *records) dropBefore(number int64) {
	r.lines = r.lines[max(0, number-r.first):]
	r.first = max(number, r.first)
	if len(r.lines) == 0 {
		r.lines = nil
	}
}

// Record queues a call detail record for the stream of all nodes, field "cdr".
// It is there once, although a write whose answer was lost is repeated.
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

//go:embed script/record.lua
var recordSource string

// addRecords adds to a pipeline what is queued. When the pipeline was executed,
// written takes out of the queue what Redis has now.
func (s *Store) addRecords(ctx context.Context, pipe goredis.Pipeliner) (written func() error) {
	s.mu.Lock()
	first := s.records.first
	lines := s.records.lines[:min(len(s.records.lines), cdrBatch)]
	args := []any{first, cdrLength, cdrMark.Milliseconds()}
	for _, line := range lines {
		args = append(args, line)
	}
	s.mu.Unlock()
	if len(lines) == 0 {
		return func() error { return nil }
	}
	// With its text a script runs on a server that has just come, too.
	reply := pipe.Eval(ctx, recordSource, []string{s.keys.cdr(), s.keys.recorded(s.process)}, args...)
	return func() error {
		if err := reply.Err(); err != nil {
			return err
		}
		s.recorded(first + int64(len(lines)))
		return nil
	}
}

// recorded takes what Redis has out of the queue: all before a number.
func (s *Store) recorded(number int64) {
	s.mu.Lock()
	s.records.dropBefore(number)
	lost := s.records.lost
	s.records.lost = 0
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
