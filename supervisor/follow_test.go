package supervisor

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// diary is a Follower that writes down what it is told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) Changed(id string) { d.write(id + " changed") }
func (d *diary) Heard(id string)   { d.write(id + " heard") }
func (d *diary) Ended(r *CDR)      { d.write(r.ID + " ended " + r.EndedBy) }
func (d *diary) Left(id string)    { d.write(id + " left") }

func (d *diary) Braked(b Braking, engaged bool) {
	if engaged {
		d.write("brake " + b.Reason)
	} else {
		d.write("brake off " + b.Reason)
	}
}

// read returns what was written since it was called before, each line once for
// each time that it comes in a row.
func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := slices.Compact(d.lines)
	d.lines = nil
	return lines
}

func TestAFollowerIsToldWhatHappensToACall(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		var d diary
		w.sup.Follow(&d)
		test := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, d.read()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		c := w.legs.add("1")
		w.sup.Started(c)
		test("1 changed")
		w.legs.change("1", func(c *store.Call) { c.State, c.Answered = store.Confirmed, time.Now() })
		c, _ = w.legs.Call("1")
		w.sup.Confirmed(c)
		test("1 changed")
		w.sup.Evidence("1", store.Caller, store.Evidence{What: "INFO", At: time.Now()})
		test("1 heard", "1 changed") // it proves alive
		w.sup.Evidence("1", store.Caller, store.Evidence{What: "INFO", At: time.Now()})
		test("1 heard")
		sleep(6 * time.Second)
		if got := d.read(); !slices.Contains(got, "1 changed") { // the callee does, too
			t.Errorf("a leg that proves alive is told as %v", got)
		}
		sleep(30 * time.Second)
		test("1 heard")
		w.legs.says(store.Callee, always(status(481)))
		sleep(40 * time.Second)
		test("1 heard", "1 changed", "1 ended callee-gone")

		w.call("2")
		d.read()
		w.sup.Drop("2")
		test("2 left")
	})
}

func TestOverviewCountsCallsByTheirWorseLeg(t *testing.T) {
	inWorld(t, func(c *Config) { c.Brake.Floor = 2 }, func(t *testing.T, w *world) {
		test := func(want Overview) {
			t.Helper()
			if diff := cmp.Diff(want, w.sup.Overview()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			w.call(id)
		}
		w.sup.Started(w.legs.add("6")) // rings
		test(Overview{Active: 6, Unproven: 5})
		sleep(time.Second)
		test(Overview{Active: 6, Unproven: 5, PerSecond: 6. / startSeconds})
		sleep(startSeconds * time.Second)
		test(Overview{Active: 6, Live: 5})
		w.legs.says(store.Callee, always(nothing()))
		sleep(75 * time.Second) // a probe each is missed
		got := w.sup.Overview()
		if got.Suspect != 5 || got.Live != 0 {
			t.Errorf("after a miss: %+v", got)
		}
		sleep(2 * time.Minute)
		got = w.sup.Overview()
		if got.Held != 5 || len(got.Brake) == 0 || got.Brake[0].Reason != "peer" {
			t.Errorf("all are silent: %+v", got)
		}
		w.legs.says(store.Callee, always(status(481)))
		sleep(2 * time.Minute)
		got = w.sup.Overview()
		if got.Active != 1 || got.Suspect+got.Live+got.Unproven+got.Held != 0 || got.Reclaimed != 10 {
			t.Errorf("all are gone: %+v", got)
		}
		sleep(24 * time.Hour)
		if got = w.sup.Overview(); got.Reclaimed != 0 {
			t.Errorf("the next day %d are reclaimed", got.Reclaimed)
		}
	})
}

func TestStartsAreCountedOverWholeSeconds(t *testing.T) {
	var s starts
	zero := time.Unix(1_000_000, 0)
	for i := range 20 {
		for range i {
			s.add(zero.Add(time.Duration(i) * time.Second))
		}
	}
	test := func(after time.Duration, want float64) {
		t.Helper()
		if got := s.rate(zero.Add(after)); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	test(19*time.Second, (14.+15+16+17+18)/5)
	test(20*time.Second, (15.+16+17+18+19)/5)
	test(24*time.Second, 19./5)
	test(25*time.Second, 0)
	test(9*time.Second, 0) // the clock was set back
}
