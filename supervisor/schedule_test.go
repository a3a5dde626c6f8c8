package supervisor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// seconds makes times from seconds.
func seconds(list ...float64) []time.Duration {
	var times []time.Duration
	for _, s := range list {
		times = append(times, time.Duration(math.Round(s*1000))*time.Millisecond)
	}
	return times
}

// check compares when the callee of call c was asked.
func (w *world) check(want ...float64) {
	w.t.Helper()
	if diff := cmp.Diff(seconds(want...), w.legs.times("c", store.Callee)); diff != "" {
		w.t.Error("asked at:", diff)
	}
}

func TestProbesKeepTheirBounds(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.sup.random = rand.Float64
		for i := range 200 {
			w.call(fmt.Sprint(i))
		}
		sleep(5 * time.Minute)
		var least, most time.Duration = time.Hour, 0
		for i := range 200 {
			for _, side := range store.Sides {
				times := w.legs.times(fmt.Sprint(i), side)
				if times[0] < 3*time.Second || times[0] > 6*time.Second {
					t.Fatalf("first probe after %v", times[0])
				}
				for j := range times[1:] {
					gap := times[j+1] - times[j] - 10*time.Millisecond // from the answer
					least, most = min(least, gap), max(most, gap)
				}
			}
		}
		if least < 27*time.Second || most > 33*time.Second {
			t.Errorf("between %v and %v to the next probe", least, most)
		}
		if least > 28*time.Second || most < 32*time.Second {
			t.Errorf("between %v and %v to the next probe: that is no jitter", least, most)
		}
	})
}

func TestNothingIsAskedBeforeTheCallIsConfirmed(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.sup.Started(w.legs.add("c"))
		sleep(time.Hour)
		w.check()
	})
}

func TestNoIntervalMeansNoProbes(t *testing.T) {
	inWorld(t, func(c *Config) { c.Interval = 0 }, func(t *testing.T, w *world) {
		w.call("c")
		sleep(50 * time.Second)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(time.Second)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "UPDATE", At: time.Now()})
		sleep(time.Hour)
		w.check()
		if h := w.store.last[target{"c", store.Callee}]; h.LastEvidence != "UPDATE" {
			t.Errorf("last stored evidence is %q", h.LastEvidence)
		}
	})
}

func TestEvidencePostponesTheNextProbe(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(20 * time.Second) // asked at 4.5 s, due at 34.51 s
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(29 * time.Second) // due at 50 s
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(time.Minute) // due at 79 s
		w.check(4.5, 79)
		if got := len(w.legs.times("c", store.Caller)); got != 4 {
			t.Errorf("the other leg was asked %d times, want 4", got)
		}
	})
}

func TestEvidenceDuringADeferredProbeIsNotLost(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		later := reply{Answer: store.Answer{Kind: store.Deferred}, after: time.Second}
		w.legs.says(store.Callee, inTurn(status(200), later, status(200)))
		w.call("c")
		sleep(35 * time.Second)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(40 * time.Second)
		w.check(4.5, 34.51, 65)
	})
}

func TestAnAnswerThatDeniesTheDialogPostponesNoProbe(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(404)))
		w.call("c")
		for range 4 {
			sleep(9 * time.Second)
			w.sup.Evidence("c", store.Callee, store.Evidence{What: "404 INFO"})
			w.sup.Evidence("c", store.Callee, store.Evidence{What: "late 404 OPTIONS"})
		}
		w.check(4.5, 34.51, 34.68)
		if got := w.legs.ends(); len(got) != 1 || got[0].Reason != store.Callee.Gone() {
			t.Errorf("released: %v", got)
		}
	})
}

func TestAnAnswerThatDeniesTheDialogIsNoSilence(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing(), nothing(), status(200)))
		w.call("c")
		sleep(80 * time.Second) // its second probe is missed, the third under way
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "404 REFER"})
		sleep(time.Minute)
		if got := w.health("c", store.Callee); got.Liveness != store.Alive || len(w.legs.ends()) > 0 {
			t.Errorf("%+v, released %v", got, w.legs.ends())
		}
	})
}

func TestEvidenceFromTheFutureIsThatOfNow(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		sleep(10 * time.Second)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now().Add(time.Hour)})
		sleep(40 * time.Second)
		w.check(4.5, 40)
	})
}

