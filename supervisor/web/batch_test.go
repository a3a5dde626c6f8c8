package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// post sends a body to a server.
func post(s *Server, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "http://localhost"+target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// inBatches runs a test in a bubble with a server that runs batches.
func inBatches(t *testing.T, f *fakeCalls, test func(t *testing.T, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, f, healthy)
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { s.runErrands(ctx) })
		test(t, s)
		stop()
		run.Wait()
	})
}

func shown(t *testing.T, s *Server, id string) Batch {
	t.Helper()
	var b Batch
	w := do(s, "GET", "/api/v1/batches/"+id)
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return b
}

func TestABatchEndsItsCallsAtItsPace(t *testing.T) {
	f := &fakeCalls{}
	f.hangup = func(id string) error {
		switch id {
		case "c07":
			return supervisor.ErrEnding
		case "c08":
			return &supervisor.Elsewhere{ID: "c08", Node: "edge-2"}
		}
		return nil
	}
	inBatches(t, f, func(t *testing.T, s *Server) {
		var ids []string
		for i := range 20 {
			ids = append(ids, fmt.Sprintf(`"c%02d"`, i))
		}
		w := post(s, "/api/v1/calls/hangup", `{"ids": [`+strings.Join(ids, ",")+`], "reason": "carrier is down", "per_second": 2}`)
		var b Batch
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if got := w.Header().Get("Location"); got != "/api/v1/batches/"+b.ID {
			t.Errorf("Location is %q", got)
		}
		synctest.Wait()
		if got := shown(t, s, b.ID); got.Ended != 1 || got.State != "running" || got.By != "local" {
			t.Errorf("at once: %+v", got)
		}
		pass(2 * time.Second)
		if got := shown(t, s, b.ID); got.Ended != 5 {
			t.Errorf("after 2 s: %+v", got)
		}
		pass(8 * time.Second)
		got := shown(t, s, b.ID)
		if took := got.Finished.Sub(got.Began.Time); took != 9500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		got.ID, got.Began, got.Finished = "", Time{}, Time{}
		want := Batch{By: "local", Reason: "carrier is down", State: "done", PerSecond: 2, Total: 20, Ended: 18, Gone: 1, Failed: 1,
			Failures: []BatchFailure{{"c08", "call c08: call belongs to another node: edge-2"}}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("in the end (-want +got):\n%s", d)
		}
		if f.hungUp[3] != "c03: carrier is down" {
			t.Errorf("hung up %q", f.hungUp[3])
		}
	})
}

