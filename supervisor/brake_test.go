package supervisor

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
)

// crowdOf makes so many calls, on trunks "in" and "out", and lets their first
// probes be answered.
func (w *world) crowdOf(n int) {
	for i := range n {
		w.call(fmt.Sprintf("%03d", i))
	}
	sleep(10 * time.Second)
}

// spreadOut has the turns of all legs come at any time of an interval, as after
// a while of many calls.
func (s *Supervisor) spreadOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.calls {
		for i := range k.legs {
			if l := &k.legs[i]; !l.asking() {
				s.schedule(l, time.Since(s.made)+s.share(s.cfg.Interval))
			}
		}
	}
}

// quietCallees has the callees of these calls answer nothing from now on.
func (w *world) quietCallees(quiet func(id string) bool) {
	w.legs.mu.Lock()
	defer w.legs.mu.Unlock()
	w.legs.reply = func(id string, side store.Side) (reply, bool) {
		missed := reply{Answer: store.Answer{Kind: store.Timeout}, after: w.sup.cfg.Timeout}
		return missed, side == store.Callee && quiet(id)
	}
}

func everyone(string) bool   { return true }
func nobodyElse(string) bool { return false }

func below(most string) func(string) bool { return func(id string) bool { return id < most } }

// released is how many calls were told to end.
func (w *world) released() int {
	w.legs.mu.Lock()
	defer w.legs.mu.Unlock()
	return len(w.legs.released)
}

// wantBrake compares what there is to see: releases, held calls, silent callees
// and how often the brake engaged.
func (w *world) wantBrake(what string, released, held, silent int, engaged map[string]int) {
	w.t.Helper()
	type seen struct {
		Released, Held, Silent int
		Engaged                map[string]int
	}
	got := seen{w.released(), len(w.sup.Held()), w.counts().Legs[store.Callee][store.Silent], make(map[string]int)}
	for _, reason := range brakeReasons {
		if n := int(w.metric("sipvigil_supervisor_brake_total", reason)); n > 0 {
			got.Engaged[reason] = n
		}
	}
	if engaged == nil {
		engaged = map[string]int{}
	}
	if diff := cmp.Diff(seen{released, held, silent, engaged}, got); diff != "" {
		w.t.Errorf("%s: %s", what, diff)
	}
}

func TestANetworkThatIsGoneForAWhileEndsNoCall(t *testing.T) {
	test := func(change func(*Config)) {
		t.Helper()
		inWorld(t, change, func(t *testing.T, w *world) {
			w.sup.random = rand.Float64
			w.crowdOf(300)
			w.sup.spreadOut()
			w.quietCallees(everyone)
			sleep(10 * time.Minute)
			w.wantBrake("network gone", 0, 300, 300, map[string]int{"peer": 1})
			c, err := w.sup.Call(t.Context(), "007")
			if want := "300 of 300 legs behind trunk out do not answer"; err != nil || c.Legs[store.Callee].Held != want || c.Legs[store.Caller].Held != "" {
				t.Errorf("held: %q, want %q", c.Legs[store.Callee].Held, want)
			}
			w.quietCallees(nobodyElse)
			sleep(2 * time.Minute)
			w.wantBrake("network back", 0, 0, 0, map[string]int{"peer": 1})
			if n := w.counts().Legs[store.Callee][store.Alive]; n != 300 {
				t.Errorf("%d alive, want 300", n)
			}
			if n := len(w.sup.brake.engaged); n != 0 {
				t.Errorf("%d groups are engaged", n)
			}
		})
	}
	test(nil)
	test(func(c *Config) { c.Misses = 1 })
	test(func(c *Config) { c.Jitter = 1 })
	test(func(c *Config) { c.Timeout = 5 * time.Second })
	test(func(c *Config) { c.Timeout, c.Misses = time.Second, 1 })
}

func TestHalfOfATrunkGoneIsHeldUntilTheOperatorSaysOtherwise(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(300)
		w.quietCallees(below("150"))
		sleep(10 * time.Minute)
		w.wantBrake("half gone", 0, 150, 150, map[string]int{"peer": 1})
		releasing := func(want int) {
			t.Helper()
			if n := w.sup.Overview().Releasing; n != want {
				t.Errorf("%d are releasing, want %d", n, want)
			}
		}
		releasing(0)
		if n := w.sup.ReleaseHeld(); n != 150 {
			t.Errorf("to be released: %d", n)
		}
		synctest.Wait() // the first may be released at once
		releasing(150 - w.released())
		sleep(time.Second)
		if n := w.released(); n < 1 || n > 3 {
			t.Errorf("%d released after a second", n)
		}
		releasing(150 - w.released())
		sleep(149 * time.Second)
		w.wantBrake("released", 150, 0, 0, map[string]int{"peer": 1})
		releasing(0)
	})
}

