package redis

import (
	"slices"
	"time"

	"sipvigil/store"
)

// A change is what Redis still lacks of one call: its newest record, if that
// changed, the newest health of each leg, and the highest mark of each.
type change struct {
	id      string
	call    *store.Call // nil in a part; its marks and Health do not count
	final   bool        // call is the last record
	keep    time.Duration
	health  [2]*store.Health
	mark    [2]uint32
	covered []cover

	sum  uint64 // of call as it goes out: the hash of the lines of its text
	text bool   // it goes out with its text, which Redis did not have
}

// cover is who waits for a mark to be written.
type cover struct {
	mark uint32
	call func(mark uint32)
}

// recordOf is the change that writes a record. It shares nothing with the
// record that can change.
func recordOf(c store.Call) *change {
	r := &change{id: c.ID, call: &c}
	for i := range c.Legs {
		c.Legs[i].RouteSet = slices.Clone(c.Legs[i].RouteSet)
		r.mark[i] = c.Legs[i].LocalMark
	}
	return r
}

// then adds a later change of the same call.
func (c *change) then(later *change) {
	c.covered = append(c.covered, later.covered...)
	if c.final {
		return
	}
	if later.call != nil {
		c.call, c.final, c.keep = later.call, later.final, later.keep
	}
	for i := range c.health {
		if later.health[i] != nil {
			c.health[i] = later.health[i]
		}
		c.mark[i] = max(c.mark[i], later.mark[i])
	}
}

// kind is the word by which put.lua knows the change.
func (c *change) kind() string {
	switch {
	case c.final:
		return "final"
	case c.call != nil:
		return "record"
	default:
		return "part"
	}
}

// release tells those who wait for a mark.
func (c *change) release() {
	for _, w := range c.covered {
		w.call(w.mark)
	}
}

// queue holds the changes to write, at most one for a call, first come first
// written. Its owner guards it.
type queue struct {
	changes map[string]*change
	order   []*change // those in changes
	orphans map[string]orphan
	ended   int // calls, since trim has looked
}

// orphan is a part that waits for its call to be saved again.
type orphan struct {
	*change
	since time.Time
}

// orphanage is how long a part waits for its call.
const orphanage = time.Minute

// mostGone is how many calls wait to be written, about, that have come and gone
// since Redis was last written to. Each takes 2 KB, and their records would be read
// for a short while only.
const mostGone = 20_000

func newQueue() queue {
	return queue{changes: make(map[string]*change), orphans: make(map[string]orphan)}
}

func (q *queue) len() int { return len(q.changes) }

// add queues a change after all others of its call.
func (q *queue) add(c *change) {
	if o, ok := q.orphans[c.id]; ok {
		delete(q.orphans, c.id)
		o.then(c)
		c = o.change
	}
	if earlier := q.changes[c.id]; earlier != nil {
		earlier.then(c)
		return
	}
	q.changes[c.id] = c
	q.order = append(q.order, c)
}

// trim forgets the calls that went first, of those that began after a time and
// are over, if there are too many. Redis knows nothing of them if it was not
// written to since. It looks now and then only, when so many have ended.
func (q *queue) trim(since time.Time) {
	if q.ended++; q.ended < mostGone/10 {
		return
	}
	q.ended = 0
	var gone []*change
	for _, c := range q.order {
		if c.final && c.call.Started.After(since) {
			gone = append(gone, c)
		}
	}
	if len(gone) <= mostGone {
		return
	}
	slices.SortFunc(gone, func(a, b *change) int { return a.call.End.At.Compare(b.call.End.At) })
	for _, c := range gone[:len(gone)-mostGone] {
		delete(q.changes, c.id)
	}
	q.order = slices.DeleteFunc(q.order, func(c *change) bool { return q.changes[c.id] == nil })
}

// take takes up to n changes out of the queue, to be written now.
func (q *queue) take(n int) []*change {
	n = min(n, len(q.order))
	taken := q.order[:n:n]
	q.order = q.order[n:]
	if len(q.order) == 0 {
		q.order = nil
	}
	for _, c := range taken {
		delete(q.changes, c.id)
	}
	return taken
}

// putBack queues a change that could not be written, before what was queued for
// its call since.
func (q *queue) putBack(c *change) {
	if later := q.changes[c.id]; later != nil {
		c.then(later)
		*later = *c
		return
	}
	q.add(c)
}

// park keeps a part until something else of its call is queued. What waited in
// vain is forgotten, so that nothing piles up.
func (q *queue) park(c *change, now time.Time) {
	for id, o := range q.orphans {
		if now.Sub(o.since) > orphanage {
			delete(q.orphans, id)
		}
	}
	if q.changes[c.id] != nil {
		q.putBack(c)
		return
	}
	q.orphans[c.id] = orphan{c, now}
}
