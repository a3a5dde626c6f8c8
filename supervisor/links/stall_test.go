package links

import (
	"testing"
	"time"
)

func TestAStallOfThisProcessTakesNoAddressDown(t *testing.T) {
	c := Default()
	c.DownAfter = 1
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK", "-", "200 OK"))
		w.stall.Store(int64(5 * time.Second))
		w.until(2 * time.Minute)
		w.happened("a stall", "500ms ask", "510ms up", "1m0.51s ask", "1m15.51s ask")
		if d, _ := w.links.Doubt("carrier", time.Now().Add(-time.Minute)); d != NoDoubt {
			t.Errorf("doubt %v", d)
		}
	})
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK", "-"))
		w.stall.Store(int64(5 * time.Second))
		w.until(2 * time.Minute)
		w.happened("nobody is there", "500ms ask", "510ms up", "1m0.51s ask", "1m15.51s ask", "1m30.51s down", "1m45.51s ask")
	})
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK", "-"))
		w.stall.Store(int64(time.Second))
		w.until(80 * time.Second)
		w.happened("late, but no stall", "500ms ask", "510ms up", "1m0.51s ask", "1m11.51s down")
	})
}
