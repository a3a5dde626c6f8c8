package bubble

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sipvigil/store"
)

// deed is something that happens by itself, so long after the one before.
type deed struct {
	wait time.Duration
	what string
}

func (d deed) String() string { return fmt.Sprint(d.wait, " ", d.what) }

// story is the life of a call whose far ends both live, even if they do not
// always answer, until one of them may be lost in the end.
type story struct {
	alice, bob script
	deeds      []deed
	end        string // "lives", "dies" or "forgets": bob
}

var anyReply = rapid.Custom(func(t *rapid.T) reply {
	switch rapid.SampledFrom([]string{"answer", "answer", "dropped", "late", "slow", "twice", "refused", "lost"}).Draw(t, "reply") {
	case "answer":
		return reply{status: rapid.SampledFrom([]int{200, 200, 401, 407, 480, 486, 491, 500, 503}).Draw(t, "status")}
	case "dropped": // by the eighth transmission 20 % loss of both ways is 1 in 3,500
		return reply{status: 200, drop: rapid.IntRange(1, 8).Draw(t, "drop")}
	case "late":
		return reply{status: 200, after: time.Duration(rapid.IntRange(33, 60).Draw(t, "late")) * time.Second}
	case "slow":
		return reply{status: 200, after: time.Duration(rapid.IntRange(1, 31_000).Draw(t, "ms")) * time.Millisecond}
	case "twice":
		return reply{status: 200, twice: true}
	case "refused":
		return reply{status: rapid.SampledFrom([]int{405, 501}).Draw(t, "status")}
	default:
		return reply{lost: true}
	}
})

var anyScript = rapid.Custom(func(t *rapid.T) script {
	return script{
		blind:   rapid.Bool().Draw(t, "blind"),
		update:  rapid.Bool().Draw(t, "update"),
		mute:    rapid.Bool().Draw(t, "mute"),
		replies: rapid.SliceOfN(anyReply, 0, 20).Draw(t, "replies"),
	}
})

var anyStory = rapid.Custom(func(t *rapid.T) story {
	s := story{alice: anyScript.Draw(t, "alice"), bob: anyScript.Draw(t, "bob"),
		end: rapid.SampledFrom([]string{"lives", "dies", "forgets"}).Draw(t, "end")}
	for range rapid.IntRange(0, 12).Draw(t, "deeds") {
		s.deeds = append(s.deeds, deed{time.Duration(rapid.IntRange(1, 90_000).Draw(t, "ms")) * time.Millisecond,
			rapid.SampledFrom([]string{"alice talks", "bob talks", "probe", "restart", "wait"}).Draw(t, "deed")})
	}
	return s
})

// tell lets a story happen and says what was wrong with it.
func (s story) tell(t *testing.T) (fault error) {
	inWorld(t, func(w *world) {
		for _, d := range s.deeds {
			pass(d.wait)
			switch d.what {
			case "alice talks":
				w.alice.talk()
			case "bob talks":
				w.bob.talk()
			case "probe":
				w.probe()
			case "restart":
				w.restart()
			}
		}
		pass(40 * time.Minute) // until all that the scripts hold has been said
		c, err := w.call()
		switch fault = errors.Join(err, w.faults()); {
		case fault != nil:
		case c.State == store.Terminated:
			fault = w.silent(c.End)
		case w.alice.ended() || w.bob.ended():
			fault = fmt.Errorf("BYE was sent in a call that goes on: %+v", c)
		default:
			fault = s.lose(w, c.Legs[store.Callee])
		}
	}, s.alice, s.bob)
	return fault
}

// silence is how long a far end has sent nothing when it is taken for dead.
const silence = 2 * 32 * time.Second

// silent says what was wrong with the end of a call whose far ends both live:
// silence may end it, but only if it has lasted, and only of one that has ever
// answered what it was asked with.
func (w *world) silent(end store.End) error {
	for side, f := range map[store.Side]*farEnd{store.Caller: w.alice, store.Callee: w.bob} {
		if end.Reason == side.Silent() && !f.untried() && end.At.Sub(f.before(end.At)) >= silence {
			return nil
		}
	}
	return fmt.Errorf("a live call was ended: %+v; alice was heard at %v, bob at %v", end, w.alice.before(end.At), w.bob.before(end.At))
}

// probe asks both legs by hand, as an operator does.
func (w *world) probe() {
	for _, c := range w.calls() {
		go func() { _, _ = w.supervisor.Probe(w.t.Context(), c.ID) }()
	}
}

func (w *world) faults() error { return errors.Join(w.alice.fault(), w.bob.fault()) }

// lose has bob be lost, and says whether that was found when it could be.
func (s story) lose(w *world, bob store.Leg) error {
	finds, may := false, false
	switch s.end {
	case "dies":
		w.bob.die()
		finds = bob.Answers && bob.Liveness != store.Unsupported
		may = strings.Contains(w.bob.answers, "OPTIONS") // and is asked with that again
	case "forgets":
		w.bob.forget()
		finds = bob.Method != "" && !(bob.Calibration == "blind" && bob.Method == "OPTIONS")
	}
	pass(5 * time.Minute)
	if err := w.faults(); err != nil {
		return err
	}
	if ended := w.alice.ended(); ended != finds && !(ended && may) {
		return fmt.Errorf("bob %s: alice was sent BYE: %v, want %v; bob was %+v", s.end, ended, finds, bob.Health)
	}
	return nil
}

// Numbers never repeat or fall, and rise by exactly one unless sipvigil was
// started again; no call is ended of which both far ends were heard within two
// time-outs, and each dead one that can be found is.
func TestNoLiveCallIsEndedAndNumbersRise(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := anyStory.Draw(rt, "story")
		if err := s.tell(t); err != nil {
			rt.Fatal(err)
		}
	})
}
