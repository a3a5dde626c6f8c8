package supervisor

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// fakeTrunks are trunks that are monitored. They answer within a second when
// they are asked, unless they fail.
type fakeTrunks struct {
	mu      sync.Mutex // guards what follows
	failing bool
	proved  time.Time // when "out" answered last
	mended  time.Time
	asked   []string
}

func (f *fakeTrunks) doubt(trunk string, since time.Time) (Doubt, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case trunk != "out":
		return NoDoubt, time.Time{}
	case f.failing:
		return Failing, f.mended
	case f.proved.After(since):
		return NoDoubt, f.mended
	}
	f.asked = append(f.asked, time.Since(since).String())
	f.proved = time.Now().Add(time.Nanosecond)
	return Asking, f.mended
}

func (f *fakeTrunks) prove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proved = time.Now()
}

func (f *fakeTrunks) fail(failing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing && !failing {
		f.mended = time.Now()
	}
	f.failing = failing
}

// besideTrunks is inWorld with one call, whose callee has answered once.
func besideTrunks(t *testing.T, test func(*testing.T, *world, *fakeTrunks)) {
	t.Helper()
	f := &fakeTrunks{}
	inWorld(t, func(c *Config) { c.Doubt = f.doubt }, func(t *testing.T, w *world) {
		w.call("a")
		sleep(10 * time.Second)
		test(t, w, f)
	})
}

// silent is when silence is found: the callee is asked after 4.5 s, 34.51 s and
// 66.67 s, the last two times for 32 s; and ten seconds have passed.
const silent = 98670*time.Millisecond - 10*time.Second

func TestSilenceBehindATrunkThatAnswersEndsTheCallOnceTheTrunkWasAsked(t *testing.T) {
	besideTrunks(t, func(t *testing.T, w *world, f *fakeTrunks) {
		w.quietCallees(everyone)
		sleep(silent)
		w.wantBrake("silent", 0, 1, 1, nil)
		if got, want := w.sup.Held()[0].Reason, "waits until trunk out itself has been asked"; got != want {
			t.Errorf("held: %q, want %q", got, want)
		}
		sleep(time.Second)
		w.wantBrake("the trunk has answered", 1, 0, 0, nil)
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.asked) != 1 || f.asked[0] != "32s" {
			t.Errorf("the trunk was asked about the last %v, want once, about 32s", f.asked)
		}
	})
}

func TestSilenceBehindATrunkThatHasAnsweredSinceEndsTheCallAtOnce(t *testing.T) {
	besideTrunks(t, func(t *testing.T, w *world, f *fakeTrunks) {
		w.quietCallees(everyone)
		sleep(silent - time.Second)
		f.prove()
		sleep(time.Second)
		w.wantBrake("silent", 1, 0, 0, nil)
	})
}

func TestSilenceBehindATrunkThatFailsEndsNoCall(t *testing.T) {
	besideTrunks(t, func(t *testing.T, w *world, f *fakeTrunks) {
		w.quietCallees(everyone)
		f.fail(true)
		sleep(time.Hour)
		w.wantBrake("the trunk fails", 0, 1, 1, map[string]int{"trunk": 1})
		if got, want := w.sup.Held()[0].Reason, "trunk out does not answer either"; got != want {
			t.Errorf("held: %q, want %q", got, want)
		}
		if diff := cmp.Diff([]Braking{{Reason: "trunk", Trunk: "out"}}, w.sup.Overview().Brake); diff != "" {
			t.Errorf("overview: %s", diff)
		}
		w.quietCallees(nobodyElse)
		sleep(time.Minute)
		f.fail(false)
		sleep(time.Minute)
		w.wantBrake("it is back, and so is the callee", 0, 0, 0, map[string]int{"trunk": 1})
		if n := len(w.sup.brake.failing); n != 0 {
			t.Errorf("%d trunks fail", n)
		}
	})
}

func TestWhatIsStillSilentBehindATrunkThatIsBackIsAskedOnceMoreBeforeItEnds(t *testing.T) {
	besideTrunks(t, func(t *testing.T, w *world, f *fakeTrunks) {
		w.quietCallees(everyone)
		f.fail(true)
		sleep(silent)
		w.wantBrake("the trunk fails", 0, 1, 1, map[string]int{"trunk": 1})
		f.fail(false)
		sleep(2 * time.Second)
		if got, want := w.sup.Held()[0].Reason, "is asked once more before it ends"; got != want {
			t.Errorf("held: %q, want %q", got, want)
		}
		before := len(w.legs.times("a", store.Callee))
		sleep(28*time.Second + 32*time.Second - time.Millisecond) // its turn comes 30 s after it was found silent
		w.wantBrake("it is being asked", 0, 1, 1, map[string]int{"trunk": 1})
		if n := len(w.legs.times("a", store.Callee)) - before; n != 1 {
			t.Errorf("it was asked %d times, want once", n)
		}
		sleep(time.Second + time.Millisecond)
		w.wantBrake("it has not answered", 1, 0, 0, map[string]int{"trunk": 1})
	})
}

func TestACallThatItsFarEndDoesNotKnowEndsBehindAnyTrunk(t *testing.T) {
	besideTrunks(t, func(t *testing.T, w *world, f *fakeTrunks) {
		f.fail(true)
		w.legs.says(store.Callee, always(status(481)))
		sleep(time.Minute)
		if ends := w.legs.ends(); len(ends) != 1 || ends[0].Reason != store.Callee.Gone() {
			t.Errorf("ended: %+v", ends)
		}
	})
}

func TestATrunkThatFailsIsForgottenWithItsLastCall(t *testing.T) {
	besideTrunks(t, func(t *testing.T, w *world, f *fakeTrunks) {
		w.quietCallees(everyone)
		f.fail(true)
		sleep(2 * time.Minute)
		w.legs.end("a", store.End{Reason: store.Callee.Bye()})
		f.fail(false)
		sleep(time.Second)
		w.sup.mu.Lock()
		defer w.sup.mu.Unlock()
		if n := len(w.sup.brake.index); n != 0 || len(w.sup.brake.failing) != 0 {
			t.Errorf("%d groups are left, failing: %v", n, w.sup.brake.failing)
		}
	})
}
