package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
)

func TestACallIsReleasedOnce(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.keep = true // the BYEs take their time
		w.legs.says(store.Caller, always(status(481)))
		w.legs.says(store.Callee, always(status(481)))
		w.call("c")
		sleep(5 * time.Minute)
		if len(w.legs.released) != 1 {
			t.Errorf("released %v", w.legs.released)
		}
		if n := w.legs.total(); n != 2 {
			t.Errorf("asked %d times, want once each", n)
		}
		w.legs.end("c", w.legs.released[0])
		if got := w.counts().Calls; got != 0 {
			t.Errorf("%d calls are left", got)
		}
	})
}

func TestAnEndingCallIsNotAsked(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		w.call("c")
		sleep(40 * time.Second) // the callee is being asked
		w.sup.Ending("c", store.End{Reason: store.Caller.Bye()})
		w.sup.Ending("c", store.End{Reason: store.Caller.Bye()})
		sleep(5 * time.Minute)
		w.check(4.5, 34.51)
		if got := w.health("c", store.Callee); got.Liveness != store.Alive || len(w.legs.released) > 0 {
			t.Errorf("the answer counted: %+v", got)
		}
		w.legs.end("c", store.End{Reason: store.Caller.Bye(), At: time.Now()})
	})
}

func TestAnswersThatNobodyWaitsForAreIgnored(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		w.sup.Answered(store.Reply{ID: "none", Side: store.Caller, Answer: store.Answer{Status: 481}})
		w.sup.Answered(store.Reply{ID: "c", Side: store.Caller, Answer: store.Answer{Status: 481}})
		sleep(5 * time.Second)
		w.sup.Answered(store.Reply{ID: "c", Side: store.Caller, Answer: store.Answer{Status: 481}}) // after the 200
		w.sup.Evidence("none", store.Caller, store.Evidence{What: "INFO"})
		w.sup.Ending("none", store.End{})
		sleep(time.Minute)
		if len(w.legs.released) > 0 {
			t.Errorf("released: %v", w.legs.released)
		}
	})
}

func TestACallThatNeverCameToBeIsRemembered(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.sup.Started(w.legs.add("c"))
		w.legs.end("c", store.End{Reason: store.CalleeRejected, Status: 486})
		w.sup.Confirmed(store.Call{ID: "other"})
		w.sup.Ended(store.Call{ID: "unknown", State: store.Terminated})
		c, err := w.sup.Call(t.Context(), "c")
		if err != nil || c.End.Status != 486 {
			t.Errorf("got %+v, %v", c, err)
		}
	})
}

func TestACallThatItsOwnerDroppedIsForgotten(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		dropped := reply{Answer: store.Answer{Kind: store.NoCall}}
		w.legs.says(store.Caller, always(dropped))
		w.legs.says(store.Callee, always(dropped))
		w.call("c")
		sleep(10 * time.Second)
		want := counts{Legs: [2]map[store.Liveness]int{{store.Unproven: 0}, {store.Unproven: 0}}}
		if diff := cmp.Diff(want, w.counts()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEvidenceOutsideTheCallIsOnlyRemembered(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		evidence := func(what string) {
			w.sup.Evidence("c", store.Callee, store.Evidence{What: what, At: time.Now()})
		}
		test := func(want store.Health) {
			t.Helper()
			got := w.health("c", store.Callee)
			got.LastAlive = time.Time{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		c := w.legs.add("c")
		w.sup.Started(c)
		evidence("180 INVITE")
		test(store.Health{LastEvidence: "180 INVITE"})
		w.sup.Confirmed(c)
		test(store.Health{LastEvidence: "180 INVITE", Liveness: store.Unproven, Method: "OPTIONS"})
		w.sup.Ending("c", store.End{})
		evidence("200 BYE")
		test(store.Health{LastEvidence: "200 BYE", Liveness: store.Unproven, Method: "OPTIONS"})
		sleep(time.Hour)
		if len(w.store.writes) > 0 {
			t.Errorf("written: %v", w.store.writes)
		}
		w.legs.end("c", store.End{})
	})
}

func TestACallIsConfirmedOnceAndNotAfterItsEnd(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.call("c")
		sleep(10 * time.Second)
		w.sup.Confirmed(c)
		sleep(10 * time.Second)
		w.check(4.5)
		if got := w.counts().Legs[store.Callee]; got[store.Alive] != 1 || got[store.Unproven] != 0 {
			t.Errorf("counted twice: %v", got)
		}
		w.sup.Started(w.legs.add("d"))
		w.sup.Ending("d", store.End{})
		w.sup.Confirmed(store.Call{ID: "d"})
		sleep(10 * time.Second)
		if n := len(w.legs.times("d", store.Caller)); n > 0 {
			t.Error("asked after the end")
		}
	})
}

