package ua

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Received is one message that came in.
type Received struct {
	// Method is the request's method, or for a provisional response INVITE.
	Method string
	CSeq   uint32
	// Message is what came; Message.Headers and Message.Raw for details.
	Message *Message
	At      time.Time
	// Retransmission marks a message that repeats an earlier one.
	Retransmission bool
}

// Method matches the first transmission of a request with this method.
func Method(method string) func(Received) bool {
	return func(r Received) bool {
		return r.Message.IsRequest() && !r.Retransmission && strings.EqualFold(r.Method, method)
	}
}

// Status matches a response with this status.
func Status(status int) func(Received) bool {
	return func(r Received) bool { return r.Message.Status == status }
}

// journal keeps the last messages in the order in which they came.
type journal struct {
	keep int

	mu      sync.Mutex
	entries []Received
	dropped int           // entries that were there before entries[0]
	cursor  int           // what next has handed out, counted from the first entry ever
	changed chan struct{} // closed and replaced when an entry is added; nil while nobody waits
}

func newReceived(m *Message, again bool) Received {
	number, method := m.CSeq()
	return Received{Method: method, CSeq: number, Message: m, At: time.Now(), Retransmission: again}
}

func (j *journal) add(r Received) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) >= j.keep {
		// Half of it goes at once, so that a long call pays for this rarely.
		half := (j.keep + 1) / 2
		j.entries = append([]Received(nil), j.entries[half:]...)
		j.dropped += half
	}
	j.entries = append(j.entries, r)
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

func (j *journal) all() []Received {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Received(nil), j.entries...)
}

// wait returns the first entry that matches, of those that are there or come.
func (j *journal) wait(ctx context.Context, over <-chan struct{}, match func(Received) bool) (Received, error) {
	r, _, err := j.waitFrom(ctx, over, 0, match)
	return r, err
}

// next is wait, but beyond the entry that it returned last.
func (j *journal) next(ctx context.Context, over <-chan struct{}, match func(Received) bool) (Received, error) {
	j.mu.Lock()
	from := j.cursor
	j.mu.Unlock()
	r, at, err := j.waitFrom(ctx, over, from, match)
	if err == nil {
		j.mu.Lock()
		j.cursor = at + 1
		j.mu.Unlock()
	}
	return r, err
}

// waitFrom looks at entries with this index (counted from the first ever) and
// above. After over it looks once more and gives up.
func (j *journal) waitFrom(ctx context.Context, over <-chan struct{}, from int, match func(Received) bool) (Received, int, error) {
	last := false
	for {
		fresh, first, changed := j.since(from)
		for i, r := range fresh {
			if match(r) {
				return r, first + i, nil
			}
		}
		if last {
			return Received{}, 0, ErrClosed
		}
		from = first + len(fresh)
		select {
		case <-changed:
		case <-over:
			last = true
		case <-ctx.Done():
			return Received{}, 0, context.Cause(ctx)
		}
	}
}

// since is the entries from an index on, the index of the first of them, and
// a channel that is closed when another comes.
func (j *journal) since(from int) ([]Received, int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	first := max(from, j.dropped)
	return j.entries[min(first-j.dropped, len(j.entries)):len(j.entries):len(j.entries)], first, j.changed
}
