package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// telling is a server of events: each request gets the next of these answers,
// and then its connection breaks.
type telling struct {
	answers []string
	asked   []string // Last-Event-ID of each request
}

func (s *telling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked = append(s.asked, r.Header.Get("Last-Event-ID"))
	if len(s.answers) == 0 {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, s.answers[0])
	s.answers = s.answers[1:]
}

const (
	endedEvent = `id: run-2
event: ended
data: {"id":"c1","ended_by":"callee-silent","end_text":"2 probes missed","caller":{"uri":"<sip:ann@pbx>"},"callee":{"uri":"<sip:bob@pbx>"}}

`
	callEvent = `id: run-1
event: call
data: {"id":"c1","state":"confirmed","liveness":"suspect","caller":{"uri":"<sip:ann@pbx>","liveness":"alive","last_evidence":"200 OPTIONS"},"callee":{"uri":"<sip:bob@pbx>","liveness":"suspect","held":"held: the network"}}

`
	overviewEvent = "event: overview\ndata: {\"active\":7}\n\n"
	storeEvent    = "id: run-3\nevent: store\ndata: {\"state\":\"degraded\",\"backend\":\"redis\",\"pending\":3,\"error\":\"\"}\n\n"
)

// followed returns what a client reads until it has n events.
func followed(t *testing.T, s *telling, n int) (read []string, lost int) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c, err := newClient(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err = c.follow(ctx, func(e streamed) error {
		read = append(read, e.Event+" "+string(e.Data))
		if len(read) == n {
			stop()
		}
		return nil
	}, func(err error) {
		if err != nil {
			lost++
		}
	})
	if err != nil {
		t.Error(err)
	}
	return read, lost
}

func TestAStreamOfEventsGoesOnWhereItBroke(t *testing.T) {
	s := &telling{answers: []string{"retry: 2000\n\n" + overviewEvent + callEvent, endedEvent + ":\n\n"}}
	read, lost := followed(t, s, 3)
	kinds := make([]string, len(read))
	for i, e := range read {
		kinds[i], _, _ = strings.Cut(e, " ")
	}
	if d := cmp.Diff([]string{"overview", "call", "ended"}, kinds); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"", "run-1"}, s.asked); d != "" || lost != 1 {
		t.Errorf("%d breaks, Last-Event-ID (-want +got):\n%s", lost, d)
	}
}

func TestEventsOfAServerThatIsNoneAreRefused(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	got := run(t, s.URL, "events")
	if got.Code != 2 || !strings.Contains(got.Errors, "is not sipvigil's API") {
		t.Errorf("%+v", got)
	}
}

func TestEventsReadAsLines(t *testing.T) {
	for in, want := range map[string]string{
		callEvent:                    "c1  ann → bob  suspect (held)  caller: 200 OPTIONS, held: the network",
		endedEvent:                   "c1  ann → bob  callee-silent, 2 probes missed",
		storeEvent:                   "state: degraded, backend: redis, pending: 3",
		overviewEvent:                "active: 7",
		"event: reset\ndata: {}\n\n": "more happened than can be shown",
		"event: reset\ndata: {\"node\":\"edge-2\"}\n\n": "more may have happened on edge-2 than is shown",
	} {
		var e streamed
		for line := range strings.Lines(in) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch name {
			case "event":
				e.Event = value
			case "data":
				e.Data = json.RawMessage(value)
			}
		}
		if got, err := eventText(e); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", e.Event, got, err, want)
		}
	}
}

func TestEventsAreChosenByType(t *testing.T) {
	errStop := errors.New("enough")
	server := httptest.NewServer(&telling{answers: []string{overviewEvent + callEvent + endedEvent + storeEvent}})
	defer server.Close()
	out := &stopping{after: 1, err: errStop}
	tool := tool{now: time.Now, stdout: out, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }}
	if code := tool.run(t.Context(), []string{"events", "--server", server.URL, "-o", "jsonl", "--type", "ended"}); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if !strings.HasPrefix(out.written.String(), `{"event":"ended","data":{"id":"c1",`) {
		t.Errorf("got %s", &out.written)
	}
	wantRun(t, run(t, "", "events", "--type", "all", "-o", "csv"), ran{Code: 2, Errors: "sipvigil: --type: \"all\" is none of call, ended, trunk, node, store, brake, batch, progress, overview, reset\n" +
		"sipvigil: --output: events have no columns; use table or jsonl\n"})
}

// stopping is a terminal that is closed after some lines.
type stopping struct {
	written bytes.Buffer
	after   int
	err     error
	begun   chan struct{} // closed with the first line; nil: nobody waits for it
}

func (s *stopping) Write(b []byte) (int, error) {
	n, _ := s.written.Write(b)
	if s.begun != nil && n == s.written.Len() {
		close(s.begun)
	}
	if s.after--; s.after <= 0 {
		return n, s.err
	}
	return n, nil
}