func TestWhatWasLearnedLastIsWrittenBeforeRunReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Node = "here"
		w := newWorld(t, cfg)
		w.call("c")
		w.sup.Evidence("c", store.Caller, store.Evidence{What: "INFO", At: time.Now()})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.sup.Run(ctx)
		if n := len(w.store.of("c", store.Caller)); n != 1 {
			t.Errorf("written %d times", n)
		}
	})
}

func TestManyCallsAtOnce(t *testing.T) {
	inWorld(t, func(c *Config) { c.Interval = time.Second }, func(t *testing.T, w *world) {
		w.sup.random = rand.Float64
		w.legs.says(store.Callee, func(int) reply {
			codes := []reply{status(200), status(200), status(200), status(404), status(481), unsent()}
			return codes[rand.IntN(len(codes))]
		})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				for j := range 10 {
					id := fmt.Sprint(i, "-", j)
					w.call(id)
					for range rand.IntN(10) {
						time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
						w.sup.Evidence(id, store.Caller, store.Evidence{What: "INFO", At: time.Now()})
						_, _ = w.sup.Calls(t.Context(), store.Query{Limit: 10})
						_, _ = w.sup.Probe(t.Context(), id) // may have ended
					}
					_ = w.sup.Hangup(t.Context(), id, "enough")
				}
			})
		}
		all.Wait()
		if n := w.sup.queue.Len() + len(w.sup.calls) + len(w.sup.waiting); n > 0 {
			t.Errorf("%d things are left", n)
		}
		for side, counts := range w.counts().Legs {
			for l, n := range counts {
				if n != 0 {
					t.Errorf("%d %vs are %s", n, store.Side(side), l)
				}
			}
		}
	})
}

func TestHealthIsWrittenWhenLivenessChangesAndOnceAProbe(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(200), nothing(), status(200)))
		w.call("c")
		sleep(40 * time.Second)
		for range 20 { // until 60 s: evidence each second, written when the turn comes
			sleep(time.Second)
			w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		}
		sleep(100 * time.Second)
		of := func(l store.Liveness, s float64) saved {
			return saved{target{"c", store.Callee}, l, seconds(s)[0]}
		}
		want := []saved{
			of(store.Alive, 4.51), of(store.Alive, 34.52),
			of(store.Alive, 64.52), // the evidence, instead of the probe
			of(store.Suspect, 122), // asked at 90 s
			of(store.Alive, 122.17),
			of(store.Alive, 152.18),
		}
		if diff := cmp.Diff(want, w.store.of("c", store.Callee), cmp.AllowUnexported(saved{}, target{})); diff != "" {
			t.Error(diff)
		}
		if n := len(w.store.writes) - len(w.store.of("c", store.Caller)); n != len(want) {
			t.Errorf("%d writes about others", n-len(want))
		}
	})
}

func TestALegInDoubtIsLogged(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		core, logs := observer.New(zap.DebugLevel)
		w.sup.log = zap.New(core)
		w.legs.says(store.Callee, inTurn(status(200), unsent()))
		w.call("c")
		w.legs.change("c", func(c *store.Call) { c.Legs[store.Callee].Peer = "192.0.2.1:5060" })
		sleep(2 * time.Minute)
		var got []map[string]any
		for _, e := range logs.FilterMessage("leg changed").FilterLevelExact(zap.InfoLevel).All() {
			m := e.ContextMap()
			delete(m, "last_alive")
			got = append(got, m)
		}
		line := func(now, was string, misses int64) map[string]any {
			return map[string]any{"call": "c", "leg": "callee", "liveness": now, "was": was, "misses": misses,
				"reason": "OPTIONS not sent: no route", "last_evidence": "200 OPTIONS",
				"caller_call_id": "c@caller", "callee_call_id": "c@callee", "trunk_in": "in", "trunk_out": "out", "peer": "192.0.2.1:5060"}
		}
		want := []map[string]any{line("suspect", "alive", 1), line("silent", "suspect", 2)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if n := logs.FilterMessage("leg changed").Len(); n != len(want)+2 { // both proved alive, at Debug
			t.Errorf("%d lines about legs", n)
		}
		end := logs.FilterMessage("call ended").All()[0].ContextMap()
		if end["side"] != "callee" || end["reason"] != "callee-silent" || end["caller_call_id"] != "c@caller" {
			t.Errorf("end: %v", end)
		}
	})
}

