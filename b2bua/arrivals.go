package b2bua

import "sync"

// arrivals runs what arrives for one Call-ID in order, and for different ones
// side by side.
type arrivals struct {
	work     *tasks
	panicked func(any)

	mu      sync.Mutex // guards waiting
	waiting map[string][]func()
}

// maxWaiting is how many messages of one Call-ID may wait; more are lost, as
// in a full socket.
const maxWaiting = 1000

// offer runs f after what came before, unless too much waits.
func (a *arrivals) offer(callID string, f func()) {
	a.mu.Lock()
	full := len(a.waiting[callID]) >= maxWaiting
	a.mu.Unlock()
	if !full {
		a.add(callID, f)
	}
}

// add runs f after what came before.
func (a *arrivals) add(callID string, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if queue, running := a.waiting[callID]; running {
		a.waiting[callID] = append(queue, f)
		return
	}
	if a.waiting == nil {
		a.waiting = make(map[string][]func())
	}
	a.waiting[callID] = nil
	a.work.Go(func() { a.run(callID, f) })
}

// run ends when nothing waits any more.
func (a *arrivals) run(callID string, f func()) {
	for {
		guarded(f, a.panicked)
		a.mu.Lock()
		queue := a.waiting[callID]
		if len(queue) == 0 {
			delete(a.waiting, callID)
			a.mu.Unlock()
			return
		}
		f = queue[0]
		a.waiting[callID] = queue[1:]
		a.mu.Unlock()
	}
}
