package b2bua

import (
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
	for _, tt := range []struct {
		name            string
		steps           []step
		refuses, defers bool
	}{
		{"nothing", nil, false, false},
		{"quick", []step{{ms, 1000, ms}}, false, false},
		{"probes wait first", []step{{150 * ms, 1000, ms}}, false, true},
		{"long", []step{{300 * ms, 501, ms}}, true, true},
		{"long, but few", []step{{300 * ms, 499, 5 * ms}}, false, true},
		{"long, but for a moment", []step{{300 * ms, 2000, 0}}, false, true},
		{"one that waited less begins anew", []step{{300 * ms, 400, ms}, {299 * ms, 1, 0}, {300 * ms, 400, ms}}, false, true},
		{"goes on until it is quick again", []step{{300 * ms, 501, ms}, {51 * ms, 1, 0}}, true, false},
		{"is over when it is quick again", []step{{300 * ms, 501, ms}, {49 * ms, 1, 0}}, false, false},
		{"comes back at once", []step{{300 * ms, 501, ms}, {49 * ms, 1, 9 * time.Second}, {100 * ms, 1, 0}}, true, true},
		{"but not for ever", []step{{300 * ms, 501, ms}, {49 * ms, 1, 10 * time.Second}, {100 * ms, 1, 0}}, false, true},
		{"is forgotten when nothing comes", []step{{300 * ms, 501, ms}, {300 * ms, 1, time.Second}}, false, false},
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
				if r, d := s.refuses(), s.defers(); r != tt.refuses || d != tt.defers {
					t.Errorf("refuses calls %t, defers probes %t, want %t and %t", r, d, tt.refuses, tt.defers)
				}
			})
		})
	}
}