func TestEvidenceDoesNotPostponeTheFirstProbe(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(10 * time.Second)
		w.check(4.5)
	})
}

func TestEvidenceForgivesMisses(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		w.call("c")
		sleep(66600 * time.Millisecond) // 34.51 s: asked, 66.51 s: missed
		if got := w.health("c", store.Callee); got.Liveness != store.Suspect || got.Misses != 1 {
			t.Errorf("after a miss: %+v", got)
		}
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		if got := w.health("c", store.Callee); got.Liveness != store.Alive || got.Misses != 0 || got.LastEvidence != "INFO" {
			t.Errorf("after evidence: %+v", got)
		}
		sleep(28 * time.Second) // the re-probe was due at 66.67 s
		w.check(4.5, 34.51)
		if len(w.legs.released) > 0 {
			t.Error("released")
		}
	})
}

func TestAMissDoesNotCountWhenTheLegShowedItselfMeanwhile(t *testing.T) {
	inWorld(t, func(c *Config) { c.Misses = 1 }, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		w.call("c")
		sleep(60 * time.Second)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(30 * time.Second)
		w.check(4.5, 34.51, 90)
		if got := w.health("c", store.Callee); got.Liveness != store.Alive || len(w.legs.released) > 0 {
			t.Errorf("%+v, released %v", got, w.legs.released)
		}
	})
}

func TestALegThatNeverAnsweredIsNotJudgedBySilence(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, func(n int) reply {
			if n < 5 || n > 5 {
				return nothing()
			}
			return status(200)
		})
		w.call("c")
		sleep(70 * time.Second) // 4.5 s, 36.66 s; then a miss each 62 s
		if got := w.health("c", store.Callee); got.Liveness != store.Unsupported || got.Misses != 2 {
			t.Errorf("after two misses: %+v", got)
		}
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()}) // at 70 s
		if got := w.health("c", store.Callee); got.Liveness != store.Unsupported || got.Misses != 0 {
			t.Errorf("after evidence: %+v", got)
		}
		sleep(220 * time.Second)
		if got := w.health("c", store.Callee); got.Liveness != store.Alive || !got.Answers {
			t.Errorf("after an answer: %+v", got)
		}
		sleep(100 * time.Second)
		// at 286 s it answers: from then on it is judged
		w.check(4.5, 36.66, 100, 162, 224, 286, 316.01, 348.17)
		if len(w.legs.released) != 1 || w.legs.released[0].Reason != "callee-silent" {
			t.Errorf("released: %v", w.legs.released)
		}
	})
}

func TestTheNextMethodIsTakenWhenOneIsRefused(t *testing.T) {
	inWorld(t, func(c *Config) { c.Method = Auto }, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(405), status(200), status(501)))
		w.call("c")
		sleep(5 * time.Minute)
		w.check(4.5, 4.67, 34.68)
		var methods []string
		for _, s := range w.legs.sent[target{"c", store.Callee}] {
			methods = append(methods, s.method)
		}
		if diff := cmp.Diff([]string{"OPTIONS", "UPDATE", "UPDATE"}, methods); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRestoredCallsAreSpreadOverAnInterval(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.sup.random = rand.Float64
		had := store.Health{Liveness: store.Alive, LastAlive: time.Now().Add(-time.Second), Answers: true, Method: "OPTIONS"}
		for i := range 500 {
			w.restored(fmt.Sprint(i), time.Hour, had, had)
		}
		sleep(30*time.Second + longest)
		var tenth [10]int
		for i := range 500 {
			for _, side := range store.Sides {
				times := w.legs.times(fmt.Sprint(i), side)
				if len(times) == 0 {
					t.Fatal("not asked within an interval")
				}
				tenth[min(9, times[0]/(3*time.Second))]++
			}
		}
		for _, n := range tenth {
			if n < 50 || n > 150 {
				t.Fatalf("not spread evenly: %v", tenth)
			}
		}
	})
}

func TestARestoredCallWaitsForAnAckThatMayBeMissing(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.restored("c", 2*time.Second, store.Health{}, store.Health{})
		sleep(time.Minute)
		w.check(45) // 30 s until 64*T1 are over, and half an interval
	})
}

