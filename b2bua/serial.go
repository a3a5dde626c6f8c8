package b2bua

import "sync"

// serial runs functions one after the other, each to its end, in the goroutine
// of whoever asks while nothing runs. It holds no lock while a function runs,
// so a function may send, and may ask for more.
type serial struct {
	mu      sync.Mutex // guards what is below
	queue   []func()
	running bool
}

// do runs f after what was asked for before. It returns at once when another
// goroutine is running functions: that one will run f too.
func (s *serial) do(f func(), panicked func(any)) {
	s.mu.Lock()
	s.queue = append(s.queue, f)
	if s.running {
		s.mu.Unlock()
		return
	}
	s.running = true
	for len(s.queue) > 0 {
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		guarded(next, panicked)
		s.mu.Lock()
	}
	s.queue = nil
	s.running = false
	s.mu.Unlock()
}

func guarded(f func(), panicked func(any)) {
	defer func() {
		if v := recover(); v != nil {
			panicked(v)
		}
	}()
	f()
}
