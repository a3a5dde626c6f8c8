package b2bua

import "sync"

// serial runs functions one after the other, each to its end, in a goroutine of
// their own that ends with the last one. It holds no lock while a function runs,
// so a function may send, and may ask for more. Nobody waits for a function, so
// that what comes later is in line behind it at once.
type serial struct {
	mu      sync.Mutex // guards what is below
	queue   []func()
	running bool
}

// do runs f after what was asked for before.
func (s *serial) do(f func(), work *tasks, panicked func(any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, f)
	if !s.running {
		s.running = true
		work.Go(func() { s.run(panicked) })
	}
}

// here runs f in this goroutine, after first, when nothing else has the turn, and
// then what was asked for meanwhile. Otherwise f waits in line, as with do, and
// first does not run.
func (s *serial) here(first, f func(), panicked func(any)) {
	s.mu.Lock()
	if s.running {
		s.queue = append(s.queue, f)
		s.mu.Unlock()
		return
	}
	s.running = true
	s.mu.Unlock()
	first()
	guarded(f, panicked)
	s.run(panicked)
}

// enter takes the turn if nobody has it. Whoever gets it gives it back by leave,
// soon: all else of the call waits.
func (s *serial) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return false
	}
	s.running = true
	return true
}

// leave gives the turn back; what was asked for meanwhile runs elsewhere.
func (s *serial) leave(work *tasks, panicked func(any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.running = false
		return
	}
	work.Go(func() { s.run(panicked) })
}

func (s *serial) run(panicked func(any)) {
	s.mu.Lock()
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
