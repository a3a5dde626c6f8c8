package b2bua

import (
	"sync"
	"time"
)

// waits wakes what waits for a time. All that waits for equally long stands in
// one line and shares one timer, so that nothing is sorted, and to stop waiting
// costs nothing: who is woken looks whether there is anything to do. One that
// panics costs itself, not the line.
type waits struct {
	panicked func(any)

	mu    sync.Mutex // guards what is below
	lines map[time.Duration]*line
	over  bool
}

// line is what waits for equally long, the first to be woken in front.
type line struct {
	waiting []waiting
	timer   *time.Timer
}

type waiting struct {
	at time.Time
	waker
	why wake
}

// waker is what can be woken. It must not take long.
type waker interface{ wake(why wake) }

// wake says what a waker waited for.
type wake uint8

const (
	wakeRepeat wake = iota // to send again, or to give up
	wakeTrying             // to say 100
	wakeForget             // to forget what was kept for repetitions
)

// after wakes w after d.
func (s *waits) after(d time.Duration, w waker, why wake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	l := s.lines[d]
	if l == nil {
		if s.lines == nil {
			s.lines = make(map[time.Duration]*line)
		}
		l = &line{}
		s.lines[d] = l
		l.timer = time.AfterFunc(d, func() { s.due(d, l) })
	}
	l.waiting = append(l.waiting, waiting{time.Now().Add(d), w, why})
}

// due wakes those at the front of a line whose time has come. A line of nobody
// is none.
func (s *waits) due(d time.Duration, l *line) {
	for {
		s.mu.Lock()
		if len(l.waiting) == 0 || s.over {
			delete(s.lines, d)
			s.mu.Unlock()
			return
		}
		if left := time.Until(l.waiting[0].at); left > 0 {
			l.timer.Reset(left)
			s.mu.Unlock()
			return
		}
		first := l.waiting[0]
		l.waiting[0] = waiting{}
		l.waiting = l.waiting[1:]
		s.mu.Unlock()
		guarded(func() { first.wake(first.why) }, s.panicked)
	}
}

// stop wakes nobody any more.
func (s *waits) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, l := range s.lines {
		l.timer.Stop()
	}
}
