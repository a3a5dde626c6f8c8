package b2bua

import (
	"sync"
	"time"
)

// waits wakes wakers after a time. Those that wait equally long stand in one line
// and share one timer, so that nothing is sorted. Nobody is taken out of a line:
// who is woken looks whether there is anything left to do. A waker that panics
// does not stop the line.
type waits struct {
	panicked func(any)

	mu    sync.Mutex // guards what is below
	lines map[time.Duration]*line
	over  bool
}

// line is what waits for equally long, the first to be woken in front.
type line struct {
	front, back *stretch // nil: nobody
	timer       *time.Timer
}

// stretch is a part of a line. So a line can be long without ever being moved.
type stretch struct {
	waiting  [64]waiting
	from, to int // of those that wait
	next     *stretch
}

func (l *line) add(w waiting) {
	switch {
	case l.back == nil:
		l.front = &stretch{}
		l.back = l.front
	case l.back.to == len(l.back.waiting):
		l.back.next = &stretch{}
		l.back = l.back.next
	}
	l.back.waiting[l.back.to] = w
	l.back.to++
}

// first is who is in front, nil for nobody.
func (l *line) first() *waiting {
	if l.front == nil || l.front.from == l.front.to {
		return nil
	}
	return &l.front.waiting[l.front.from]
}

// leave has whoever is in front leave the line.
func (l *line) leave() waiting {
	s := l.front
	w := s.waiting[s.from]
	s.waiting[s.from] = waiting{}
	s.from++
	switch {
	case s.from < s.to:
	case s.next != nil:
		l.front = s.next
	default:
		s.from, s.to = 0, 0
	}
	return w
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

// late is by how much a wake may be late, when another one was just before it: to
// wake the process costs more than most of what is done then.
const late = 10 * time.Millisecond

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
	l.add(waiting{time.Now().Add(d), w, why})
}

// due wakes those at the front of a line whose time has come. A line of nobody
// is none.
func (s *waits) due(d time.Duration, l *line) {
	for {
		s.mu.Lock()
		front := l.first()
		if front == nil || s.over {
			delete(s.lines, d)
			s.mu.Unlock()
			return
		}
		if left := time.Until(front.at); left > 0 {
			l.timer.Reset(max(left, min(d/20, late)))
			s.mu.Unlock()
			return
		}
		first := l.leave()
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
