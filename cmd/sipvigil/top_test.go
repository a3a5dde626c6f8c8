package main

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// topOf is the screen over these calls, once they are loaded.
func topOf(t *testing.T, f *fakeCalls) *screen {
	t.Helper()
	c, err := newClient(serve(t, f))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	s := newScreen(t.Context(), c)
	s.now = func() time.Time { return at("2026-03-01T11:25:00Z") }
	s.Update(tea.WindowSizeMsg{Width: 100, Height: 9})
	s.connected()
	return s
}

// connected has the stream of events opened, and reads the calls.
func (s *screen) connected() {
	_, read := s.Update(stream{})
	s.Update(read())
}

// press gives keys to the screen and does what they ask for.
func (s *screen) press(keys ...string) {
	named := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEsc, "down": tea.KeyDown, "up": tea.KeyUp, "f7": tea.KeyF7,
		"end": tea.KeyEnd, "f5": tea.KeyF5, "backspace": tea.KeyBackspace, " ": tea.KeySpace}
	for _, k := range keys {
		msg := tea.KeyPressMsg{Text: k}
		if code, ok := named[k]; ok {
			msg = tea.KeyPressMsg{Code: code}
		}
		if _, do := s.Update(msg); do != nil {
			s.Update(do())
		}
	}
}

var styles = regexp.MustCompile(`\x1b\[\d*m`)

// shows is the screen without its styles and the address in its head.
func (s *screen) shows() string {
	text := styles.ReplaceAllString(s.text(), "")
	head, rest, _ := strings.Cut(text, "\n")
	head, _, _ = strings.Cut(head, "  http") // the address is another one each time
	text = head + "\n" + rest
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n")
}

func wantScreen(t *testing.T, s *screen, want ...string) {
	t.Helper()
	if d := cmp.Diff(strings.Join(want, "\n"), s.shows()); d != "" {
		t.Errorf("screen (-want +got):\n%s", d)
	}
}

