package daemon

import (
	"sync"
	"time"
)

// longestTry is how long it may take at most from the end of one renewal to the
// end of the next while this process runs.
const longestTry = 2*renewEvery + regainTime

// recollect returns once it is known which calls are still this node's. As a rule
// that is at once. But a process that stood still until its lease was over, as in
// a machine that was paused, finds in its sockets what came meanwhile: that is
// served when the lease is back, and what others have adopted has been dropped.
// Who would pass it on before would use numbers that are too low by then. For a
// store that cannot be reached nothing waits longer than a renewal may take.
func (m *member) recollect() {
	if m.collected() {
		return
	}
	limit := time.NewTimer(renewEvery)
	defer limit.Stop()
	for {
		tried := m.tries.next()
		if m.collected() {
			return
		}
		select {
		case m.hurry <- struct{}{}:
		default:
		}
		select {
		case <-tried:
		case <-limit.C:
			m.unreached()
			return
		}
	}
}

// collected says whether the lease stands, or nothing can be learned of it now.
func (m *member) collected() bool {
	l, now := m.lease.Load(), time.Now()
	if l.at.IsZero() || l.stands(now) {
		return true
	}
	at := m.beyond.Load()
	return at != nil && now.Sub(*at) < longestTry
}

// unreached notes that the store was found to be out of reach just now.
func (m *member) unreached() {
	now := time.Now()
	m.beyond.Store(&now)
}

// tries tells those who wait for it that a renewal has ended.
type tries struct {
	mu    sync.Mutex
	ended chan struct{} // closed then; nil while nobody waits
}

func (t *tries) next() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended == nil {
		t.ended = make(chan struct{})
	}
	return t.ended
}

func (t *tries) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}
