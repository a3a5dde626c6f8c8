package supervisor

import (
	"container/heap"
	"time"
)

// queue holds legs by when their turn is, the earliest first. A leg knows its
// place, so that it can be moved and taken out.
type queue struct{ items []item }

type item struct {
	due time.Duration // since the supervisor was made
	leg *leg
}

// set gives a leg its turn, whether it had one or not.
func (q *queue) set(l *leg, due time.Duration) {
	if l.place == 0 {
		heap.Push(q, item{due, l})
		return
	}
	q.items[l.place-1].due = due
	heap.Fix(q, int(l.place-1))
}

// remove takes a leg out.
func (q *queue) remove(l *leg) {
	if l.place != 0 {
		heap.Remove(q, int(l.place-1))
	}
}

// first is the leg whose turn is next, nil when there is none.
func (q *queue) first() (time.Duration, *leg) {
	if len(q.items) == 0 {
		return 0, nil
	}
	return q.items[0].due, q.items[0].leg
}

// Len, Less, Swap, Push and Pop are those of heap.Interface.

func (q *queue) Len() int           { return len(q.items) }
func (q *queue) Less(i, j int) bool { return q.items[i].due < q.items[j].due }

func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].leg.place, q.items[j].leg.place = int32(i+1), int32(j+1)
}

func (q *queue) Push(x any) {
	it := x.(item)
	q.items = append(q.items, it)
	it.leg.place = int32(len(q.items))
}

func (q *queue) Pop() any {
	last := len(q.items) - 1
	it := q.items[last]
	q.items[last] = item{}
	q.items = q.items[:last]
	it.leg.place = 0
	return it
}
