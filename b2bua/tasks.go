package b2bua

import "sync"

// tasks are goroutines that somebody waits for in the end. The zero value is
// ready.
type tasks struct {
	mu   sync.Mutex // guards over, and that nothing is added after it
	over bool
	left sync.WaitGroup
}

// Go runs f in a goroutine, unless Wait has been called: then it is too late
// for anything.
func (t *tasks) Go(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.left.Go(f)
	}
}

// Wait lets nothing begin any more and returns after what has begun.
func (t *tasks) Wait() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.left.Wait()
}
