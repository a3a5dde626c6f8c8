package supervisor

import (
	"testing"
	"time"

	"sipvigil/store"
)

func TestAFarEndThatSendsByeOrAnswersItHasLivedUntilThen(t *testing.T) {
	const confirmed, gone, nothing = store.ReleaseConfirmed, store.ReleaseAlreadyGone, store.ReleaseUnconfirmed
	test := func(caller, callee store.Outcome, wantProven float64, wantCaller, wantCallee string) {
		t.Helper()
		var r *CDR
		inWorld(t, func(c *Config) { c.Record = func(of *CDR) { r = of } }, func(t *testing.T, w *world) {
			c := w.call("c")
			sleep(25 * time.Second) // both have answered a probe after 4.51 s
			c.End = store.End{Reason: store.Caller.Bye(), At: time.Now(), Released: [2]store.Outcome{caller, callee}}
			w.sup.Ended(c)
		})
		if r.Billed != 25 || r.Proven != wantProven || r.Caller.LastEvidence != wantCaller || r.Callee.LastEvidence != wantCallee {
			t.Errorf("%s, %s: %v of %v s are proven, last %q and %q, want %v s, %q and %q", caller, callee,
				r.Proven, r.Billed, r.Caller.LastEvidence, r.Callee.LastEvidence, wantProven, wantCaller, wantCallee)
		}
	}
	test(confirmed, confirmed, 25, "BYE", "BYE")
	test(confirmed, gone, 4.51, "BYE", "200 OPTIONS")
	test(confirmed, nothing, 4.51, "BYE", "200 OPTIONS")
	test(nothing, confirmed, 4.51, "200 OPTIONS", "BYE")
}

func TestACallThatWasNeverAnsweredShowsNobody(t *testing.T) {
	var r *CDR
	inWorld(t, func(c *Config) { c.Record = func(of *CDR) { r = of } }, func(t *testing.T, w *world) {
		c := w.legs.add("c")
		w.sup.Started(c)
		c.End = store.End{Reason: store.CallerCancel, At: time.Now(), Released: [2]store.Outcome{store.ReleaseConfirmed, store.ReleaseConfirmed}}
		w.sup.Ended(c)
	})
	if r.Caller.LastAlive+r.Callee.LastAlive != "" {
		t.Errorf("%+v", r)
	}
}
