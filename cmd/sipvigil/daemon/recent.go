package daemon

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// recentCDRs is how many call detail records are kept without Redis.
const recentCDRs = 10_000

// recent keeps the last call detail records of a node that has a store of its
// own. Its places are their numbers, from 1.
type recent struct {
	mu   sync.Mutex
	cdrs [recentCDRs]*supervisor.CDR // by number, modulo
	last uint64
}

// record takes one and returns at once.
func (r *recent) record(cdr *supervisor.CDR) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.cdrs[r.last%recentCDRs] = cdr
}

// Records is that of the Redis store.
func (r *recent) Records(_ context.Context, before string, n int) ([]store.Record, error) {
	cdrs, number, err := r.before(before, n)
	list := make([]store.Record, len(cdrs))
	for i, cdr := range cdrs {
		list[i] = store.Record{Place: strconv.FormatUint(number-uint64(i), 10), Line: cdr.Line()}
	}
	return list, err
}

// before returns up to n records before a place, the newest first, and the number
// of that one.
func (r *recent) before(place string, n int) (cdrs []*supervisor.CDR, newest uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number := r.last + 1
	if place != "" {
		if number, err = strconv.ParseUint(place, 10, 64); err != nil || number > r.last {
			return nil, 0, fmt.Errorf("%q is no place among the records: %w", place, store.ErrNotFound)
		}
	}
	newest = number - 1
	for len(cdrs) < n && number > 1 {
		if number--; number+recentCDRs <= r.last {
			break
		}
		cdrs = append(cdrs, r.cdrs[number%recentCDRs])
	}
	return cdrs, newest, nil
}
