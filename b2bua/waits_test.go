package b2bua

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type sleeper func()

func (f sleeper) wake(wake) { f() }

func TestALongLineIsWokenInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s waits
		woken := 0
		line := func(n int) {
			for range n {
				turn := woken + len(s.waiting(time.Second))
				s.after(time.Second, sleeper(func() {
					if woken != turn {
						t.Errorf("number %d is woken after %d others", turn, woken)
					}
					woken++
				}), wakeRepeat)
			}
		}
		for _, n := range []int{1, 64, 65, 300, 1} {
			line(n)
			time.Sleep(500 * time.Millisecond)
			line(n)
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if left := len(s.waiting(time.Second)); left != n {
				t.Fatalf("%d are left of %d that came later", left, n)
			}
			time.Sleep(time.Second)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.lines) != 0 {
			t.Errorf("%d lines of nobody", len(s.lines))
		}
	})
}

func TestThoseCloseBehindAnotherAreWokenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s waits
		var woken []time.Duration
		begin := time.Now()
		for range 3 { // at 0, 3 and 6 ms
			s.after(time.Second, sleeper(func() { woken = append(woken, time.Since(begin)) }), wakeRepeat)
			time.Sleep(3 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []time.Duration{time.Second, time.Second + late, time.Second + late}; !slices.Equal(woken, want) {
			t.Errorf("woken at %v, want %v", woken, want)
		}
	})
}

// waiting are those in a line.
func (s *waits) waiting(d time.Duration) (all []waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lines[d]; l != nil {
		for part := l.front; part != nil; part = part.next {
			all = append(all, part.waiting[part.from:part.to]...)
		}
	}
	return all
}
