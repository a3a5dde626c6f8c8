package ua

import (
	"sync"
	"time"
)

// tasks are the goroutines and alarms that a phone has started. After close
// none starts any more and all have ended.
type tasks struct {
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	alarms map[*alarm]struct{}
}

// alarm runs a function once, later, unless it is stopped before.
type alarm struct {
	tasks *tasks
	f     func()
	timer *time.Timer
}

// start runs f in a goroutine; after close it does nothing.
func (t *tasks) start(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.running.Go(f)
	}
}

// after runs f when d has passed. It returns an alarm that never rings when
// the tasks are closed.
func (t *tasks) after(d time.Duration, f func()) *alarm {
	a := &alarm{tasks: t, f: f}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return a
	}
	if t.alarms == nil {
		t.alarms = make(map[*alarm]struct{})
	}
	t.running.Add(1)
	t.alarms[a] = struct{}{}
	a.timer = time.AfterFunc(d, a.ring)
	return a
}

func (a *alarm) ring() {
	if a.take() {
		defer a.tasks.running.Done()
		a.f()
	}
}

// stop keeps the alarm from ringing if it has not begun to. A nil alarm is
// never set.
func (a *alarm) stop() {
	if a != nil && a.take() {
		a.timer.Stop()
		a.tasks.running.Done()
	}
}

// take tells its one true caller that the alarm is now his.
func (a *alarm) take() bool {
	a.tasks.mu.Lock()
	defer a.tasks.mu.Unlock()
	_, set := a.tasks.alarms[a]
	delete(a.tasks.alarms, a)
	return set
}

// close stops all alarms and waits for everything that runs.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	for a := range t.alarms {
		a.timer.Stop()
		delete(t.alarms, a)
		t.running.Done()
	}
	t.mu.Unlock()
	t.running.Wait()
}
