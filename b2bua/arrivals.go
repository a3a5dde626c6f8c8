package b2bua

import (
	"math"
	"sync"
)

// arrivals runs what arrives for one Call-ID in order, and for different ones
// side by side.
type arrivals struct {
	work     *tasks
	panicked func(any)

	mu      sync.Mutex // guards waiting
	waiting map[string]*queue
}

// queue is what of one Call-ID is being served, and what waits behind it.
type queue struct {
	of      *arrivals
	callID  string
	next    func() // the first to be run
	waiting []func()
	passed  bool // others go on with what waits
}

// maxWaiting is how many messages of one Call-ID may wait; more are lost, as
// in a full socket.
const maxWaiting = 1000

// offer gives f its place after what came before, and is false when too much
// waits. The queue that it returns, if any, is to be run by whoever has the time:
// f, and what comes after it meanwhile.
func (a *arrivals) offer(callID string, f func()) (q *queue, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.place(callID, f, maxWaiting)
}

// add runs f after what came before.
func (a *arrivals) add(callID string, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q, _ := a.place(callID, f, math.MaxInt); q != nil {
		a.work.Go(q.run)
	}
}

// place is offer where so much may wait; called locked.
func (a *arrivals) place(callID string, f func(), most int) (q *queue, ok bool) {
	if q := a.waiting[callID]; q != nil {
		if len(q.waiting) >= most {
			return nil, false
		}
		q.waiting = append(q.waiting, f)
		return nil, true
	}
	if a.waiting == nil {
		a.waiting = make(map[string]*queue)
	}
	q = &queue{of: a, callID: callID, next: f}
	a.waiting[callID] = q
	return q, true
}

// pass has what waits go on although what is being served goes on too: it has
// its place in a line where the order is kept. It is called by what is being
// served.
func (a *arrivals) pass(callID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.waiting[callID]
	if q == nil {
		return
	}
	q.passed = true
	if len(q.waiting) == 0 {
		delete(a.waiting, callID)
		return
	}
	rest := &queue{of: a, callID: callID, next: q.waiting[0], waiting: q.waiting[1:]}
	a.waiting[callID] = rest
	a.work.Go(rest.run)
}

// run ends when nothing waits any more, or others go on with it.
func (q *queue) run() {
	a, f := q.of, q.next
	for {
		guarded(f, a.panicked)
		a.mu.Lock()
		if q.passed {
			a.mu.Unlock()
			return
		}
		if len(q.waiting) == 0 {
			delete(a.waiting, q.callID)
			a.mu.Unlock()
			return
		}
		f, q.waiting = q.waiting[0], q.waiting[1:]
		a.mu.Unlock()
	}
}