func TestMetricsTellOfCallsLegsAndProbes(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(481)))
		w.call("c")
		w.legs.says(store.Caller, always(status(200)))
		w.call("d")
		w.sup.Started(w.legs.add("e"))
		w.sup.Ended(store.Call{ID: "f", End: store.End{Reason: "made-up"}})
		sleep(10 * time.Second)
		if n := w.metric("sipvigil_supervisor_legs", "callee", "alive"); n != 2 {
			t.Errorf("%v callees are alive", n)
		}
		w.call("g")
		w.sup.Evidence("g", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		if n := w.metric("sipvigil_supervisor_legs", "callee", "alive"); n != 3 {
			t.Errorf("%v callees are alive, one by evidence", n)
		}
		w.legs.end("g", store.End{Reason: store.Caller.Bye()})
		sleep(50 * time.Second)
		for _, test := range []struct {
			want   float64
			name   string
			labels []string
		}{
			{4, "sipvigil_calls_started_total", nil},
			{1, "sipvigil_calls_active", nil},
			{2, "sipvigil_calls_ended_total", []string{"callee-gone"}},
			{1, "sipvigil_calls_ended_total", []string{"other"}},
			{0, "sipvigil_calls_ended_total", []string{"no-ack"}},
			{0, "sipvigil_supervisor_legs", []string{"callee", "alive"}},
			{2, "sipvigil_supervisor_probes_total", []string{"OPTIONS", "gone"}},
			{0, "sipvigil_supervisor_probes_total", []string{"OPTIONS", "lost"}},
			{3, "sipvigil_supervisor_releases_total", []string{"caller", "confirmed"}},
			{3, "sipvigil_supervisor_releases_total", []string{"callee", "unconfirmed"}},
			{0, "sipvigil_supervisor_lag_seconds", nil},
		} {
			if got := w.metric(test.name, test.labels...); got != test.want {
				t.Errorf("%s%v is %v, want %v", test.name, test.labels, got, test.want)
			}
		}
	})
}

// metric reads the value of the series with these label values, -1 if none has.
func (w *world) metric(name string, labels ...string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && cmp.Equal(values, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func TestTwoSupervisorsDoNotShareARegistry(t *testing.T) {
	reg, cfg := prometheus.NewRegistry(), Default()
	cfg.Node = "here"
	if _, err := New(cfg, &fakeStore{}, zap.NewNop(), reg); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, &fakeStore{}, zap.NewNop(), reg); err == nil {
		t.Error("no error for the second")
	}
}

func TestConfigReportsAllFaults(t *testing.T) {
	cfg := Config{Interval: -1, Jitter: 2, Rate: -1, Keep: -1, KeepCalls: -1, Method: "x"}
	want := `node must not be empty
interval must not be negative, is -1ns
jitter must be between 0 and 1, is 2
timeout must be positive, is 0s
misses must be at least 1, is 0
method must be auto, options, update or reinvite, is "x"
policy must be rfc3261 or rfc5057, is ""
action must be hangup or observe, is ""
share of the brake must be above 0 and at most 1, is 0
floor of the brake must be at least 1, is 0
rate must be at least 1, is -1
keep must not be negative, is -1ns
keep calls must not be negative, is -1`
	if diff := cmp.Diff(want, cfg.Validate().Error()); diff != "" {
		t.Error(diff)
	}
	cfg = Default()
	cfg.Node = "here"
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestALostRecordGetsItsHealthBack(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(10 * time.Second) // both legs have answered
		w.store.mu.Lock()
		want := w.store.last
		w.store.last = nil // the store was emptied
		w.store.mu.Unlock()
		w.sup.Resave("c")
		w.sup.Resave("unknown")
		synctest.Wait()
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		if len(want) != 2 || !cmp.Equal(want, w.store.last, cmp.AllowUnexported(target{})) {
			t.Errorf("written: %+v, want %+v", w.store.last, want)
		}
	})
}

func TestACallIsForgottenWhenNobodyKnowsEitherOfItsLegs(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		unknown, late := reply{Answer: store.Answer{Kind: store.NoCall}}, status(200)
		late.after = 2 * time.Second // from here on the legs take turns
		w.legs.says(store.Caller, inTurn(status(200), unknown))
		w.legs.says(store.Callee, inTurn(late, status(200), unknown))
		w.call("c")
		for _, want := range []struct {
			at    time.Duration
			calls int
		}{{60 * time.Second, 1}, {90 * time.Second, 0}} {
			sleep(want.at - time.Since(w.zero))
			if got := w.counts().Calls; got != want.calls {
				t.Errorf("%d calls after %v, want %d", got, want.at, want.calls)
			}
		}
	})
}
