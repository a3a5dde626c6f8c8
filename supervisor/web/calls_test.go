package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// wantJSON compares a whole answer.
func wantJSON(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status is %d, want %d", w.Code, status)
	}
	media := "application/json"
	if status >= 400 && strings.Contains(body, "about:blank") {
		media = "application/problem+json"
	}
	if got := w.Header().Get("Content-Type"); got != media {
		t.Errorf("Content-Type is %q, want %q", got, media)
	}
	var got, want any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("body is not JSON: %v\n%s", err, w.Body)
	}
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("body (-want +got):\n%s", d)
	}
}

func problemJSON(status int, detail string) string {
	b, err := json.Marshal(Problem{"about:blank", http.StatusText(status), status, detail})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestListShowsCallsWholeAndInOrder(t *testing.T) {
	f := &fakeCalls{page: store.Page{Calls: []store.Call{confirmed(), over()}, Next: "abc"}}
	w := do(newServer(t, f, healthy), "GET", "/api/v1/calls")
	wantJSON(t, w, 200, `{"calls": [`+confirmedJSON+`,`+overJSON+`], "next": "abc"}`)
	if d := cmp.Diff(store.Query{}, f.query); d != "" {
		t.Errorf("query (-want +got):\n%s", d)
	}
	if !strings.Contains(w.Body.String(), "<sip:ann@pbx.example>") {
		t.Error("URIs are not readable in the body")
	}
}

func TestEventsOfACallAreShown(t *testing.T) {
	c := confirmed()
	f := &fakeCalls{calls: map[string]store.Call{c.ID: c}, events: []supervisor.Event{
		{At: at("2026-03-01T11:00:07.25Z"), Kind: supervisor.EventConfirmed},
		{At: at("2026-03-01T11:00:12Z"), Kind: supervisor.EventAnswer, Side: store.Caller, Text: "200 OPTIONS", RTT: 12 * time.Millisecond},
		{At: at("2026-03-01T11:01:12Z"), Kind: supervisor.EventMiss, Side: store.Callee, Text: "no answer to OPTIONS"},
	}}
	s := newServer(t, f, healthy)
	wantJSON(t, do(s, "GET", "/api/v1/calls/"+c.ID+"/events"), 200, `{"events": [
		{"at": "2026-03-01T11:00:07.250Z", "kind": "confirm", "leg": "", "text": "", "rtt_ms": 0},
		{"at": "2026-03-01T11:00:12.000Z", "kind": "answer", "leg": "caller", "text": "200 OPTIONS", "rtt_ms": 12},
		{"at": "2026-03-01T11:01:12.000Z", "kind": "miss", "leg": "callee", "text": "no answer to OPTIONS", "rtt_ms": 0}]}`)
	wantJSON(t, do(s, "GET", "/api/v1/calls/unknown/events"), 404,
		problemJSON(404, "no call has this id or Call-ID, or it ended a while ago"))
	f.err = fmt.Errorf("events: %w", &supervisor.Elsewhere{ID: "x", Node: "edge-2"})
	wantJSON(t, do(s, "GET", "/api/v1/calls/"+c.ID+"/events"), 409,
		problemJSON(409, "events: call x: call belongs to another node: edge-2"))
}

func TestListWithoutCallsIsAnEmptyArray(t *testing.T) {
	w := do(newServer(t, &fakeCalls{}, healthy), "GET", "/api/v1/calls")
	if got, want := w.Body.String(), `{"calls":[]}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestListOfThisNodeAloneIsPartial(t *testing.T) {
	f := &fakeCalls{page: store.Page{Calls: []store.Call{over()}}, err: fmt.Errorf("read: %w", store.ErrUnavailable)}
	w := do(newServer(t, f, healthy), "GET", "/api/v1/calls")
	wantJSON(t, w, 200, `{"calls": [`+overJSON+`], "partial": true}`)
}

func TestListReadsEveryParameter(t *testing.T) {
	f := &fakeCalls{}
	w := do(newServer(t, f, healthy), "GET",
		"/api/v1/calls?state=confirmed&liveness=silent&trunk=pbx&number=%2B1555&node=edge-1&older=15m&sort=-liveness&limit=1000&cursor=xy")
	wantJSON(t, w, 200, `{"calls": []}`)
	want := store.Query{
		State: store.Confirmed, Liveness: store.Silent, Trunk: "pbx", Number: "+1555", Node: "edge-1",
		Older: 15 * time.Minute, Sort: store.Worst, Limit: 1000, Cursor: "xy",
	}
	if d := cmp.Diff(want, f.query); d != "" {
		t.Errorf("query (-want +got):\n%s", d)
	}
}

func TestListNamesEveryFaultOfTheQuery(t *testing.T) {
	test := func(query, detail string) {
		t.Helper()
		w := do(newServer(t, &fakeCalls{}, healthy), "GET", "/api/v1/calls?"+query)
		wantJSON(t, w, 400, problemJSON(400, detail))
	}
	test("state=up&liveness=dead&older=old&limit=0&colour=red&size=1",
		`state: "up" is none of trying, early, confirmed, ending, terminated; `+
			`liveness: "dead" is none of unproven, alive, reachable, suspect, gone, silent, unsupported; `+
			`older: "old" is not a length of time such as 90s, 15m or 2h; `+
			`limit: "0" is not a number from 1 to 1000; `+
			`"colour": no such parameter, there are state, liveness, trunk, number, held, node, older, sort, limit, cursor; `+
			`"size": no such parameter, there are state, liveness, trunk, number, held, node, older, sort, limit, cursor`)
	test("limit=1001&older=-1s", `older: "-1s" is not a length of time such as 90s, 15m or 2h; `+
		`limit: "1001" is not a number from 1 to 1000`)
	test("node=a&node=b", "node: given 2 times, may be given once")
	test("trunk="+strings.Repeat("x", 257), "trunk: longer than 256 bytes")
	test("number=%00", "number: has characters that cannot be printed")
	test("number=%zz", `query string: invalid URL escape "%zz"`)
}

func TestCallIsFoundByIDAndByCallID(t *testing.T) {
	c := confirmed()
	f := &fakeCalls{calls: map[string]store.Call{c.ID: c, c.Legs[0].CallID: c}}
	s := newServer(t, f, healthy)
	wantJSON(t, do(s, "GET", "/api/v1/calls/"+c.ID), 200, confirmedJSON)
	wantJSON(t, do(s, "GET", "/api/v1/calls/"+url.PathEscape("a/1@phone")), 200, confirmedJSON)
}

func TestCallThatCannotBeShownIsAProblem(t *testing.T) {
	test := func(err error, id string, status int, detail string) {
		t.Helper()
		w := do(newServer(t, &fakeCalls{lookErr: err}, healthy), "GET", "/api/v1/calls/"+id)
		wantJSON(t, w, status, problemJSON(status, detail))
	}
	test(nil, "x", 404, "no call has this id or Call-ID, or it ended a while ago")
	test(fmt.Errorf("look: %w", store.ErrUnavailable), "x", 503,
		"the call is not one of this node's, and the store cannot be reached now: ask the node that has it")
	test(errors.New("disk on fire"), "x", 500, "disk on fire")
	test(nil, "a%0Db", 400, "an id has at most 1024 bytes, all printable")
	test(nil, strings.Repeat("x", 1025), 400, "an id has at most 1024 bytes, all printable")
}

func TestProbeAnswersWithBothLegs(t *testing.T) {
	c := confirmed()
	f := &fakeCalls{calls: map[string]store.Call{"a/1@phone": c}}
	f.answers = [2]store.Answer{
		{Kind: store.Answered, Method: "OPTIONS", Status: 200, RTT: 1500 * time.Microsecond, At: at("2026-03-01T11:05:00Z")},
		{Kind: store.Unsent, Method: "OPTIONS", Reason: "connection refused", At: at("2026-03-01T11:05:01Z")},
	}
	w := do(newServer(t, f, healthy), "POST", "/api/v1/calls/a%2F1@phone/probe")
	wantJSON(t, w, 200, `{
		"caller": {"kind": "answered", "method": "OPTIONS", "status": 200, "reason": "", "rtt_ms": 1.5, "at": "2026-03-01T11:05:00.000Z"},
		"callee": {"kind": "unsent", "method": "OPTIONS", "status": 0, "reason": "connection refused", "rtt_ms": 0, "at": "2026-03-01T11:05:01.000Z"}
	}`)
	if d := cmp.Diff([]string{c.ID}, f.probed); d != "" {
		t.Errorf("probed (-want +got):\n%s", d)
	}
}

func TestHangupIsAcceptedWithItsReason(t *testing.T) {
	c := confirmed()
	f := &fakeCalls{calls: map[string]store.Call{"b-1": c}}
	w := do(newServer(t, f, healthy), "DELETE", "/api/v1/calls/b-1?reason=hung+phone")
	wantJSON(t, w, 202, `{"id": "`+c.ID+`"}`)
	if d := cmp.Diff([]string{c.ID + ": hung phone"}, f.hungUp); d != "" {
		t.Errorf("hung up (-want +got):\n%s", d)
	}
}

func TestHeldCallsAreReleased(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	wantJSON(t, do(s, "POST", "/api/v1/brake/release"), 202, `{"calls": 7}`)
	if w := do(s, "GET", "/api/v1/brake/release"); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestHangupIsRefused(t *testing.T) {
	test := func(target string, err error, status int, detail string) {
		t.Helper()
		gone := over()
		f := &fakeCalls{calls: map[string]store.Call{"b-1": confirmed(), gone.ID: gone}, err: err}
		w := do(newServer(t, f, healthy), "DELETE", "/api/v1/calls/"+target)
		wantJSON(t, w, status, problemJSON(status, detail))
	}
	const unknown = "no call has this id or Call-ID, or it ended a while ago"
	test("nobody", nil, 404, unknown)
	test("b-1", store.ErrNotFound, 404, unknown) // ended in between
	test("b-1", fmt.Errorf("hang up call x: %w", supervisor.ErrEnding), 409, "hang up call x: call is ending already")
	test("b-1", &supervisor.Elsewhere{ID: "x", Node: "edge-2"}, 409, "call x: call belongs to another node: edge-2")
	test(over().ID, nil, 409, "call "+over().ID+" is terminated already, ended by callee-silent")
	test("b-1?reason=a%0D%0AVia:+evil&why=x", nil, 400,
		`reason: has characters that cannot be printed; "why": no such parameter, there are reason`)
}

func TestProbeThatTakesTooLongIsAProblem(t *testing.T) {
	f := &fakeCalls{calls: map[string]store.Call{"x": confirmed()}, err: fmt.Errorf("probe call x: %w", context.DeadlineExceeded)}
	w := do(newServer(t, f, healthy), "POST", "/api/v1/calls/x/probe")
	wantJSON(t, w, 504, problemJSON(504, "it took too long: probe call x: context deadline exceeded"))
}