func TestARestoredCallOfAClockThatWasAheadIsWatchedAsAnyOther(t *testing.T) {
	inWorld(t, func(c *Config) { c.MaxDuration = 2 * time.Hour }, func(t *testing.T, w *world) {
		ahead := store.Health{Liveness: store.Alive, LastAlive: time.Now().Add(time.Hour), Answers: true, Method: "OPTIONS"}
		w.restored("c", -time.Hour, ahead, ahead)
		sleep(50 * time.Second)
		w.check(47)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO"})
		sleep(61 * time.Second)
		w.check(47, 80, 110.01)
		sleep(2*time.Hour - 111*time.Second)
		if len(w.legs.ends()) != 1 || w.legs.ends()[0].Reason != store.MaxDuration {
			t.Errorf("released: %v", w.legs.ends())
		}
	})
}

func TestToBeRestoredIsNoSignOfDeath(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(nothing(), status(200)))
		w.restored("c", time.Hour, store.Health{Answers: true, Liveness: store.Gone, Method: "OPTIONS"},
			store.Health{Answers: true, Liveness: store.Suspect, Misses: 1, Method: "OPTIONS"})
		if got := w.health("c", store.Callee); got.Liveness != store.Unproven || got.Misses != 0 {
			t.Errorf("restored: %+v", got)
		}
		sleep(2 * time.Minute)
		w.check(15, 47.16, 77.17, 107.18)
		if len(w.legs.released) > 0 {
			t.Errorf("released: %v", w.legs.released)
		}
	})
}

func TestARestoredLegKeepsItsMethod(t *testing.T) {
	inWorld(t, func(c *Config) { c.Method = Auto }, func(t *testing.T, w *world) {
		test := func(had store.Health, method string, answers bool) {
			t.Helper()
			w.restored(had.Method, time.Hour, store.Health{}, had)
			if got := w.health(had.Method, store.Callee); got.Method != method || got.Answers != answers {
				t.Errorf("had %+v, got %+v", had, got)
			}
		}
		test(store.Health{Method: "OPTIONS", Answers: true}, "OPTIONS", true)
		test(store.Health{Method: "INFO", Answers: true}, "OPTIONS", false)
		test(store.Health{Liveness: store.Unsupported}, "OPTIONS", false)
		test(store.Health{Method: "UPDATE", Answers: true, Calibration: "blind"}, "UPDATE", true)
	})
}

func TestProbesArePaced(t *testing.T) {
	inWorld(t, func(c *Config) { c.Rate = 100 }, func(t *testing.T, w *world) {
		for i := range 500 { // 1000 legs at once
			w.call(fmt.Sprint(i))
		}
		const together = int(100 * longest / time.Second) // what is gathered meanwhile
		sleep(4500 * time.Millisecond)
		if n := w.legs.total(); n != together {
			t.Errorf("%d probes at once, want %d", n, together)
		}
		sleep(4 * longest)
		if n := w.legs.total(); n < 5*together-1 || n > 5*together {
			t.Errorf("%d probes after %v, want %d", n, 4*longest, 5*together)
		}
		sleep(10 * time.Second)
		if n := w.legs.total(); n != 1000 {
			t.Errorf("%d probes in the end, want 1000", n)
		}
	})
}

func TestALostProbeDoesNotLeaveTheLegUnwatched(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), reply{never: true}, status(200)))
		w.call("c")
		sleep(165 * time.Second)
		w.check(4.5, 34.51, 34.51+4*32+1)
		if got := w.health("c", store.Callee); got.Liveness != store.Alive {
			t.Errorf("%+v", got)
		}
	})
}

func TestTheAnswerToALegThatIsForgottenChangesNothing(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Caller, always(reply{never: true}))
		w.call("1")
		sleep(10 * time.Second)
		w.sup.mu.Lock()
		l := &w.sup.calls["1"].legs[store.Caller]
		if !l.asking() {
			t.Error("is not being asked")
		}
		w.sup.mu.Unlock()
		w.sup.Drop("1")
		before := w.metric("sipvigil_supervisor_probes_total", "OPTIONS", "alive")
		w.sup.Answered(store.Reply{ID: "1", Side: store.Caller, Answer: store.Answer{Status: 200, Method: "OPTIONS", Of: l}})
		if n := w.metric("sipvigil_supervisor_probes_total", "OPTIONS", "alive") - before; n != 0 {
			t.Errorf("%v more probes", n)
		}
	})
}
