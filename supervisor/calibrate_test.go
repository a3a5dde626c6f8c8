package supervisor

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// auto lets the supervisor of a bubble choose its methods.
func auto(c *Config) { c.Method = Auto }

// methods lists with what one leg was asked.
func (f *fakeLegs) methods(id string, side store.Side) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, s := range f.sent[target{id, side}] {
		names = append(names, s.method)
	}
	return names
}

func TestAMethodIsChosenByWhatTheFarEndIs(t *testing.T) {
	const all = options | update | invite
	test := func(m Method, isBlind bool, allowed, refused methods, want string) {
		t.Helper()
		if got := m.choose(isBlind, allowed, refused); got != want {
			t.Errorf("%s, blind %v, allows %b, refused %b: %q, want %q", m, isBlind, allowed, refused, got, want)
		}
	}
	test(Auto, false, all, 0, "OPTIONS")
	test(Auto, false, all, options, "UPDATE")
	test(Auto, false, all, options|update, "")
	test(Auto, true, all, 0, "UPDATE")
	test(Auto, true, options|invite, 0, "OPTIONS")
	test(Auto, true, all, update, "OPTIONS")
	test(Options, true, all, 0, "OPTIONS")
	test(Options, false, all, options, "")
	test(Update, false, all, 0, "UPDATE")
	test(Update, false, options|invite, 0, "OPTIONS")
	test(Reinvite, false, all, 0, "INVITE")
	test(Reinvite, false, all, invite, "UPDATE")
	test(Reinvite, false, options|invite, invite, "OPTIONS")
}

func TestAllowIsRead(t *testing.T) {
	test := func(allow string, want methods) {
		t.Helper()
		if got := allowedBy(allow); got != want {
			t.Errorf("%q: %b, want %b", allow, got, want)
		}
	}
	test("INVITE, ACK, UPDATE", options|invite|update)
	test("INVITE,UPDATE,ACK", options|invite|update)
	test("INVITE, ACK", options|invite)
	test("UPDATES", options|invite)
	test("", options|invite)
}

func TestAPeerIsCalibratedOnceForAllItsCalls(t *testing.T) {
	inWorld(t, auto, func(t *testing.T, w *world) {
		for i := range 10 {
			w.call(fmt.Sprint(i))
		}
		sleep(time.Minute)
		// Both sides have the same address, and another User-Agent.
		if n := len(w.legs.calibrated); n != 2 {
			t.Errorf("%d calibrations, want 2: %v", n, w.legs.calibrated)
		}
		for i := range 10 {
			if got := w.health(fmt.Sprint(i), store.Callee); got.Calibration != "discriminating" || got.Liveness != store.Alive {
				t.Fatalf("%+v", got)
			}
		}
		sleep(calibrationTime)
		if n := len(w.legs.calibrated); n != 4 {
			t.Errorf("%d calibrations after a lifetime, want 4: %v", n, w.legs.calibrated)
		}
	})
}

func TestABlindPeerIsAskedWithUpdate(t *testing.T) {
	inWorld(t, auto, func(t *testing.T, w *world) {
		w.legs.stranger = func(store.Side) reply { return status(200) }
		w.legs.says(store.Callee, inTurn(status(200), status(200), status(481)))
		w.call("c")
		sleep(2 * time.Minute)
		want := []string{"OPTIONS", "UPDATE", "UPDATE"}
		if diff := cmp.Diff(want, w.legs.methods("c", store.Callee)); diff != "" {
			t.Error(diff)
		}
		if len(w.legs.ends()) != 1 || w.legs.ends()[0].Reason != "callee-gone" {
			t.Errorf("released: %v", w.legs.ends())
		}
	})
}

// callBlind confirms call c with a peer that answers 200 to OPTIONS of any
// dialog and takes no UPDATE.
func (w *world) callBlind() {
	w.legs.stranger = func(store.Side) reply { return status(200) }
	c := w.legs.add("c")
	w.sup.Started(c)
	w.legs.change("c", func(c *store.Call) {
		c.State, c.Answered = store.Confirmed, time.Now()
		c.Legs[store.Callee].Allow = "INVITE, ACK, BYE, CANCEL, OPTIONS"
	})
	c, _ = w.legs.Call("c")
	w.sup.Confirmed(c)
}

