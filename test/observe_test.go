package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sipvigil/store/storetest"
)

// happened is one line of the history of a call.
type happened struct {
	At   time.Time
	Kind string
	Leg  string
	Text string
	RTT  float64 `json:"rtt_ms"`
}

func (d *sipvigil) events(t *testing.T, id string) []happened {
	t.Helper()
	status, body := d.http("GET", "/api/v1/calls/"+id+"/events")
	var list struct{ Events []happened }
	if err := json.Unmarshal(body, &list); status != 200 || err != nil {
		t.Fatalf("events: %d %v: %s", status, err, body)
	}
	return list.Events
}

// kinds are those of the events of one leg, "" for both.
func kinds(list []happened, leg string) []string {
	var kinds []string
	for _, e := range list {
		if leg == "" || e.Leg == leg {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func TestObservedCallsGoOnAndAreJudgedAtTheirEnd(t *testing.T) {
	t.Parallel()
	c := gather(t, 3, "supervise: {action: observe}")
	gone, back, well := c.calls[0], c.calls[1], c.calls[2]
	counted := func(verdict string) float64 {
		return c.d.metric(`sipvigil_supervisor_observed_total{trunk="carrier",verdict="` + verdict + `"}`)
	}
	held := func(id, want string) {
		t.Helper()
		eventually(t, "the call is said to be dead", func() bool { s, _ := c.d.call(id); return strings.Contains(s.Callee.Held, want) })
	}

	gone.callee.Forget()
	back.callee.Silence()
	held(gone.id, "would have ended as callee-gone")
	held(back.id, "would have ended as callee-silent")
	probed(t, well.callee, 3)
	c.wantReleased()

	back.callee.Speak()
	eventually(t, "one verdict is known to be wrong", func() bool { return counted("wrong") == 1 })
	if s, _ := c.d.call(back.id); s.Callee.Held != "" || s.Callee.Liveness != "alive" {
		t.Errorf("a phone that is back: %+v", s.Callee)
	}
	if err := gone.caller.Bye(limit(t, patience)); err != nil { // nobody answers it with 200 on the other side
		t.Errorf("BYE: %v", err)
	}
	eventually(t, "the other is known to be right", func() bool { return counted("right") == 1 })
	hangUp(t, back.caller, back.callee)
	hangUp(t, well.callee, well.caller)
	for id, reason := range map[string]string{gone.id: "caller-bye", back.id: "caller-bye", well.id: "callee-bye"} {
		if s := c.d.terminated(id); s.EndedBy != reason {
			t.Errorf("ended by %q, want %q", s.EndedBy, reason)
		}
	}
	if right, wrong := counted("right"), counted("wrong"); right != 1 || wrong != 1 {
		t.Errorf("%v right, %v wrong, want 1 each", right, wrong)
	}

	var file []cdr
	eventually(t, "the records are written", func() bool { file, _ = c.records(); return len(file) == 3 })
	for _, r := range file {
		found, want := r.Observed != nil, r.ID != well.id
		switch {
		case found != want:
			t.Errorf("observed %v, want %v: %+v", found, want, r)
		case found && r.Observed.Right != (r.ID == gone.id):
			t.Errorf("%+v: right %v", r, r.Observed.Right)
		}
	}
	for id, want := range map[string]bool{gone.id: true, back.id: true, well.id: false} {
		if events := c.d.events(t, id); slices.Contains(kinds(events, "callee"), "observed") != want {
			t.Errorf("events: %+v", events)
		}
	}
}

func TestTheHistoryOfACallTellsWhyItEnded(t *testing.T) {
	t.Parallel()
	redisURL, server := storetest.Redis(t)
	cdrs := filepath.Join(t.TempDir(), "cdrs")
	config := filepath.Join(t.TempDir(), "sipvigil.yaml")
	if err := os.WriteFile(config, []byte("cdr: {file: "+cdrs+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, r := serve(t, redisURL, "--config", config), look(t, server)
	c := dial(t, d)
	proven(t, d, c)
	if res, err := c.callee.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
		t.Fatalf("INFO: %v, %v", res, err)
	}
	c.callee.Silence()
	released(t, c.caller)

	// It can be read while the call ends, and after it.
	events := d.events(t, c.id)
	for _, kind := range []string{"evidence", "answer", "miss", "verdict"} {
		if !slices.Contains(kinds(events, "callee"), kind) {
			t.Errorf("no %q of the callee in %+v", kind, events)
		}
	}
	if !slices.Contains(kinds(events, ""), "calibration") { // both phones are of one kind
		t.Errorf("no calibration in %+v", events)
	}
	if last := events[len(events)-1]; last.Kind != "verdict" || !strings.HasPrefix(last.Text, "callee-silent, 2 probes missed") {
		t.Errorf("the last event is %+v", last)
	}
	for i := 1; i < len(events); i++ {
		if events[i].At.Before(events[i-1].At) {
			t.Errorf("events are out of order: %+v", events)
		}
	}
	text, errs, code := tool(t, "calls", "show", c.id, "--server", "http://"+d.admin)
	if code != 0 || !strings.Contains(text, "callee-silent, 2 probes missed") || !strings.Contains(text, "INFO") {
		t.Errorf("calls show: %d %s\n%s", code, errs, text)
	}

	wantEnd(t, d, r, c.id, outcome{"callee-silent", "confirmed", "unconfirmed"})
	if events := d.events(t, c.id); events[len(events)-1].Kind != "end" {
		t.Errorf("the ended call: %+v", events)
	}
	var line string
	eventually(t, "the record is written", func() bool {
		b, _ := os.ReadFile(cdrs)
		line = string(b)
		return strings.HasSuffix(line, "\n") && len(r.stream("sv:cdr")) == 1
	})
	if stream := r.stream("sv:cdr")[0]; strings.TrimSpace(stream) != strings.TrimSpace(line) {
		t.Errorf("the file has %s, the stream %s", line, stream)
	}
}
