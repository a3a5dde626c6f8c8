package supervisor

import (
	"math"
	"time"
)

// queue holds legs by when their turn is, as a timing wheel does: those whose
// turn comes later stand in slots, in no order, and only those of the slot that
// is being served are sorted. So what it costs to give a leg its turn does not
// grow with the number of legs. A leg knows its place, so that it can be moved
// and taken out.
type queue struct {
	width time.Duration    // of a slot
	near  near             // those whose turn is before the end of the slot that is being served
	until time.Duration    // that end
	later map[int64][]item // by the number of the slot: when it begins, in widths
	spare [][]item
	count int
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
	if l.place != 0 && l.near && due < q.until {
		q.near[l.place-1].due = due
		q.near.fix(int(l.place - 1))
		return
	}
	q.remove(l)
	q.count++
	if l.near = due < q.until; l.near {
		q.near = append(q.near, item{due, l})
		l.place = int32(len(q.near))
		q.near.fix(len(q.near) - 1)
		return
	}
	number := int64(due / q.width)
	slot, ok := q.later[number]
	if last := len(q.spare) - 1; !ok && last >= 0 {
		slot, q.spare = q.spare[last], q.spare[:last]
	}
	slot = append(slot, item{due, l})
	q.later[number] = slot
	l.slot, l.place = int32(number), int32(len(slot))
}

// slotOf is the number of the slot of a leg, which keeps only the low half.
func (q *queue) slotOf(l *leg) int64 {
	serving := int64(q.until / q.width)
	return serving + int64(l.slot-int32(serving))
}

// due is when the turn of a leg is that has one.
func (q *queue) due(l *leg) time.Duration {
	if l.near {
		return q.near[l.place-1].due
	}
	return q.later[q.slotOf(l)][l.place-1].due
}

// remove takes a leg out.
func (q *queue) remove(l *leg) {
	if l.place == 0 {
		return
	}
	q.count--
	at := int(l.place - 1)
	l.place = 0
	if l.near {
		if q.near = take(q.near, at); at < len(q.near) {
			q.near.fix(at)
		}
		return
	}
	number := q.slotOf(l)
	slot := take(q.later[number], at)
	if q.later[number] = slot; len(slot) == 0 {
		delete(q.later, number)
		q.keep(slot)
	}
}

// take takes one out of a list. The last takes its place.
func take(list []item, at int) []item {
	last := len(list) - 1
	if at < last {
		list[at] = list[last]
		list[at].leg.place = int32(at + 1)
	}
	list[last] = item{}
	return list[:last]
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
	return q.near[0].due, q.near[0].leg
}

// advance has the next slot served.
func (q *queue) advance() {
	next := int64(math.MaxInt64)
	for number := range q.later {
		next = min(next, number)
	}
	q.keep(q.near)
	q.near = q.later[next]
	delete(q.later, next)
	q.until = time.Duration(next+1) * q.width
	for i := range q.near {
		l := q.near[i].leg
		l.near, l.place = true, int32(i+1)
	}
	for i := len(q.near)/2 - 1; i >= 0; i-- {
		q.near.down(i)
	}
}

// Len is how many legs there are.
func (q *queue) Len() int { return q.count }

// near is a heap, the earliest first.
type near []item

// fix gives what is at i its place.
func (n near) fix(i int) {
	for i > 0 && n[i].due < n[(i-1)/2].due {
		n.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	n.down(i)
}

// down gives what is at i its place if that is not further up.
func (n near) down(i int) {
	for {
		first := 2*i + 1
		if first+1 < len(n) && n[first+1].due < n[first].due {
			first++
		}
		if first >= len(n) || n[i].due <= n[first].due {
			return
		}
		n.swap(i, first)
		i = first
	}
}

func (n near) swap(i, j int) {
	n[i], n[j] = n[j], n[i]
	n[i].leg.place, n[j].leg.place = int32(i+1), int32(j+1)
}