func TestTheTrulyDeadEndAndNobodyElse(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(300)
		w.quietCallees(below("005"))
		sleep(3 * time.Minute)
		w.wantBrake("five dead", 5, 0, 0, nil)
		for i := range 300 {
			_, there := w.legs.Call(fmt.Sprintf("%03d", i))
			if there != (i >= 5) {
				t.Errorf("call %d is there: %v", i, there)
			}
		}
	})
}

func TestTheDeadEndAfterTheNetworkIsBack(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(300)
		w.quietCallees(everyone)
		sleep(5 * time.Minute)
		w.quietCallees(below("005"))
		sleep(90 * time.Second) // asked within 62 s; then few are silent, but not for an interval
		w.wantBrake("back", 0, 5, 5, map[string]int{"peer": 1})
		sleep(2 * time.Minute) // freed, and asked once more in vain
		w.wantBrake("asked once more", 5, 0, 0, map[string]int{"peer": 1})
	})
}

func TestASmallPartOfATrunkIsNoCrowd(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(300)
		w.quietCallees(below("050")) // one in six; but ten a minute are enough
		sleep(2 * time.Minute)
		w.wantBrake("found", 10, 40, 40, map[string]int{"rate": 1})
		sleep(5 * time.Minute)
		w.wantBrake("in the end", 50, 0, 0, map[string]int{"rate": 1})
	})
}

func TestAGroupIsEngagedWhileTooManyAreIllAndForAWhileAfter(t *testing.T) {
	g := group{calm: -1, freed: -1}
	cfg := Default()
	b := newBrake(&cfg)
	test := func(now time.Duration, fine, sick int, want bool) {
		t.Helper()
		g.legs[well], g.legs[ill] = fine, sick
		was := g.engaged
		if changed := g.look(now, 30*time.Second, b.many(&g)); g.engaged != want || changed != (was != want) {
			t.Errorf("at %v, %d of %d ill: engaged %v, changed %v", now, sick, fine+sick, g.engaged, changed)
		}
	}
	test(0, 0, 9, false)   // below the floor
	test(1, 41, 10, false) // below the share
	test(2, 40, 10, true)
	test(time.Second, 41, 10, true) // calm from now on
	test(30*time.Second, 41, 10, true)
	test(31*time.Second, 40, 10, true) // not calm any more
	test(40*time.Second, 50, 0, true)
	test(69*time.Second, 50, 0, true)
	test(70*time.Second, 50, 0, false)
	if g.freed != 70*time.Second || g.pace == nil {
		t.Errorf("freed: %+v", g)
	}
}

func TestAClockThatJumpsIsAStall(t *testing.T) {
	cfg := Default()
	b := newBrake(&cfg)
	test := func(steady, wall time.Duration, want bool) {
		t.Helper()
		if got := b.jumped(steady, wall); got != want {
			t.Errorf("%v and %v: %v", steady, wall, got)
		}
	}
	test(time.Second, time.Second, false)
	test(time.Second, 9*time.Second, false)
	test(time.Second, 10*time.Second, true)
	test(time.Second, -8*time.Second, true)
	inWorld(t, nil, func(t *testing.T, w *world) {
		sleep(time.Minute)
		w.wantBrake("no jump", 0, 0, 0, nil)
		w.sup.mu.Lock()
		w.sup.brake.wall = w.sup.brake.wall.Add(-time.Hour)
		w.sup.mu.Unlock()
		sleep(3 * time.Second)
		w.wantBrake("jump", 0, 0, 0, map[string]int{"stall": 1})
		sleep(34 * time.Second)
		w.sup.mu.Lock()
		defer w.sup.mu.Unlock()
		if w.sup.brake.blind {
			t.Error("still blind after a timeout")
		}
	})
}

func TestPeersAreGroupedByTrunkOrHost(t *testing.T) {
	test := func(trunk, address, want string) {
		t.Helper()
		c := store.Call{TrunkOut: trunk}
		c.Legs[store.Callee].Peer = address
		if got := peerOf(&c, store.Callee).String(); got != want {
			t.Errorf("%q at %q: %q, want %q", trunk, address, got, want)
		}
	}
	test("carrier", "192.0.2.1:5060", "trunk carrier")
	test("_other", "192.0.2.1:5060", "192.0.2.1")
	test("_other", "[2001:db8::1]:5060", "2001:db8::1")
	test("", "192.0.2.1", "192.0.2.1")
}

func TestGroupsAreForgottenWithTheirLastLeg(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(30)
		w.quietCallees(everyone)
		sleep(3 * time.Minute)
		for i := range 30 {
			if err := w.sup.Hangup(t.Context(), fmt.Sprintf("%03d", i), ""); err != nil {
				t.Fatal(err)
			}
		}
		sleep(time.Minute)
		w.call("a")
		w.sup.mu.Lock()
		defer w.sup.mu.Unlock()
		if b := &w.sup.brake; len(b.index) != 2 || len(b.groups) != 3 || len(b.held)+len(b.order)+len(b.engaged) != 0 {
			t.Errorf("%d groups, %d places, %d held, %d engaged", len(b.index), len(b.groups), len(b.held), len(b.engaged))
		}
	})
}