func TestABlindPeerWithoutUpdateIsReachableOnly(t *testing.T) {
	inWorld(t, auto, func(t *testing.T, w *world) {
		w.callBlind()
		sleep(10 * time.Second)
		proven := w.health("c", store.Callee).LastAlive // by what came before it was known to be blind
		sleep(time.Minute)
		got := w.health("c", store.Callee)
		if got.Liveness != store.Reachable || got.Method != "OPTIONS" || !got.LastAlive.Equal(proven) {
			t.Errorf("%+v, want it reachable, and proven as of %v", got, proven)
		}
		w.legs.says(store.Callee, always(nothing()))
		sleep(3 * time.Minute)
		if len(w.legs.ends()) != 1 || w.legs.ends()[0].Reason != "callee-silent" {
			t.Errorf("released: %v", w.legs.ends())
		}
	})
}

func TestWhatIsKnownOfAPeerOutlivesASilence(t *testing.T) {
	c := calibration{}
	steps := []struct {
		answer store.Answer
		is     string
		until  time.Duration
	}{
		{store.Answer{Kind: store.Timeout}, unknown, unknownTime},
		{store.Answer{Status: 200}, blind, calibrationTime},
		{store.Answer{Kind: store.Unsent}, blind, unknownTime},
		{store.Answer{Status: 503}, blind, unknownTime},
		{store.Answer{Status: 481}, discriminating, calibrationTime},
		{store.Answer{Kind: store.Timeout}, discriminating, unknownTime},
	}
	for _, s := range steps {
		if c.learn(s.answer, 0); c.is != s.is || c.until != s.until {
			t.Errorf("after %+v: %s until %v, want %s until %v", s.answer, c.is, c.until, s.is, s.until)
		}
	}
}

func TestPeersWithoutCallsAreForgotten(t *testing.T) {
	k := make(kinds)
	for i := range 3 * mostKinds {
		l := store.Leg{Dialog: store.Dialog{Peer: "192.0.2.1:5060", UserAgent: fmt.Sprint(i)}}
		k.join(&l).legs--
	}
	if len(k) > mostKinds {
		t.Errorf("%d peers are remembered, want at most %d", len(k), mostKinds)
	}
}

func TestAnAnswerToAnotherMethodSaysNothingAboutThePresentOne(t *testing.T) {
	inWorld(t, auto, func(t *testing.T, w *world) {
		// It comes while OPTIONS is on its way that the far end is blind.
		w.legs.stranger = func(store.Side) reply { return status(200) }
		slow := status(200)
		slow.after = 20 * time.Millisecond
		w.legs.says(store.Callee, inTurn(slow, nothing()))
		w.call("c")
		sleep(5 * time.Second)
		if got := w.health("c", store.Callee); got.Liveness != store.Reachable || got.Answers || got.Method != "UPDATE" {
			t.Errorf("after OPTIONS: %+v, want it reachable, and that it answers UPDATE unknown", got)
		}
	})
}

func TestAnAnswerToOptionsIsNoEvidenceOfABlindPeer(t *testing.T) {
	inWorld(t, auto, func(t *testing.T, w *world) {
		w.callBlind()
		sleep(time.Minute)
		test := func(what string, want store.Liveness) {
			t.Helper()
			w.sup.Evidence("c", store.Callee, store.Evidence{What: what, At: time.Now()})
			if got := w.health("c", store.Callee).Liveness; got != want {
				t.Errorf("after %s it is %s, want %s", what, got, want)
			}
		}
		test("late 200 OPTIONS", store.Reachable) // of a probe
		test("200 OPTIONS", store.Reachable)      // of one that was relayed
		test("OPTIONS", store.Alive)              // it asks itself, inside the dialog
		sleep(time.Minute)
		test("late 200 OPTIONS", store.Reachable)
		test("200 INFO", store.Alive)

		// But whose answer is only late is not silent.
		w.legs.says(store.Callee, always(nothing()))
		sleep(90 * time.Second)
		test("late 200 OPTIONS", store.Reachable)
		sleep(time.Minute)
		test("late 200 OPTIONS", store.Reachable)
		sleep(time.Minute)
		if ends := w.legs.ends(); len(ends) > 0 {
			t.Errorf("it is ended: %+v", ends)
		}
	})
}