func TestTopListsFiltersAndMarksCalls(t *testing.T) {
	s := topOf(t, &fakeCalls{calls: sample()[:2]})
	shown := s.shows()
	for _, want := range []string{"alive ", "silent callee", "F7 filter  Enter open"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	s.press("f7", "s", "i", "l", "x", "backspace", "enter")
	if s.filter != "sil" || len(s.order) != 1 || s.id != sample()[1].ID {
		t.Errorf("filter %q leaves %d calls, the cursor on %s", s.filter, len(s.order), s.id)
	}
	if got := s.shows(); !strings.Contains(got, "F7 filter: sil (1 of 2)") || strings.Contains(got, "carrier-a") {
		t.Errorf("filtered:\n%s", got)
	}
	s.press("f7", "esc", "end", " ", "up", " ")
	if len(s.order) != 2 || len(s.marked) != 2 || !strings.Contains(s.shows(), "\n* ") {
		t.Errorf("%d calls, %d marked:\n%s", len(s.order), len(s.marked), s.shows())
	}
	s.press("f5")
	if len(s.marked) != 0 {
		t.Error("F5 leaves marks")
	}
}

func TestTopLosesNothingThatHappensWhileItReads(t *testing.T) {
	f := &fakeCalls{calls: sample()[:2]}
	s := topOf(t, f)
	one, two := sample()[0].ID, sample()[1].ID
	calls := func() map[string]string {
		got := make(map[string]string)
		for id, c := range s.calls {
			got[id] = c.Liveness
		}
		return got
	}
	_, read := s.Update(streamed{"reset", json.RawMessage("{}")})
	old := read() // on its way while the first call ends, and the second one answers again
	_, again := s.Update(streamed{"reset", json.RawMessage("{}")})
	s.Update(streamed{"ended", json.RawMessage(`{"id":"` + one + `"}`)})
	s.Update(streamed{"call", json.RawMessage(`{"id":"` + two + `","state":"confirmed","liveness":"alive"}`)})
	for _, list := range []func() tea.Msg{func() tea.Msg { return old }, again} {
		s.Update(list())
		if d := cmp.Diff(map[string]string{two: "alive"}, calls()); d != "" {
			t.Errorf("calls (-want +got):\n%s", d)
		}
	}
	_, read = s.Update(streamed{"reset", json.RawMessage("{}")})
	s.Update(read())
	if d := cmp.Diff(map[string]string{one: "alive", two: "silent"}, calls()); d != "" {
		t.Errorf("calls when what was heard is older (-want +got):\n%s", d)
	}
}

func TestTopSaysThatTheServerIsAwayAndReadsAgainWhenItIsBack(t *testing.T) {
	f := &fakeCalls{calls: sample()[:2]}
	s := topOf(t, f)
	s.Update(stream{errors.New("no answer from edge-1\nis it there?")})
	if !strings.Contains(s.shows(), "no answer from edge-1; is it there?") || len(s.calls) != 2 {
		t.Errorf("away:\n%s", s.shows())
	}
	f.calls = f.calls[:1]
	s.connected()
	if got := s.shows(); !strings.Contains(got, "answers again") || len(s.calls) != 1 {
		t.Errorf("back:\n%s", got)
	}
}

func TestTopHangsUpOnlyWhenToldTwice(t *testing.T) {
	f := &fakeCalls{calls: sample()[:2]}
	s := topOf(t, f)
	s.press("h", "n")
	if len(f.hungUp) > 0 || !strings.Contains(s.shows(), "nothing was hung up") {
		t.Errorf("hung up %v:\n%s", f.hungUp, s.shows())
	}
	s.press(" ", " ", "h")
	if !strings.Contains(s.shows(), "hang up 2 calls with BYE on both legs? y for yes") {
		t.Errorf("not asked:\n%s", s.shows())
	}
	s.press("y")
	if len(f.hungUp) != 2 || !strings.Contains(s.shows(), "calls that are being ended: 2") {
		t.Errorf("hung up %v:\n%s", f.hungUp, s.shows())
	}
}

func TestTopFollowsEvents(t *testing.T) {
	s := topOf(t, &fakeCalls{calls: sample()[:1]})
	tell := func(kind, data string) { s.Update(streamed{kind, json.RawMessage(data)}) }
	tell("call", `{"id":"zz","state":"confirmed","liveness":"alive","caller":{"uri":"<sip:new@pbx>","liveness":"alive"},"callee":{"liveness":"alive"}}`)
	s.press("end")
	if len(s.order) != 2 || s.id != "zz" {
		t.Fatalf("%d calls, cursor on %s", len(s.order), s.id)
	}
	tell("ended", `{"id":"`+sample()[0].ID+`"}`)
	if len(s.order) != 1 || s.id != "zz" || s.cursor != 0 {
		t.Errorf("%d calls, cursor on %s at %d", len(s.order), s.id, s.cursor)
	}
	tell("progress", `{"id":"A","what":"adoption","of":"edge-3","done":40,"total":100}`)
	tell("progress", `{"id":"B","what":"start","of":"edge-2","done":7}`)
	if got := s.shows(); !strings.Contains(got, "\nadoption of edge-3: 40/100, 40%; start of edge-2: 7\n") {
		t.Errorf("nothing is under way in\n%s", got)
	}
	tell("progress", `{"id":"B","what":"start","of":"edge-2","done":9,"ended":"2026-03-01T11:00:00.000Z"}`)
	if got := s.shows(); strings.Contains(got, "start of edge-2") {
		t.Errorf("what has ended is under way in\n%s", got)
	}
	tell("overview", `{"active":5,"calls_per_second":1.5,"live":3,"suspect":1,"held":1,"reclaimed_today":9,"nodes":{"up":2,"dead":1},"brake":[{"reason":"peer"}]}`)
	for _, want := range []string{"5 calls, 1.5/s  live 3, suspect 1, held 1  reclaimed today 9  nodes 2 up, 1 dead", "brake: peer, 1 calls held"} {
		if !strings.Contains(s.shows(), want) {
			t.Errorf("no %q in\n%s", want, s.shows())
		}
	}
}

func TestTopDrawsTheLadderOfACall(t *testing.T) {
	f := &fakeCalls{calls: sample()[:1], events: []supervisor.Event{
		{At: at("2026-03-01T11:00:07Z"), Kind: supervisor.EventConfirmed},
		{At: at("2026-03-01T11:00:12Z"), Kind: supervisor.EventAnswer, Side: store.Caller, Text: "200 OPTIONS", RTT: 12 * time.Millisecond},
		{At: at("2026-03-01T11:01:12Z"), Kind: supervisor.EventMiss, Side: store.Callee, Text: "no answer to OPTIONS"},
	}}
	s := topOf(t, f)
	s.Update(tea.WindowSizeMsg{Width: 90, Height: 14})
	s.press("enter")
	wantScreen(t, s,
		"0 calls, 0.0/s  live 0, suspect 0, held 0  reclaimed today 0  nodes 0 up, 0 dead",
		"",
		"0198c0de-0000-7000-8000-000000000001  +4930123456 → carrier.example  alive  pbx → carrier…",
		"caller  192.0.2.9:5060 udp  cseq ours 12 theirs 2  alive  discriminating",
		"        evidence 200 OPTIONS 12s ago  rtt 12.3 ms",
		"callee  198.51.100.7:5060 tcp  cseq ours 3 theirs 0  alive  discriminating",
		"        evidence 200 OPTIONS 12s ago  rtt 12.3 ms",
		"",
		"              caller                        sipvigil    callee",
		"11:00:07.000                                ├─ confirm",
		"11:00:12.000  200 OPTIONS 12.0 ms      ──►  │",
		"11:01:12.000                                │        ··✕ no answer to OPTIONS",
		"",
		"Esc list  p probe  h hang up  q back")
	s.press("esc")
	if s.open != "" {
		t.Error("Esc leaves the call open")
	}
}

func TestTopIsLeftByItsKeys(t *testing.T) {
	s := topOf(t, &fakeCalls{calls: sample()[:1]})
	leaves := func(key string) bool {
		do := s.key(key)
		if do == nil {
			return false
		}
		_, quit := do().(tea.QuitMsg)
		return quit
	}
	for _, key := range []string{"q", "f10", "ctrl+c"} {
		if !leaves(key) {
			t.Errorf("%s does not leave", key)
		}
	}
	s.press("enter")
	if s.open == "" || leaves("q") || s.open != "" {
		t.Error("q does not lead back from a call to the list")
	}
	s.press("f7")
	if leaves("q") || s.filter != "q" {
		t.Errorf("q is no letter of a filter: %q", s.filter)
	}
}

func TestTopNeedsATerminal(t *testing.T) {
	wantRun(t, run(t, "", "top"), ran{Code: 2, Errors: "sipvigil: top needs a terminal; sipvigil calls --watch does not\n"})
}