func TestAnotherTrunkIsNotHeldWithIt(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(50)
		w.legs.mu.Lock()
		w.legs.reply = func(id string, side store.Side) (reply, bool) {
			return nothing(), side == store.Callee || id == "049"
		}
		w.legs.mu.Unlock()
		sleep(5 * time.Minute)
		w.wantBrake("trunk out gone", 1, 49, 49, map[string]int{"peer": 1})
		if end := w.legs.released[0]; end.Reason != store.Caller.Silent() {
			t.Errorf("released by %s", end.Reason)
		}
	})
}

func TestAPeerThatSaysSoEndsAllItsCalls(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(300)
		w.legs.says(store.Callee, always(status(481)))
		sleep(time.Minute)
		w.wantBrake("481", 300, 0, 0, nil)
	})
}

func TestAStallEndsNoCall(t *testing.T) {
	test := func(change func(*Config)) {
		t.Helper()
		inWorld(t, change, func(t *testing.T, w *world) {
			w.crowdOf(5) // too few for a crowd
			w.quietCallees(everyone)
			n := 0
			w.legs.mu.Lock()
			w.legs.onProbe = func() {
				if n++; n == 10 { // all others are under way: at 34.51 s
					time.Sleep(2 * time.Minute)
				}
			}
			w.legs.mu.Unlock()
			time.Sleep(2 * time.Minute)
			w.quietCallees(nobodyElse)
			sleep(5 * time.Minute)
			w.wantBrake("after the stall", 0, 0, 0, map[string]int{"stall": 1})
			for _, s := range w.store.writes {
				if s.liveness == store.Silent {
					t.Errorf("%v was silent at %v", s.target, s.at)
				}
			}
			if n := w.counts().Legs[store.Callee][store.Alive]; n != 5 {
				t.Errorf("%d alive, want 5", n)
			}
		})
	}
	test(nil)
	test(func(c *Config) { c.Misses = 1 })
}

func TestSendsThatFailEndNoCall(t *testing.T) {
	inWorld(t, func(c *Config) { c.Brake.PerMinute = 1; c.Brake.Share = 1 }, func(t *testing.T, w *world) {
		w.crowdOf(30)
		w.legs.mu.Lock()
		w.legs.reply = func(string, store.Side) (reply, bool) { return unsent(), true }
		w.legs.mu.Unlock()
		sleep(5 * time.Minute)
		w.wantBrake("cannot send", 0, 0, 0, map[string]int{"stall": 1})
		w.quietCallees(nobodyElse)
		sleep(2 * time.Minute)
		w.wantBrake("can send again", 0, 0, 0, map[string]int{"stall": 1})
	})
}

func TestSilenceEndsSoManyCallsAMinute(t *testing.T) {
	inWorld(t, func(c *Config) { c.Brake.Floor = 3 }, func(t *testing.T, w *world) {
		w.strangers(200, 2) // no group of its own
		w.quietCallees(below("012"))
		for minute, want := range []int{0, 3, 6, 9, 12, 12} {
			sleep(time.Minute)
			if got := w.released(); got != want {
				t.Errorf("%d released in minute %d, want %d", got, minute+1, want)
			}
		}
		w.wantBrake("in the end", 12, 0, 0, map[string]int{"rate": 1})
	})
}

func TestTheBrakeIsLogged(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		core, logs := observer.New(zap.InfoLevel)
		w.sup.log = zap.New(core)
		w.crowdOf(30)
		w.quietCallees(everyone)
		sleep(5 * time.Minute)
		w.quietCallees(nobodyElse)
		sleep(5 * time.Minute)
		var got []map[string]any
		for _, e := range logs.All() {
			if strings.HasPrefix(e.Message, "brake") {
				m := e.ContextMap()
				m["message"] = e.Message
				if (m["held"] != int64(0)) != (len(got) == 0) {
					t.Errorf("%s: %v are held", e.Message, m["held"])
				}
				delete(m, "held")
				got = append(got, m)
			}
		}
		want := []map[string]any{
			{"message": "brake holds teardown by silence", "reason": "peer", "trunk": "out", "ill": int64(30), "legs": int64(30)},
			{"message": "brake lets go", "reason": "peer", "trunk": "out", "ill": int64(0), "legs": int64(30)},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAHeldCallCanBeHungUp(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.crowdOf(30)
		w.quietCallees(everyone)
		sleep(3 * time.Minute)
		if err := w.sup.Hangup(t.Context(), "007", "by hand"); err != nil {
			t.Fatal(err)
		}
		w.wantBrake("hung up", 1, 29, 29, map[string]int{"peer": 1})
		if n := w.metric("sipvigil_supervisor_held_calls"); n != 29 {
			t.Errorf("the metric has %v held calls", n)
		}
	})
}
