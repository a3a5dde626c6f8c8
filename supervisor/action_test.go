package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sipvigil/store"
)

// observing has the supervisor of a bubble end no calls of dead legs.
func observing(c *Config) { c.Action = Observe }

// verdicts is how many findings on a trunk proved right and wrong.
func (w *world) verdicts(trunk string) [2]float64 {
	return [2]float64{testutil.ToFloat64(w.sup.metrics.finding(trunk, true)), testutil.ToFloat64(w.sup.metrics.finding(trunk, false))}
}

func TestWhenObservingNoDeadLegEndsItsCall(t *testing.T) {
	tests := []struct {
		name string
		says reply
		want string // how it would have ended
	}{
		{"gone", status(481), "callee-gone, 481 OPTIONS"},
		{"silent", nothing(), "callee-silent, 2 probes missed, the last: no answer to OPTIONS"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, observing, func(t *testing.T, w *world) {
				w.legs.says(store.Callee, inTurn(status(200), test.says))
				w.call("c")
				sleep(10 * time.Minute)
				if len(w.legs.ends()) > 0 {
					t.Fatalf("released: %v", w.legs.ends())
				}
				c, err := w.sup.Call(t.Context(), "c")
				if err != nil {
					t.Fatal(err)
				}
				if want := "observed only: would have ended as " + test.want; c.Legs[store.Callee].Held != want {
					t.Errorf("held: %q, want %q", c.Legs[store.Callee].Held, want)
				}
				if n := len(w.legs.times("c", store.Callee)); n < 9 {
					t.Errorf("the leg was asked %d times only", n)
				}
			})
		})
	}
}

func TestAnObservedVerdictIsRightOrWrongInTheEnd(t *testing.T) {
	bye := func(side store.Side, callee store.Outcome) func(*world) {
		return func(w *world) {
			c, _ := w.legs.Call("c")
			c.End = store.End{Reason: side.Bye(), Released: [2]store.Outcome{store.ReleaseConfirmed, callee}}
			w.sup.Ended(c)
		}
	}
	tests := []struct {
		name  string
		then  func(*world)
		right [2]float64
	}{
		{"it does not know the BYE either", bye(store.Caller, store.ReleaseAlreadyGone), [2]float64{1, 0}},
		{"nor answers it", bye(store.Caller, store.ReleaseUnconfirmed), [2]float64{1, 0}},
		{"it answers the BYE", bye(store.Caller, store.ReleaseConfirmed), [2]float64{0, 1}},
		{"it hangs up itself", bye(store.Callee, store.ReleaseConfirmed), [2]float64{0, 1}},
		{"it shows itself", func(w *world) {
			w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
			bye(store.Caller, store.ReleaseUnconfirmed)(w)
		}, [2]float64{0, 1}},
		{"nothing happens", func(*world) {}, [2]float64{0, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(c *Config) { c.Trunks = map[string]Action{"out": Observe, "in": ""} }, func(t *testing.T, w *world) {
				w.legs.says(store.Callee, inTurn(status(200), status(481)))
				w.call("c")
				sleep(time.Minute)
				test.then(w)
				if got := w.verdicts("out"); got != test.right {
					t.Errorf("right and wrong: %v, want %v", got, test.right)
				}
			})
		})
	}
}

func TestTheFirstLegThatWasFoundDeadIsTheOneThatIsJudged(t *testing.T) {
	inWorld(t, func(c *Config) { c.Action, c.Trunks = Observe, map[string]Action{"out": Observe, "in": Observe} }, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(481)))
		w.legs.says(store.Caller, inTurn(status(200), status(200), status(200), status(481))) // its BYE is on the way
		w.call("c")
		for len(w.legs.times("c", store.Caller)) < 4 {
			sleep(100 * time.Millisecond)
		}
		sleep(time.Second) // for its answer
		c, _ := w.legs.Call("c")
		c.End = store.End{Reason: store.Caller.Bye(), Released: [2]store.Outcome{store.ReleaseConfirmed, store.ReleaseAlreadyGone}}
		w.sup.Ended(c)
		if out, in := w.verdicts("out"), w.verdicts("in"); out != [2]float64{1, 0} || in != [2]float64{0, 0} {
			t.Errorf("right and wrong: %v of the callee, %v of the caller, want one right of the callee", out, in)
		}
	})
}

func TestOnlyTheTrunkOfTheDeadLegDecidesWhatFollows(t *testing.T) {
	test := func(global Action, trunks map[string]Action, dead store.Side, ends bool) {
		t.Helper()
		inWorld(t, func(c *Config) { c.Action, c.Trunks = global, trunks }, func(t *testing.T, w *world) {
			w.legs.says(dead, inTurn(status(200), status(481)))
			w.call("c")
			sleep(time.Minute)
			if got := len(w.legs.ends()) > 0; got != ends {
				t.Errorf("%s, %v, dead %s: ended %v, want %v", global, trunks, dead, got, ends)
			}
		})
	}
	observed := map[string]Action{"out": Observe, "in": ""}
	test(Hangup, observed, store.Callee, false)
	test(Hangup, observed, store.Caller, true)
	trusted := map[string]Action{"out": Hangup, "in": ""}
	test(Observe, trusted, store.Callee, true)
	test(Observe, trusted, store.Caller, false)
}