func TestABatchIsStopped(t *testing.T) {
	f := &fakeCalls{}
	inBatches(t, f, func(t *testing.T, s *Server) {
		w := post(s, "/api/v1/calls/hangup", `{"ids": ["a", "b", "c", "d", "e"], "per_second": 1}`)
		var b Batch
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil {
			t.Fatal(err)
		}
		pass(1500 * time.Millisecond)
		for range 2 {
			if w := do(s, "DELETE", "/api/v1/batches/"+b.ID); w.Code != 202 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		pass(time.Minute)
		if got := shown(t, s, b.ID); got.State != "stopped" || got.Ended != 2 || len(f.hungUp) != 2 {
			t.Errorf("%+v, %v", got, f.hungUp)
		}
		if w := do(s, "DELETE", "/api/v1/batches/x"); w.Code != 404 {
			t.Errorf("a batch that is not there: %d", w.Code)
		}
	})
}

func TestABatchUnderWayIsNotForgotten(t *testing.T) {
	f := &fakeCalls{}
	inBatches(t, f, func(t *testing.T, s *Server) {
		begin := func(body string) (b Batch) {
			t.Helper()
			w := post(s, "/api/v1/calls/hangup", body)
			if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != 202 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			synctest.Wait()
			return b
		}
		long := begin(`{"ids": ["a", "b"], "per_second": 0.01}`)
		first := begin(`{"ids": ["c"]}`)
		for range mostBatches {
			begin(`{"ids": ["c"]}`)
		}
		if w := do(s, "GET", "/api/v1/batches/"+first.ID); w.Code != 404 {
			t.Errorf("the oldest that is done: %d %s", w.Code, w.Body)
		}
		if w := do(s, "DELETE", "/api/v1/batches/"+long.ID); w.Code != 202 {
			t.Errorf("the one that is under way cannot be stopped: %d %s", w.Code, w.Body)
		}
		if n := len(s.batches.all); n != mostBatches {
			t.Errorf("%d are remembered, want %d", n, mostBatches)
		}
	})
}

func TestBatchesUnderWayAreBounded(t *testing.T) {
	inBatches(t, &fakeCalls{}, func(t *testing.T, s *Server) {
		for range mostRunning {
			if w := post(s, "/api/v1/calls/hangup", `{"ids": ["a", "b"], "per_second": 1}`); w.Code != 202 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if w := post(s, "/api/v1/calls/hangup", `{"ids": ["a"]}`); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("one more: %d", w.Code)
		}
		pass(2 * time.Second)
		for range mostBatches {
			if w := post(s, "/api/v1/calls/hangup", `{"ids": ["a"]}`); w.Code != 202 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			synctest.Wait()
		}
		var all Batches
		if err := json.Unmarshal(do(s, "GET", "/api/v1/batches").Body.Bytes(), &all); err != nil || len(all.Batches) != mostBatches {
			t.Errorf("%d are remembered, %v", len(all.Batches), err)
		}
	})
}

func TestADryRunSaysWhatWouldEnd(t *testing.T) {
	c, ending := confirmed(), over()
	ending.State = store.Ending
	f := &fakeCalls{page: store.Page{Calls: []store.Call{c, ending}}, calls: map[string]store.Call{c.ID: c}}
	s := newServer(t, f, healthy)
	wantJSON(t, post(s, "/api/v1/calls/hangup", `{"filter": {"trunk": "pbx", "older": "2h"}, "dry_run": true}`), 200,
		`{"total": 1, "calls": [`+confirmedJSON+`]}`)
	if d := cmp.Diff(store.Query{Trunk: "pbx", Older: 2 * time.Hour, Limit: maxLimit}, f.query); d != "" {
		t.Errorf("query (-want +got):\n%s", d)
	}
	wantJSON(t, post(s, "/api/v1/calls/hangup", `{"ids": ["`+c.ID+`", "`+c.ID+`"], "dry_run": true}`), 200,
		`{"total": 1, "calls": [`+confirmedJSON+`]}`)
	if len(f.hungUp) > 0 {
		t.Errorf("hung up %v", f.hungUp)
	}
}

func TestABatchSaysThatCallsOfOtherNodesAreMissing(t *testing.T) {
	c := confirmed()
	f := &fakeCalls{page: store.Page{Calls: []store.Call{c}}, err: fmt.Errorf("list: %w", store.ErrUnavailable)}
	s := newServer(t, f, healthy)
	wantJSON(t, post(s, "/api/v1/calls/hangup", `{"filter": {"trunk": "pbx"}, "dry_run": true}`), 200,
		`{"total": 1, "calls": [`+confirmedJSON+`], "partial": true}`)
	var b Batch
	w := post(s, "/api/v1/calls/hangup", `{"filter": {"trunk": "pbx"}}`)
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != 202 || b.Total != 1 || !b.Partial {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestFaultsOfABatchAreNamed(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	test := func(body, detail string) {
		t.Helper()
		wantJSON(t, post(s, "/api/v1/calls/hangup", body), 400, problemJSON(400, detail))
	}
	test(`{}`, "give either ids or a filter")
	test(`{"ids": ["a"], "filter": {"state": "early"}}`, "give either ids or a filter")
	test(`{"filter": {}}`, "filter: an empty one would end every call; give a state if that is meant")
	test(`{"filter": {"state": "ending", "older": "old"}, "per_second": -1, "reason": "a\n"}`,
		`per_second: -1 is not from 0.01 to 1000; reason: at most 256 bytes, all printable; `+
			`filter.state: "ending" is none of trying, early, confirmed; filter.older: "old" is not a length of time such as 90s, 15m or 2h`)
	test(`{"ids": ["a"], "per_second": 1e-300}`, "per_second: 1e-300 is not from 0.01 to 1000")
	test(`{"ids": ["a\u0000"]}`, "ids: an id has at most 1024 bytes, all printable")
	test(`{"ids": ["a"], "dryrun": true}`, `the body is not the JSON that is asked for here: json: unknown field "dryrun"`)
	test(`{"ids": ["a"]} {}`, "the body is not the JSON that is asked for here: more follows")
}
