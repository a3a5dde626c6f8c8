package b2bua

import "sync"

// arrivals runs what arrives for one Call-ID in order, and for different ones
// side by side.
type arrivals struct {
	work     *tasks
	panicked func(any)

	mu      sync.Mutex // guards waiting
	waiting map[string]*queue
}

// queue is what of one Call-ID waits behind what is being served.
type queue struct{ waiting []func() }

// maxWaiting is how many messages of one Call-ID may wait; more are lost, as
// in a full socket.
const maxWaiting = 1000

// offer runs f after what came before, unless too much waits.
func (a *arrivals) offer(callID string, f func()) {
	a.mu.Lock()
	q := a.waiting[callID]
	full := q != nil && len(q.waiting) >= maxWaiting
	a.mu.Unlock()
	if !full {
		a.add(callID, f)
	}
}

// add runs f after what came before.
func (a *arrivals) add(callID string, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q := a.waiting[callID]; q != nil {
		q.waiting = append(q.waiting, f)
		return
	}
	if a.waiting == nil {
		a.waiting = make(map[string]*queue)
	}
	q := &queue{}
	a.waiting[callID] = q
	a.work.Go(func() { a.run(callID, q, f) })
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
	if len(q.waiting) == 0 {
		delete(a.waiting, callID)
		return
	}
	rest := &queue{q.waiting[1:]}
	a.waiting[callID] = rest
	a.work.Go(func() { a.run(callID, rest, q.waiting[0]) })
}

// run ends when nothing waits any more, or others go on with it.
func (a *arrivals) run(callID string, q *queue, f func()) {
	for {
		guarded(f, a.panicked)
		a.mu.Lock()
		if a.waiting[callID] != q {
			a.mu.Unlock()
			return
		}
		if len(q.waiting) == 0 {
			delete(a.waiting, callID)
			a.mu.Unlock()
			return
		}
		f, q.waiting = q.waiting[0], q.waiting[1:]
		a.mu.Unlock()
	}
}
