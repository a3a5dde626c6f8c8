package supervisor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sipvigil/store"
)

func TestEachCallThatEndsLeavesARecord(t *testing.T) {
	var lines []string
	inWorld(t, func(c *Config) { c.Record = func(r *CDR) { lines = append(lines, string(r.Line())) } }, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		w.call("c")
		sleep(2 * time.Minute)
		w.legs.add("d") // one that was never answered
		c, _ := w.legs.Call("d")
		w.sup.Started(c)
		w.legs.end("d", store.End{Reason: store.CallerCancel, Status: 487, At: time.Now()})
	})
	want := []string{
		`{"id":"c","node":"here","started":"2000-01-01T00:00:00.000Z","answered":"2000-01-01T00:00:00.000Z",` +
			`"ended":"2000-01-01T00:01:38.670Z","ended_by":"callee-silent","side":"callee","end_status":408,` +
			`"end_text":"2 probes missed, the last: no answer to OPTIONS","trunk_in":"in","trunk_out":"out",` +
			`"billed_seconds":98.67,"proven_seconds":4.51,` +
			`"caller":{"call_id":"c@caller","uri":"","peer":"192.0.2.1:5060","user_agent":"caller","liveness":"alive",` +
			`"last_alive":"2000-01-01T00:01:38.670Z","last_evidence":"BYE","released":"confirmed"},` +
			`"callee":{"call_id":"c@callee","uri":"","peer":"192.0.2.1:5060","user_agent":"callee","liveness":"silent",` +
			`"last_alive":"2000-01-01T00:00:04.510Z","last_evidence":"200 OPTIONS","released":"unconfirmed"}}` + "\n",
		`{"id":"d","node":"here","started":"2000-01-01T00:02:00.000Z","answered":"","ended":"2000-01-01T00:02:00.000Z",` +
			`"ended_by":"caller-cancel","side":"caller","end_status":487,"end_text":"","trunk_in":"in","trunk_out":"out",` +
			`"billed_seconds":0,"proven_seconds":0,` +
			`"caller":{"call_id":"d@caller","uri":"","peer":"192.0.2.1:5060","user_agent":"caller","liveness":"",` +
			`"last_alive":"","last_evidence":"","released":"confirmed"},` +
			`"callee":{"call_id":"d@callee","uri":"","peer":"192.0.2.1:5060","user_agent":"callee","liveness":"",` +
			`"last_alive":"","last_evidence":"","released":"unconfirmed"}}` + "\n",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestARecordSaysWhatWasOnlyObserved(t *testing.T) {
	var got *CDR
	inWorld(t, func(c *Config) {
		c.Action, c.Record = Observe, func(r *CDR) { got = r }
	}, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(481)))
		w.call("c")
		sleep(time.Minute)
		w.legs.end("c", store.End{Reason: "caller-bye", At: time.Now()})
	})
	if diff := cmp.Diff(&Found{EndedBy: "callee-gone", At: "2000-01-01T00:00:34.520Z", Right: true}, got.Observed); diff != "" {
		t.Error(diff)
	}
}

func TestLifetimesAreThatOfTheLegThatWasSilentLongest(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	test := func(caller, callee, billed, proven time.Duration) {
		t.Helper()
		c := store.Call{Answered: zero, End: store.End{At: zero.Add(time.Hour)}}
		for side, d := range []time.Duration{caller, callee} {
			if d != 0 {
				c.Legs[side].LastAlive = zero.Add(d)
			}
		}
		b, p := lifetimes(&c)
		if b != billed || p != proven {
			t.Errorf("%v, %v: billed %v, proven %v, want %v and %v", caller, callee, b, p, billed, proven)
		}
	}
	test(time.Minute, 2*time.Minute, time.Hour, time.Minute)
	test(2*time.Minute, time.Minute, time.Hour, time.Minute)
	test(0, time.Minute, time.Hour, 0)            // never showed itself
	test(-time.Second, time.Minute, time.Hour, 0) // only before the answer
	test(2*time.Hour, 2*time.Hour, time.Hour, time.Hour)
}

func TestReclaimedChannelsAreCountedByTrunk(t *testing.T) {
	inWorld(t, func(c *Config) { c.Trunks = map[string]Action{"in": "", "out": ""} }, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(481)))
		w.call("c")
		sleep(time.Minute)
		w.legs.says(store.Callee, always(status(200)))
		w.call("d")
		sleep(10 * time.Second)
		w.legs.end("d", store.End{Reason: "caller-bye", At: time.Now()})
		m := w.sup.metrics
		for _, trunk := range []string{"in", "out"} {
			if n := testutil.ToFloat64(m.reclaimed.WithLabelValues(trunk)); n != 1 {
				t.Errorf("%s: %v channels, want 1", trunk, n)
			}
			// c: from 4.51 s to 34.52 s, d: from 4.51 s to 10 s
			if n := testutil.ToFloat64(m.unproven.WithLabelValues(trunk)); n < 35.499 || n > 35.501 {
				t.Errorf("%s: %v unproven seconds, want 35.5", trunk, n)
			}
		}
		if n := testutil.CollectAndCount(m.detection); n != 3 {
			t.Errorf("%d histograms, want those of in, out and the others", n)
		}
	})
}
