package b2bua

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestStrainIsWhatLastsAndEndsWithTheWaiting(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		wait  time.Duration // of each message
		count int
		every time.Duration
	}
	long := step{200 * ms, 1000, ms}
	for _, tt := range []struct {
		name    string
		steps   []step
		refused int // percent of new calls
		defers  bool
	}{
		{"nothing", nil, 0, false},
		{"quick", []step{{ms, 2000, ms}}, 0, false},
		{"probes wait first", []step{{149 * ms, 2000, ms}}, 0, true},
		{"long", []step{long}, 100, true},
		{"long, but few", []step{{150 * ms, 999, 5 * ms}}, 0, true},
		{"long, but for a moment", []step{{150 * ms, 3000, 0}}, 0, true},
		{"one that waited less begins anew", []step{{150 * ms, 900, ms}, {149 * ms, 1, 0}, {150 * ms, 900, ms}}, 0, true},
		{"the less waiting the fewer are refused", []step{long, {125 * ms, 1, 0}}, 50, true},
		{"none when it is quick", []step{long, {50 * ms, 1, 0}}, 0, false},
		{"comes back at once", []step{long, {ms, 1, 9 * time.Second}, {163 * ms, 1, 0}}, 75, true},
		{"but not for ever", []step{long, {ms, 11, time.Second}, {163 * ms, 1, 0}}, 0, true},
		{"is forgotten when nothing comes", []step{long, {200 * ms, 1, time.Second}}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s strain
				for _, step := range tt.steps {
					for range step.count {
						s.waited(time.Now().Add(-step.wait))
						time.Sleep(step.every)
					}
				}
				if got := refused(&s); got < tt.refused-5 || got > tt.refused+5 || (tt.refused == 0) != (got == 0) {
					t.Errorf("%d %% of new calls are refused, want %d", got, tt.refused)
				}
				if d := s.defers(); d != tt.defers {
					t.Errorf("defers probes %t, want %t", d, tt.defers)
				}
			})
		})
	}
}

// refused is how many percent of new calls are, each of which is told the same
// when it asks again.
func refused(s *strain) int {
	const asked = 5000
	n := 0
	for i := range asked {
		branch := magicCookie + strconv.Itoa(i)
		first := s.refuses(branch)
		if again := s.refuses(branch); again != first {
			return -1
		}
		if first {
			n++
		}
	}
	return n * 100 / asked
}

func TestAFullSocketIsStrain(t *testing.T) {
	var s strain
	s.overflowed()
	if s.waited(time.Now().Add(-time.Second)); refused(&s) != 100 {
		t.Error("not all new calls are refused")
	}
}