func TestALegFoundDeadWronglyIsJudgedAnew(t *testing.T) {
	inWorld(t, observing, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(481), status(200), status(481)))
		w.call("c")
		sleep(70 * time.Second)
		if c, _ := w.sup.Call(t.Context(), "c"); c.Legs[store.Callee].Held != "" || w.verdicts("out") != [2]float64{0, 1} {
			t.Errorf("%+v", c.Legs[store.Callee])
		}
		sleep(time.Minute)
		if c, _ := w.sup.Call(t.Context(), "c"); !strings.HasPrefix(c.Legs[store.Callee].Held, "observed only") {
			t.Errorf("%+v", c.Legs[store.Callee])
		}
		w.legs.end("c", store.End{Reason: "caller-bye"})
	})
}

func TestObservedSilenceDoesNotUseUpWhatMayEndInAMinute(t *testing.T) {
	inWorld(t, func(c *Config) {
		c.Trunks = map[string]Action{"out": Observe, "in": ""}
		c.Brake.Floor = 1
	}, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		w.call("c")
		sleep(10 * time.Minute)
		if n := len(w.sup.brake.recent); n > 1 {
			t.Errorf("it was counted %d times", n)
		}
	})
}

func TestALegThatIsObservedForLongStaysGone(t *testing.T) {
	inWorld(t, observing, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), status(404)))
		w.call("c")
		sleep(5 * time.Minute)
		for range 600 {
			if got := w.health("c", store.Callee).Liveness; got != store.Gone {
				t.Fatalf("%s after %v", got, time.Since(w.zero))
			}
			sleep(30 * time.Second)
		}
		if n, most := len(w.legs.times("c", store.Callee)), 2+5*2+600; n > most {
			t.Errorf("asked %d times, at most %d are due", n, most)
		}
	})
}

func TestAnObservedVerdictLeavesTheProbeUnderWayAlone(t *testing.T) {
	inWorld(t, func(c *Config) { c.Action, c.Interval = Observe, 10*time.Second }, func(t *testing.T, w *world) {
		w.crowdOf(20)
		w.quietCallees(everyone)
		sleep(10 * time.Minute)
		if n := w.sup.ReleaseHeld(); n != 20 {
			t.Fatalf("%d are held", n)
		}
		sleep(10 * time.Minute) // nobody is asked while being asked
		if n := w.metric("sipvigil_supervisor_probes_total", "OPTIONS", "lost"); n != 0 {
			t.Errorf("%v probes are taken for lost", n)
		}
	})
}

func TestNoCallOutlastsTheMaximum(t *testing.T) {
	for _, interval := range []time.Duration{0, 30 * time.Second, 2 * time.Hour} {
		inWorld(t, func(c *Config) { c.Interval, c.MaxDuration = interval, time.Hour }, func(t *testing.T, w *world) {
			w.call("c")
			sleep(time.Hour - time.Millisecond)
			if len(w.legs.ends()) > 0 {
				t.Fatalf("interval %v: released early: %v", interval, w.legs.ends())
			}
			sleep(time.Millisecond)
			if len(w.legs.ends()) != 1 || w.legs.ends()[0].Reason != store.MaxDuration {
				t.Errorf("interval %v: released: %v", interval, w.legs.ends())
			}
		})
	}
}

func TestARestoredCallIsNoLongerThanTheMaximum(t *testing.T) {
	inWorld(t, func(c *Config) { c.MaxDuration = time.Hour }, func(t *testing.T, w *world) {
		w.restored("c", 59*time.Minute, store.Health{}, store.Health{})
		w.restored("d", 2*time.Hour, store.Health{}, store.Health{})
		sleep(time.Millisecond)
		if len(w.legs.ends()) != 1 {
			t.Errorf("released: %v", w.legs.ends())
		}
		sleep(time.Minute)
		if len(w.legs.ends()) != 2 {
			t.Errorf("released: %v", w.legs.ends())
		}
	})
}

func TestWhatWasFoundAndOnlyObservedHoldsNoOther(t *testing.T) {
	inWorld(t, observing, func(t *testing.T, w *world) {
		w.crowdOf(40)
		for _, dead := range []string{"005", "010", "015"} { // some at a time: they would be gone by then
			w.quietCallees(below(dead))
			sleep(5 * time.Minute)
		}
		w.wantBrake("fifteen dead", 0, 0, 15, nil)
		w.quietCallees(nobodyElse)
		sleep(2 * time.Minute)
		if n := w.verdicts("out"); n != [2]float64{0, 15} {
			t.Errorf("right and wrong: %v", n)
		}
		w.quietCallees(everyone)
		sleep(5 * time.Minute)
		w.wantBrake("all dead", 0, 40, 40, map[string]int{"peer": 1})
	})
	inWorld(t, observing, func(t *testing.T, w *world) {
		w.crowdOf(40)
		w.legs.says(store.Caller, always(status(481)))
		sleep(time.Minute) // all calls would be gone by then
		w.quietCallees(everyone)
		sleep(5 * time.Minute)
		w.wantBrake("callees of calls that were found dead", 0, 0, 40, nil)
	})
}
