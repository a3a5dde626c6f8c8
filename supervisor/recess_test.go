package supervisor

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWithoutALeaseRunSleepsAlsoWhileSomethingIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Node, cfg.May = "here", func() bool { return false }
		w := newWorld(t, cfg)
		w.sup.mu.Lock()
		w.sup.stall(time.Since(w.sup.made), "as if it had stood still") // so that it is looked at each second
		w.sup.mu.Unlock()
		time.Sleep(10 * time.Second)
		if _, pause, wait := w.sup.turns(time.Now(), nil); pause != 0 || wait != recess {
			t.Errorf("it sleeps for %v and %v, want %v", pause, wait, recess)
		}
		time.Sleep(recess)
		w.sup.mu.Lock()
		defer w.sup.mu.Unlock()
		if late := w.sup.brake.late(time.Since(w.sup.made)); late {
			t.Error("that counts as a stall")
		}
	})
}
