package locate

import (
	"context"
	"errors"
	"time"
)

// How long answers are kept.
const (
	maxNames    = 4096             // answers in memory
	maxTTL      = 24 * time.Hour   // RFC 8767 section 4 has large values capped
	failureTTL  = 5 * time.Second  // RFC 2308 section 7: a server that fails is not asked at once again
	negativeTTL = 10 * time.Second // of "there is none" without a time of its own
	maxNegative = 5 * time.Minute
	maxStale    = 24 * time.Hour   // an answer that cannot be had anew is used so much longer
	staleTTL    = 30 * time.Second // RFC 8767 section 5: and asked for again after this
	hostsTTL    = 10 * time.Second // of what the hosts file says
)

// errUnknown: the answer is not in memory.
var errUnknown = errors.New("not known yet")

// question is a name, in lower case and without a dot at its end, and a type of
// record.
type question struct {
	name  string
	qtype uint16
}

// record is what was answered: records, none, or that there was no answer.
type record struct {
	answer
	until time.Time // it need not be asked again before
	fresh time.Time // it is as its server wanted before
}

// flight is a question that is being asked.
type flight struct {
	done chan struct{} // closed when what follows is set
	rrs  []rr
	err  error
	cut  bool // who asked had no time left: that says nothing of the servers
}

// recall is lookup that does not ask.
func (r *Resolver) recall(q question) ([]rr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[q]; k != nil && time.Now().Before(k.until) {
		return k.rrs, k.err
	}
	return nil, errUnknown
}

// lookup returns the records of a question from memory, or asks for them. Who
// wants the same meanwhile waits for the same answer.
func (r *Resolver) lookup(ctx context.Context, q question) ([]rr, error) {
	r.mu.Lock()
	old := r.known[q]
	if old != nil && time.Now().Before(old.until) {
		r.mu.Unlock()
		return old.rrs, old.err
	}
	f, shared := r.flights[q]
	if !shared {
		f = &flight{done: make(chan struct{}), err: errors.New("the look-up broke")}
		r.flights[q] = f
	}
	r.mu.Unlock()
	if !shared {
		r.fly(ctx, q, f, old)
	}
	select {
	case <-f.done:
		if f.cut && shared {
			return r.lookup(ctx, q)
		}
		return f.rrs, f.err
	case <-ctx.Done():
		return nil, errSilent
	}
}

// fly asks, and notes the answer.
func (r *Resolver) fly(ctx context.Context, q question, f *flight, old *record) {
	defer func() { // also when what came broke its reader
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.flights, q)
		close(f.done)
	}()
	a := r.ask(ctx, q)
	now := time.Now()
	k := &record{answer: a, until: now.Add(a.ttl), fresh: now.Add(a.ttl)}
	if a.err != nil && old != nil && old.err == nil && now.Sub(old.fresh) < maxStale {
		k = &record{answer: old.answer, until: now.Add(staleTTL), fresh: old.fresh}
	}
	f.rrs, f.err, f.cut = k.rrs, k.err, k.err != nil && ctx.Err() != nil
	if !f.cut {
		r.note(q, k)
	}
}

// note keeps an answer. When there is no room it goes in the place of one that
// is over, else of any.
func (r *Resolver) note(q question, k *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[q] == nil && len(r.known) >= maxNames {
		now, n := time.Now(), 0
		var drop question
		for other, o := range r.known { // in no order
			if drop = other; now.After(o.until) || n == 32 {
				break
			}
			n++
		}
		delete(r.known, drop)
	}
	r.known[q] = k
}
