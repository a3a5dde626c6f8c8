package supervisor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

func TestACallIsFoundByIdAndCallID(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.store.calls = []store.Call{elsewhere("far")}
		w.call("near")
		w.call("past")
		w.legs.end("past", store.End{Reason: store.Caller.Bye()})
		for _, test := range [][2]string{
			{"near", "near"}, {"near@caller", "near"}, {"near@callee", "near"},
			{"past", "past"}, {"past@callee", "past"},
			{"far", "far"}, {"far@there", "far"},
		} {
			c, err := w.sup.Call(t.Context(), test[0])
			if err != nil || c.ID != test[1] {
				t.Errorf("%s: found %q, %v", test[0], c.ID, err)
			}
		}
		if _, err := w.sup.Call(t.Context(), "near@"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("no such call: %v", err)
		}
		w.store.err = store.ErrUnavailable
		if _, err := w.sup.Call(t.Context(), "none"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("no store: %v", err)
		}
	})
}

// probe asks by hand, without the times in the answers.
func (w *world) probe(ctx context.Context, id string) ([2]store.Answer, error) {
	answers, err := w.sup.Probe(ctx, id)
	for i := range answers {
		answers[i].At, answers[i].RTT = time.Time{}, 0
	}
	return answers, err
}

func TestAProbeByHandCountsLikeAnyOther(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(10 * time.Second)
		w.legs.says(store.Caller, always(status(404)))
		answers, err := w.probe(t.Context(), "c@caller")
		want := [2]store.Answer{{Method: "OPTIONS", Status: 404}, {Method: "OPTIONS", Status: 200}}
		if diff := cmp.Diff(want, answers); diff != "" || err != nil {
			t.Error(diff, err)
		}
		if got := w.health("c", store.Caller); got.Liveness != store.Suspect {
			t.Errorf("caller: %+v", got)
		}
		w.legs.says(store.Caller, nil)
		sleep(40 * time.Second)
		w.check(4.5, 10, 40.01)
	})
}

func TestAProbeByHandSharesOneUnderWay(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		w.call("c")
		sleep(40 * time.Second)
		first := make(chan error, 1)
		go func() {
			_, err := w.sup.Probe(t.Context(), "c")
			first <- err
		}()
		answers, err := w.probe(t.Context(), "c")
		want := [2]store.Answer{{Method: "OPTIONS", Status: 200}, {Kind: store.Timeout, Method: "OPTIONS"}}
		if diff := cmp.Diff(want, answers); diff != "" || err != nil || <-first != nil {
			t.Error(diff, err)
		}
		w.check(4.5, 34.51)
		if got := time.Since(w.zero); got != 66510*time.Millisecond {
			t.Errorf("answered after %v", got)
		}
	})
}

func TestAProbeByHandGivesUpWithItsContext(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, always(nothing()))
		w.call("c")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		answers, err := w.probe(ctx, "c")
		if !errors.Is(err, context.DeadlineExceeded) || answers[store.Caller].Status != 200 {
			t.Errorf("%+v, %v", answers, err)
		}
		w.sup.mu.Lock()
		defer w.sup.mu.Unlock()
		if n := len(w.sup.waiting); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func TestAProbeByHandEndsWithItsCall(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.keep = true
		w.legs.says(store.Callee, always(reply{never: true}))
		w.call("c")
		done := make(chan [2]store.Answer)
		go func() {
			answers, _ := w.probe(t.Context(), "c")
			done <- answers
		}()
		synctest.Wait()
		w.legs.end("c", store.End{Reason: store.Caller.Bye()})
		if got := (<-done)[store.Callee]; got.Kind != store.NoCall {
			t.Errorf("%+v", got)
		}
	})
}

func TestImpatienceDoesNotEndACall(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), unsent(), unsent(), unsent(), unsent(), status(200)))
		w.call("c")
		sleep(10 * time.Second)
		for range 4 {
			if _, err := w.sup.Probe(t.Context(), "c"); err != nil {
				t.Fatal(err)
			}
			sleep(time.Second)
		}
		if got := w.health("c", store.Callee); got.Liveness != store.Suspect || got.Misses != 1 {
			t.Errorf("%+v", got)
		}
		sleep(time.Minute)
		w.check(4.5, 10, 11.01, 12.02, 13.03, 42.16, 72.17)
	})
}

func TestALegWithoutAMethodCanStillBeAsked(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, always(status(405)))
		w.call("c")
		sleep(time.Minute)
		for range 2 {
			answers, err := w.probe(t.Context(), "c")
			if answers[store.Callee].Status != 405 || err != nil {
				t.Errorf("%+v, %v", answers, err)
			}
			sleep(40 * time.Second)
			if got := w.health("c", store.Callee); got.Liveness != store.Unsupported || got.Method != "" {
				t.Errorf("%+v", got)
			}
		}
		w.legs.says(store.Callee, nil)
		if _, err := w.sup.Probe(t.Context(), "c"); err != nil {
			t.Error(err)
		}
		if got := w.health("c", store.Callee); got.Liveness != store.Alive || got.Method != "OPTIONS" {
			t.Errorf("it came to answer: %+v", got)
		}
	})
}

func TestOnlyACallThatGoesOnHereCanBeProbedOrEnded(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.keep = true
		w.store.calls = []store.Call{elsewhere("far")}
		w.sup.Started(w.legs.add("early"))
		for _, id := range []string{"ending", "past"} {
			w.call(id)
			w.sup.Ending(id, store.End{})
		}
		w.legs.end("past", store.End{})
		for id, want := range map[string]error{
			"far": ErrElsewhere, "ending": ErrEnding, "past": ErrEnding, "none": store.ErrNotFound,
		} {
			if _, err := w.sup.Probe(t.Context(), id); !errors.Is(err, want) {
				t.Errorf("probe %s: %v, want %v", id, err, want)
			}
			w.legs.change("ending", func(c *store.Call) { c.State = store.Ending })
			if err := w.sup.Hangup(t.Context(), id, "test"); !errors.Is(err, want) {
				t.Errorf("hang up %s: %v, want %v", id, err, want)
			}
		}
		answers, err := w.sup.Probe(t.Context(), "early")
		if err != nil || answers[0].Kind != store.Deferred || answers[1].Kind != store.Deferred {
			t.Errorf("early: %+v, %v", answers, err)
		}
	})
}

func TestTheOperatorEndsACall(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		if err := w.sup.Hangup(t.Context(), "c@callee", "fraud"); err != nil {
			t.Fatal(err)
		}
		want := []store.End{{Reason: store.Operator, Text: "fraud", At: time.Now()}}
		if diff := cmp.Diff(want, w.legs.released); diff != "" {
			t.Error(diff)
		}
		sleep(time.Minute)
		if n := w.legs.total(); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}
