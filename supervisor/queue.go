package supervisor

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// queue holds legs by when their turn is, as a timing wheel does: those whose
// turn comes later stand in slots, in no order, and only those of the slot that
// is being served are sorted. So what it costs to give a leg its turn does not
// grow with the number of legs.
type queue struct {
	width   time.Duration    // of a slot
	near    []item           // those of the slot that is being served, the next one last; none of them is in later
	serving int64            // the number of that slot: when it begins, in widths
	later   map[int64][]item // by the number of their slot
	spare   [][]item
	count   int
	fetched int // of what is only fetched, see advance
}

type item struct {
	due time.Duration // since the supervisor was made
	leg *leg
}

// newQueue has slots of which an interval has this many, so that a slot holds few
// of all legs.
func newQueue(interval time.Duration) queue {
	const slots = 256
	return queue{width: max(interval/slots, time.Millisecond), later: make(map[int64][]item)}
}

// set gives a leg its turn, whether it had one or not.
func (q *queue) set(l *leg, due time.Duration) {
	q.remove(l)
	q.count++
	l.due, l.queued = due, true
	number := int64(due / q.width)
	switch {
	case len(q.near) == 0 || number > q.serving:
	case number == q.serving:
		q.near = slices.Insert(q.near, q.from(due), item{due, l})
		return
	default: // its slot comes first
		q.later[q.serving], q.near = q.near, nil
	}
	slot, ok := q.later[number]
	if last := len(q.spare) - 1; !ok && last >= 0 {
		slot, q.spare = q.spare[last], q.spare[:last]
	}
	l.slot = int32(len(slot))
	q.later[number] = append(slot, item{due, l})
}

// from is where those in near begin whose turn is then, or before.
func (q *queue) from(due time.Duration) int {
	at, _ := slices.BinarySearchFunc(q.near, due, func(i item, due time.Duration) int { return cmp.Compare(due, i.due) })
	return at
}

// remove takes a leg out.
func (q *queue) remove(l *leg) {
	if !l.queued {
		return
	}
	q.count--
	l.queued = false
	number := int64(l.due / q.width)
	if number == q.serving && len(q.near) > 0 {
		at := len(q.near) - 1 // mostly
		if q.near[at].leg != l {
			at = find(q.near, l, q.from(l.due))
		}
		q.near = slices.Delete(q.near, at, at+1)
		return
	}
	slot := q.later[number]
	at, last := int(l.slot), len(slot)-1
	if at > last || slot[at].leg != l { // it took the place of another
		at = find(slot, l, 0)
	}
	slot[at], slot[last] = slot[last], item{}
	if q.later[number] = slot[:last]; last == 0 {
		delete(q.later, number)
		q.keep(slot)
	}
}

// find is where a leg stands in a list, at from or behind it.
func find(list []item, l *leg, from int) int {
	return from + slices.IndexFunc(list[from:], func(i item) bool { return i.leg == l })
}

// keep has the room of a slot used again.
func (q *queue) keep(slot []item) {
	const most = 16
	if len(q.spare) < most {
		q.spare = append(q.spare, slot[:0])
	}
}

// first is the leg whose turn is next, nil when there is none.
func (q *queue) first() (time.Duration, *leg) {
	if len(q.near) == 0 && len(q.later) > 0 {
		q.advance()
	}
	if len(q.near) == 0 {
		return 0, nil
	}
	next := q.near[len(q.near)-1]
	return next.due, next.leg
}

// advance has the next slot served, and reads what its legs will be looked at for:
// memory gives much at once in hardly more time than one thing after the other
// takes for each.
func (q *queue) advance() {
	q.serving = math.MaxInt64
	for number := range q.later {
		q.serving = min(q.serving, number)
	}
	q.keep(q.near)
	q.near = q.later[q.serving]
	delete(q.later, q.serving)
	for _, i := range q.near {
		q.fetched += int(i.leg.asked) + int(i.leg.place) + int(i.leg.call.answered)
	}
	slices.SortFunc(q.near, func(a, b item) int { return cmp.Compare(b.due, a.due) })
}

// Len is how many legs have a turn.
func (q *queue) Len() int { return q.count }
