package page

import (
	"testing"
	"time"

	"sipvigil/cmd/sipvigil/daemon"
)

// A whole carrier falls silent: its calls are held, shown, and end when an
// operator says so.
func TestBrakeIsShownAndReleased(t *testing.T) {
	t.Parallel()
	const calls = 3
	w := serve(t, calls, func(cfg *daemon.Config) {
		cfg.Supervise.Interval, cfg.Supervise.Timeout, cfg.Supervise.Brake.Floor = time.Second, time.Second, 3
	})
	b := open(t, w.admin, "/", 1440, 760)
	b.await(`document.querySelectorAll('.row .c-state span.k-live').length === 3`)
	b.gone(".brake")
	w.carrier.Silence()
	b.text(".brake", "3 calls held")
	b.text(".brake", "3 of 3 legs behind carrier do not answer")
	b.text(".figure.held", "3")
	b.text(".trunk", "3 held")
	b.accessible("brake")
	b.shot("brake")
	b.click(".brake button")
	b.await(`location.search === '?liveness=held'`)
	b.count(calls)
	b.click(".row .c-from")
	b.text(".facts", "3 of 3 legs behind trunk carrier do not answer")
	b.text(".step.e-miss", "no answer")
	b.shot("brake-call")
	b.keys(esc)

	b.click(".brake .danger")
	b.text("dialog", "End 3 held calls?")
	b.accessible("release")
	b.shot("release")
	b.click("dialog .danger")
	b.text("dialog .done", "3 calls will end")
	b.click("dialog .buttons button")
	b.gone("dialog")
	b.choose("liveness", "")
	b.await(`document.querySelectorAll('.row.over').length === 3`) // BYE goes on for a while
	b.text(".row.over .c-state", "callee-silent")
	b.gone(".brake")
	b.shot("released")
}
