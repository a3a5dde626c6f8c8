package locate

import (
	"context"
	"sync"
	"time"

	"sipvigil/b2bua/dialog"
)

// FindUntil is Find, and says when the first of the answers that it rests on
// has to be had anew: never, a zero time, when the DNS was not asked. An answer
// that there was no time for is one of them.
func (r *Resolver) FindUntil(ctx context.Context, u dialog.URI, sockets []Socket) (hops []Hop, until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	var mu sync.Mutex // guards until
	hops, err = r.find(u, sockets, func(q question) ([]rr, error) {
		rrs, err := r.lookup(ctx, q)
		k, now := r.expiry(q), time.Now()
		if err != nil && k.Before(now) { // it was not remembered
			k = now.Add(failureTTL)
		}
		if !k.IsZero() {
			mu.Lock()
			defer mu.Unlock()
			if until.IsZero() || k.Before(until) {
				until = k
			}
		}
		return rrs, err
	})
	return hops, until, err
}

// expiry is until when the answer to a question is remembered.
func (r *Resolver) expiry(q question) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[q]; k != nil {
		return k.until
	}
	return time.Time{}
}
