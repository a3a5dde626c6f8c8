package daemon

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"sipvigil/store"
)

// recentCDRs is how many call detail records are kept without Redis.
const recentCDRs = 10_000

// recent keeps the last call detail records of a node that has a store of its
// own. Its places are their numbers, from 1.
type recent struct {
	mu    sync.Mutex
	lines [recentCDRs][]byte // by number, modulo
	last  uint64
}

// record takes one line and returns at once.
func (r *recent) record(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.lines[r.last%recentCDRs] = line
}

// Records is that of the Redis store.
func (r *recent) Records(_ context.Context, before string, n int) ([]store.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number := r.last + 1
	if before != "" {
		var err error
		if number, err = strconv.ParseUint(before, 10, 64); err != nil || number > r.last {
			return nil, fmt.Errorf("%q is no place among the records: %w", before, store.ErrNotFound)
		}
	}
	var list []store.Record
	for len(list) < n && number > 1 {
		if number--; number+recentCDRs <= r.last {
			break
		}
		list = append(list, store.Record{Place: strconv.FormatUint(number, 10), Line: r.lines[number%recentCDRs]})
	}
	return list, nil
}
