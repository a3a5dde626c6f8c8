package supervisor

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/store"
)

func TestTheProbesOfManyLegsGoOutInBunches(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.sup.random = rand.Float64
		var slept atomic.Int64
		w.sup.SleepBy(func(d time.Duration) {
			slept.Add(1)
			time.Sleep(d)
		})
		const calls = 1000
		for i := range calls {
			w.call(fmt.Sprint(i))
		}
		sleep(time.Minute)
		bunches := make(map[time.Duration]int)
		total := 0
		for i := range calls {
			for _, side := range store.Sides {
				times := w.legs.times(fmt.Sprint(i), side)
				for j, at := range times {
					bunches[at]++
					total++
					if j > 0 && at-times[j-1] > 33*time.Second+10*time.Millisecond+longest {
						t.Fatalf("%v until the next probe", at-times[j-1])
					}
				}
			}
		}
		last := -shortest
		for _, at := range slices.Sorted(maps.Keys(bunches)) {
			if n := bunches[at]; n > fullest || at-last < shortest {
				t.Fatalf("%d probes at once, %v after others", n, at-last)
			}
			last = at
		}
		if most := int(time.Minute/longest) * 5 / 4; total < 2*calls || len(bunches) > most {
			t.Errorf("%d probes in %d bunches, want at most %d", total, len(bunches), most)
		}
		if n := slept.Load(); n < int64(len(bunches))-2 {
			t.Errorf("slept %d times between %d bunches", n, len(bunches))
		}
	})
}

func TestWithFewLegsEachProbeHasItsTime(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		next := 0.0
		w.sup.random = func() float64 { next += 0.001; return next }
		for i := range 100 {
			w.call(fmt.Sprint(i))
		}
		sleep(10 * time.Second)
		for i := range 100 {
			for _, side := range store.Sides {
				want := seconds(3 + 3*float64(2*i+int(side)+1)/1000)[0]
				if times := w.legs.times(fmt.Sprint(i), side); len(times) != 1 || times[0] != want {
					t.Fatalf("leg %d %v was asked at %v, want %v", i, side, times, want)
				}
			}
		}
	})
}
