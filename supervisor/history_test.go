package supervisor

import (
	"fmt"
	"testing"
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

func TestTheTextsOfHistoriesAreBounded(t *testing.T) {
	texts := newTexts()
	for i := range 2 * mostTexts {
		texts.keep(fmt.Sprint(i))
	}
	if n := len(texts.all); n != mostTexts {
		t.Errorf("%d texts are kept, want %d", n, mostTexts)
	}
	if got := texts.all[texts.keep("7")]; got != "7" {
		t.Errorf("a text that is known is %q", got)
	}
	if got := texts.all[texts.keep("new")]; got != "…" {
		t.Errorf("a text too many is %q", got)
	}
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
