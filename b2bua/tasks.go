package b2bua

import "sync"

// maxIdle is how many goroutines wait for something to do: some that serve what
// waits when there is much to do. A new one would have to grow its stack first,
// which costs as much as what most messages need.
const maxIdle = 1024

// tasks are goroutines that somebody waits for in the end. The zero value is
// ready.
type tasks struct {
	mu   sync.Mutex // guards what is below, and that nothing is added after over
	over bool
	idle []chan func()
	left sync.WaitGroup
}

// Go runs f in a goroutine, unless Wait has been called: then it is too late
// for anything.
func (t *tasks) Go(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n := len(t.idle); {
	case t.over:
	case n > 0:
		t.idle[n-1] <- f
		t.idle = t.idle[:n-1]
	default:
		t.left.Go(func() { t.work(f) })
	}
}

// work runs f, and what comes after it.
func (t *tasks) work(f func()) {
	next := make(chan func(), 1)
	for ok := true; ok; f, ok = <-next {
		f()
		f = nil
		t.mu.Lock()
		if t.over || len(t.idle) >= maxIdle {
			t.mu.Unlock()
			return
		}
		t.idle = append(t.idle, next)
		t.mu.Unlock()
	}
}

// Wait lets nothing begin any more and returns after what has begun.
func (t *tasks) Wait() {
	t.mu.Lock()
	t.over = true
	for _, next := range t.idle {
		close(next)
	}
	t.idle = nil
	t.mu.Unlock()
	t.left.Wait()
}
