package supervisor

import (
	"strings"
	"testing"
	"time"

	"sipvigil/store"
)

// mine is a probe that this machine has no network for.
func mine() reply {
	r := unsent()
	r.Ours = true
	return r
}

// cutOff begins a call, whose callee this machine has no network for once both
// legs have answered.
func (w *world) cutOff() {
	w.call("1")
	sleep(10 * time.Second)
	w.legs.says(store.Callee, always(mine()))
}

func TestAMachineWithoutNetworkEndsNoCall(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.cutOff()
		sleep(30 * time.Minute)
		w.wantBrake("no network", 0, 1, 1, nil)
		c, err := w.sup.Call(t.Context(), "1")
		if held, want := c.Legs[store.Callee].Held, "this machine has no network to ask it by: "; err != nil || !strings.HasPrefix(held, want) {
			t.Errorf("held: %q, want %q…", held, want)
		}
		w.legs.says(store.Callee, nil)
		sleep(34 * time.Second)
		w.wantBrake("network back", 0, 0, 0, nil)
		if n := w.counts().Legs[store.Callee][store.Alive]; n != 1 {
			t.Errorf("%d callees are alive, want 1", n)
		}
	})
}

func TestWhatDiedWhileThereWasNoNetworkIsFound(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.cutOff()
		sleep(30 * time.Minute)
		w.legs.says(store.Callee, always(nothing()))
		back, before := time.Since(w.legs.zero), len(w.legs.times("1", store.Callee))
		sleep(100 * time.Second)
		asked := w.legs.times("1", store.Callee)[before:]
		if len(asked) != 2 || asked[0]-back > 33*time.Second || asked[1]-asked[0] < 32*time.Second {
			t.Errorf("asked at %v, the network is back since %v", asked, back)
		}
		w.wantBrake("it is dead", 1, 0, 0, nil)
		if ends := w.legs.ends(); len(ends) != 1 || ends[0].Text != "2 probes missed, the last: no answer to OPTIONS" {
			t.Errorf("ended as %v", ends)
		}
	})
}

func TestAnOperatorEndsACallThatThereIsNoNetworkFor(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.cutOff()
		sleep(10 * time.Minute)
		if n := w.sup.ReleaseHeld(); n != 1 {
			t.Errorf("to be released: %d", n)
		}
		sleep(2 * time.Second)
		w.wantBrake("released", 1, 0, 0, nil)
	})
}
