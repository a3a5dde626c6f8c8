package supervisor

import (
	"slices"
	"sync"
	"time"

	"sipvigil/store"
)

// memory holds calls that ended a short while ago, at most so many.
type memory struct {
	keep time.Duration
	most int

	mu    sync.Mutex
	calls []*remembered // in the order in which they came
}

type remembered struct {
	call store.Packed
	was  *call // nil for one that was never told of
	at   time.Time
}

func (m *memory) add(c store.Call, was *call, now time.Time) {
	if m.most == 0 || m.keep == 0 {
		return
	}
	r := &remembered{store.Pack(c), was, now}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	if len(m.calls) == m.most {
		m.calls = slices.Delete(m.calls, 0, max(1, m.most/10)) // not one by one: each moves the rest
	}
	m.calls = append(m.calls, r)
}

// find returns what was known of a call that is still remembered, or nil.
func (m *memory) find(id string) *call {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.calls {
		if r.was != nil && r.was.id == id {
			return r.was
		}
	}
	return nil
}

// histories visits what was known of the calls that are still remembered.
func (m *memory) histories(yield func(*call)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.calls {
		if r.was != nil {
			yield(r.was)
		}
	}
}

// each visits the calls that are still remembered.
func (m *memory) each(now time.Time, yield func(store.Call) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	for _, r := range m.calls {
		if !yield(r.call.Call()) {
			return
		}
	}
}

// forget drops what is older than keep. Called locked.
func (m *memory) forget(now time.Time) {
	n := 0
	for n < len(m.calls) && now.Sub(m.calls[n].at) > m.keep {
		n++
	}
	if n > 0 {
		m.calls = slices.Delete(m.calls, 0, n)
	}
}
