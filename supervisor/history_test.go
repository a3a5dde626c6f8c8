package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// lines is the history of a call, one event a line.
func (w *world) lines(id string) []string {
	w.t.Helper()
	events, err := w.sup.Events(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%v %s %s %s %v", e.At.Sub(w.zero), e.Side, e.Kind, e.Text, e.RTT))
	}
	return lines
}

func TestACallHasAHistory(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.legs.says(store.Callee, inTurn(status(200), nothing()))
		challenge := status(401)
		challenge.after = 20 * time.Millisecond
		w.legs.says(store.Caller, always(challenge))
		w.call("c")
		sleep(10 * time.Second)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(20 * time.Second)
		want := []string{
			"0s caller confirm  0s",
			"4.51s callee answer 200 OPTIONS 10ms",
			"4.52s caller answer 401 OPTIONS 20ms",
			"10s callee evidence INFO 0s",
		}
		if diff := cmp.Diff(want, w.lines("c")); diff != "" {
			t.Error(diff)
		}
		sleep(2 * time.Minute) // it has ended meanwhile
		want = append(want,
			"34.54s caller answer 401 OPTIONS 20ms",
			"1m4.56s caller answer 401 OPTIONS 20ms",
			"1m12s callee miss no answer to OPTIONS 0s",
			"1m34.58s caller answer 401 OPTIONS 20ms",
			"1m44.16s callee miss no answer to OPTIONS 0s",
			"1m44.16s callee verdict callee-silent, 2 probes missed, the last: no answer to OPTIONS 0s",
			"1m44.16s caller end callee-silent 0s")
		if diff := cmp.Diff(want, w.lines("c")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOnlyTheLastEventsAreKept(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("c")
		for i := range 100 {
			w.sup.Evidence("c", store.Callee, store.Evidence{What: fmt.Sprint(i), At: time.Now()})
		}
		lines := w.lines("c")
		if len(lines) != historyLength || lines[0] != "0s callee evidence 68 0s" || lines[31] != "0s callee evidence 99 0s" {
			t.Errorf("%d lines: %q", len(lines), lines)
		}
	})
}

func TestTheHistoryOfASupervisorThatIsOldHasItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Node = "here"
		w := newWorld(t, cfg)
		const age = 497*24*time.Hour + time.Hour // just before 2^32 centiseconds
		sleep(age)
		w.call("c")
		sleep(2 * time.Hour)
		w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		sleep(time.Hour)
		want := []string{
			fmt.Sprintf("%v caller confirm  0s", age),
			fmt.Sprintf("%v callee evidence INFO 0s", age+2*time.Hour),
		}
		if diff := cmp.Diff(want, w.lines("c")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTheTextsOfHistoriesAreBounded(t *testing.T) {
	inWorld(t, func(c *Config) { c.Interval = 0 }, func(t *testing.T, w *world) {
		say := func(id, text string) {
			w.sup.Evidence(id, store.Callee, store.Evidence{What: text, At: time.Now()})
		}
		last := func(id, want string) {
			t.Helper()
			lines := w.lines(id)
			if got := lines[len(lines)-1]; !strings.Contains(got, want) {
				t.Errorf("the last line of %s is %q, want %q", id, got, want)
			}
		}
		w.call("a")
		w.call("b")
		say("a", "is kept")
		for i := range mostTexts {
			say("b", fmt.Sprint("text ", i))
		}
		last("b", "evidence … ") // who has the others may be in no list just now
		if n := len(w.sup.texts.all); n != mostTexts {
			t.Errorf("%d texts are kept, want %d", n, mostTexts)
		}
		last("a", "evidence is kept ")
		sleep(tidyEvery)
		say("b", "new")
		last("b", "evidence new ")
		last("a", "evidence is kept ")
		if n := len(w.sup.texts.all); n != mostTexts {
			t.Errorf("%d texts are kept, want %d", n, mostTexts)
		}
	})
}

func TestTheTextsOfCallsThatEndedLatelyAreKept(t *testing.T) {
	inWorld(t, func(c *Config) { c.Interval = 0; c.Keep = 3 * tidyEvery }, func(t *testing.T, w *world) {
		w.call("a")
		w.call("b")
		w.sup.Evidence("a", store.Caller, store.Evidence{What: "is kept", At: time.Now()})
		if err := w.sup.Hangup(t.Context(), "a", ""); err != nil {
			t.Fatal(err)
		}
		for i := range 3 * mostTexts {
			w.sup.Evidence("b", store.Callee, store.Evidence{What: fmt.Sprint("text ", i), At: time.Now()})
			if i%mostTexts == 0 {
				sleep(tidyEvery - time.Second)
			}
		}
		if lines := strings.Join(w.lines("a"), "; "); !strings.Contains(lines, "evidence is kept") {
			t.Errorf("of a: %s", lines)
		}
	})
}

func TestTheHistoryOfAnotherNodesCallIsThere(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.store.calls = []store.Call{{ID: "d", Node: "there"}}
		_, err := w.sup.Events(t.Context(), "d")
		if want := "events: call d: call belongs to another node: there"; err == nil || err.Error() != want {
			t.Errorf("error: %v, want %s", err, want)
		}
	})
}
