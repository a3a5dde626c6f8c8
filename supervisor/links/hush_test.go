package links

import (
	"testing"
	"time"
)

func TestATrunkThatIsHushedIsNotAskedAndStaysWhatItWas(t *testing.T) {
	inWorld(t, one(Default()), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(30 * time.Second)
		w.quiet.Store(true)
		w.until(5 * time.Minute)
		w.happened("silence", "500ms ask", "510ms up")
		if s := w.links.State("carrier"); s != Up {
			t.Errorf("it is %s", s)
		}
		// A call behind it that is silent gets no answer from it either.
		if d, _ := w.links.Doubt("carrier", time.Now()); d != NoDoubt {
			t.Errorf("doubt %v", d)
		}
		w.until(5*time.Minute + 10*time.Second)
		w.quiet.Store(false)
		w.until(7 * time.Minute)
		w.happened("half a minute after its last turn", "5m30.51s ask", "6m30.52s ask")
	})
}
