package supervisor

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// disturb tells that the way to the callee of call c is disturbed.
func (w *world) disturb() { w.sup.Disturbed("c", store.Callee, "connection refused") }

func TestADisturbanceBringsTheNextProbeForward(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(20 * time.Second) // asked at 4.5 s, due at 34.51 s
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(time.Second)
		w.disturb() // and the evidence before it does not keep the probe away
		sleep(time.Minute)
		w.check(4.5, 21.5, 51.51)
	})
}

func TestEvidenceAfterADisturbancePostponesTheProbe(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(20 * time.Second)
		w.disturb()
		sleep(100 * time.Millisecond)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(40 * time.Second)
		w.check(4.5, 50.1)
	})
}

func TestADisturbedLegIsAskedSoonOnceAnInterval(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(10 * time.Second)
		for range 30 * 60 { // a far end that closes its connection all the time
			w.disturb()
			sleep(time.Second)
		}
		if n := len(w.legs.times("c", store.Callee)); n > 63 {
			t.Errorf("asked %d times in 30 minutes", n)
		}
		if ends := w.legs.ends(); len(ends) > 0 {
			t.Errorf("the call ended: %v", ends)
		}
	})
}

func TestADisturbedLegEndsByItsMissesOnly(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		w.call("c")
		sleep(10 * time.Second)
		var ended time.Duration
		w.legs.onRelease = func(store.End) { ended = time.Since(w.zero) }
		for range 100 { // each retransmission of the probe is refused, too
			w.disturb()
			sleep(time.Second)
		}
		w.check(4.5, 10.5, 42.66) // 32 s after the first, and a hundredth of that
		if want := 74*time.Second + 660*time.Millisecond; ended != want {
			t.Errorf("ended after %v, want %v: two whole probes", ended, want)
		}
	})
}

func TestADisturbanceIsInTheHistory(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(10 * time.Second)
		w.disturb()
		w.disturb()
		sleep(time.Second)
		want := []string{
			"10s callee disturbed connection refused 0s",
			"10.51s callee answer 200 OPTIONS 10ms",
		}
		if diff := cmp.Diff(want, w.lines("c")[3:]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNobodyIsAskedForADisturbanceOfACallThatIsNotWatched(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.disturb() // there is none
		w.sup.Started(w.legs.add("c"))
		w.disturb() // it rings
		sleep(time.Minute)
		w.check()
	})
}

func TestManyDisturbedLegsAreAskedOneAfterTheOther(t *testing.T) {
	inWorld(t, func(c *Config) { c.Rate = 100; c.Interval = time.Hour }, func(t *testing.T, w *world) {
		const calls = 200
		for i := range calls {
			w.call(fmt.Sprint(i))
		}
		sleep(20 * time.Minute) // each was asked once
		before := w.legs.total()
		for i := range calls {
			w.sup.Disturbed(fmt.Sprint(i), store.Callee, "connection refused")
		}
		var counts []int
		for range 3 {
			sleep(5 * time.Second)
			counts = append(counts, w.legs.total()-before)
		}
		sleep(time.Minute)
		counts = append(counts, w.legs.total()-before)
		// 20 at once and then a tenth of the rate.
		if diff := cmp.Diff([]int{65, 115, 165, calls}, counts); diff != "" {
			t.Error(diff)
		}
	})
}