func TestWatchShowsTheListAgainWhenSomethingHappens(t *testing.T) {
	before, after := serve(t, &fakeCalls{calls: sample()[:1]}), serve(t, &fakeCalls{calls: sample()[:2]})
	var looks atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/calls", func(w http.ResponseWriter, r *http.Request) {
		calls := before
		if looks.Add(1) > 1 {
			calls = after
		}
		http.Redirect(w, r, calls+r.URL.String(), http.StatusTemporaryRedirect)
	})
	out := &stopping{after: 2, err: errors.New("enough"), begun: make(chan struct{})} // lists
	events := &telling{answers: []string{overviewEvent + callEvent}}
	mux.HandleFunc("/api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		<-out.begun
		events.ServeHTTP(w, r)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	tool := tool{now: time.Now, stdout: out, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }}
	if code := tool.run(t.Context(), []string{"calls", "--watch", "--server", server.URL}); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(out.written.String(), "carrier-a"); n != 2 || !strings.Contains(out.written.String(), "carrier-b") {
		t.Errorf("the list was shown %d times:\n%s", n, &out.written)
	}
}

// away is a server that is there for the first request, away for the next ones, and
// back then.
type away struct {
	next http.Handler
	many int
	seen int
}

func (a *away) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.seen++; a.seen > 1 && a.seen <= 1+a.many {
		panic(http.ErrAbortHandler)
	}
	a.next.ServeHTTP(w, r)
}

// breaking is a server whose connections serve one request each: a client sends one
// that broke with the connection of another again by itself.
func breaking(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.SetKeepAlivesEnabled(false)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestWatchGoesOnWhenTheServerIsBack(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/api/v1/calls", &away{next: http.RedirectHandler(serve(t, &fakeCalls{calls: sample()[:1]})+"/api/v1/calls", http.StatusTemporaryRedirect), many: 2})
	mux.Handle("/api/v1/events", &away{next: &telling{answers: []string{callEvent, callEvent}}, many: 1})
	server := breaking(t, mux)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var errs bytes.Buffer
	out := &interrupting{after: 2, stop: stop} // lists: the same one is shown again over what was said
	tool := tool{now: func() time.Time { return noon2026 }, stdout: out, stderr: &errs, getenv: func(string) string { return "" }}
	if code := tool.run(ctx, []string{"calls", "--watch", "--server", server.URL}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(out.text.String(), "carrier-a"); n != 2 {
		t.Errorf("the list was shown %d times:\n%s", n, &out.text)
	}
	if want := "sipvigil: no answer from " + server.URL + ": EOF; trying again\n"; errs.String() != want {
		t.Errorf("said %q, want %q", &errs, want)
	}
}

func TestWatchShowsNoMoreThanTheTerminalDoes(t *testing.T) {
	t.Parallel()
	server := goldenServer(t)
	watched := func(height int) string {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		out := &interrupting{after: 1, stop: stop}
		tool := tool{now: func() time.Time { return noon2026 }, stdout: out, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" },
			terminal: terminal{width: 100, height: height}}
		if code := tool.run(ctx, []string{"nodes", "--watch", "--server", server}); code != 0 {
			t.Errorf("exit code %d", code)
		}
		return strings.TrimPrefix(out.text.String(), clearScreen)
	}
	whole := strings.SplitAfter(watched(5), "\n") // a head, three nodes, and the line that the cursor is on
	if len(whole) != 5 || !strings.HasPrefix(whole[3], "edge-3") {
		t.Errorf("all of it: %q", whole)
	}
	if got, want := watched(4), whole[0]+whole[1]+"and 2 more lines, which are shown without --watch\n"; got != want {
		t.Errorf("on four lines:\n%s", got)
	}
	if got, want := watched(1), "and 4 more lines, which are shown without --watch\n"; got != want {
		t.Errorf("on one line:\n%s", got)
	}
}

func TestEventsSayOnceThatTheServerIsAwayAndThatItIsBack(t *testing.T) {
	t.Parallel()
	server := breaking(t, &away{next: &telling{answers: []string{callEvent, endedEvent}}, many: 1})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var errs bytes.Buffer
	out := &interrupting{after: 2, stop: stop}
	tool := tool{now: time.Now, stdout: out, stderr: &errs, getenv: func(string) string { return "" }}
	if code := tool.run(ctx, []string{"events", "--server", server.URL}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if want := fmt.Sprintf("sipvigil: events of %[1]s broke off; trying again\n"+
		"sipvigil: no answer from %[1]s: EOF; trying again\nsipvigil: %[1]s answers again\n", server.URL); errs.String() != want {
		t.Errorf("said %q, want %q", &errs, want)
	}
}

func TestWatchEndsWellWhileTheServerIsBeingAsked(t *testing.T) {
	mux := http.NewServeMux()
	ctx, interrupt := context.WithCancel(t.Context())
	mux.HandleFunc("/api/v1/calls", func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	})
	mux.Handle("/api/v1/events", &telling{})
	server := httptest.NewServer(mux)
	defer server.Close()
	var out, errs bytes.Buffer
	tool := tool{now: time.Now, stdout: &out, stderr: &errs, getenv: func(string) string { return "" }}
	if code := tool.run(ctx, []string{"calls", "--watch", "--server", server.URL}); code != 0 || out.Len()+errs.Len() > 0 {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}
