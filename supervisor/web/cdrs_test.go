package web

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

func TestCDRsAreSelectedNewestFirst(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	s.cfg.Records = fakeRecords
	test := func(query string, next string, want ...string) {
		t.Helper()
		w := do(s, "GET", "/api/v1/cdrs?"+query)
		var page CDRs
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		var got []string
		for _, r := range page.CDRs {
			got = append(got, r.ID)
		}
		if d := cmp.Diff(want, got); d != "" || page.Next != next {
			t.Errorf("%s: next is %q, want %q (-want +got):\n%s", query, page.Next, next, d)
		}
		if link := w.Header().Get("Link"); (link != "") != (next != "") {
			t.Errorf("%s: Link is %q", query, link)
		}
	}
	test("", "", "c3", "c2", "c1")
	test("limit=2", "2", "c3", "c2")
	test("limit=2&cursor=2", "", "c1")
	test("number=%2B1555", "", "c3")
	test("number=b-2", "", "c2")
	test("number=c1", "", "c1")
	test("trunk=pbx", "", "c3", "c2")
	test("trunk=pbx&node=edge-2", "", "c2")
	test("ended_by=callee-silent", "", "c2")
	test("since=2026-03-01T11:02:00Z", "", "c3", "c2")
	test("until=2026-03-01T11:03:00Z", "", "c2", "c1")
	test("since=2026-03-01T12:00:00%2B01:00&until=2026-03-01T11:02:30Z", "", "c2")
	wantJSON(t, do(s, "GET", "/api/v1/cdrs?since=today"), 400, problemJSON(400, `since: "today" is not a time such as 2026-03-01T12:00:00Z`))
	wantJSON(t, do(s, "GET", "/api/v1/cdrs?cursor=0"), 400, problemJSON(400, "cursor: it is not one of this list"))
	s.cfg.Records = func(context.Context, string, int) ([]store.Record, error) {
		return nil, fmt.Errorf("read: %w", store.ErrUnavailable)
	}
	wantJSON(t, do(s, "GET", "/api/v1/cdrs"), 503, problemJSON(503, "the store cannot be reached now"))
}

func TestRecordsThatWereWrittenLateHideNoOthers(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	at := func(clock string) time.Time {
		at, err := time.Parse(time.TimeOnly, clock)
		if err != nil {
			t.Fatal(err)
		}
		return at.AddDate(2026, 2, 0)
	}
	s.cfg.Records = func(context.Context, string, int) ([]store.Record, error) {
		var list []store.Record
		for i, r := range []struct{ id, ended, written string }{ // one node could not write from 10:00 to 11:00
			{"b2", "10:59:00", "11:00:01"}, {"b1", "10:05:00", "11:00:01"}, {"a2", "10:50:00", "10:50:00"}, {"a1", "10:05:00", "10:05:00"},
			{"a0", "10:04:00", "10:04:00"},
		} {
			line := encode(supervisor.CDR{ID: r.id, Ended: at(r.ended).Format(stampLayout)})
			list = append(list, store.Record{Place: fmt.Sprint(i), Line: line, Written: at(r.written)})
		}
		return list, nil
	}
	var page CDRs
	w := do(s, "GET", "/api/v1/cdrs?since="+at("10:30:00").Format(time.RFC3339))
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	var got []string
	for _, r := range page.CDRs {
		got = append(got, r.ID)
	}
	if d := cmp.Diff([]string{"b2", "a2"}, got); d != "" {
		t.Errorf("records since 10:30 (-want +got):\n%s", d)
	}
}

func TestASearchThatFindsLittleIsBounded(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	looked := 0
	s.cfg.Records = func(_ context.Context, _ string, n int) ([]store.Record, error) {
		list := make([]store.Record, n)
		for i := range list {
			looked++
			list[i] = store.Record{Place: fmt.Sprint(looked), Line: []byte(`{"ended":"2026-03-01T11:00:00.000Z"}`)}
		}
		return list, nil
	}
	w := do(s, "GET", "/api/v1/cdrs?number=x")
	wantJSON(t, w, 200, fmt.Sprintf(`{"cdrs": [], "next": "%d"}`, mostRecords))
}

func TestListsComeAsLinesAndCSV(t *testing.T) {
	f := &fakeCalls{page: store.Page{Calls: []store.Call{confirmed(), over()}}}
	s := newServer(t, f, healthy)
	s.cfg.Records = fakeRecords
	test := func(target, accept, media string, lines int, has string) {
		t.Helper()
		w := do(s, "GET", target, "Accept", accept)
		got, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		if got != media || strings.Count(w.Body.String(), "\n") != lines || !strings.Contains(w.Body.String(), has) {
			t.Errorf("%s as %q: %s\n%s", target, accept, w.Header().Get("Content-Type"), w.Body)
		}
	}
	test("/api/v1/calls", "text/csv", "text/csv", 3, "id,state,liveness,started")
	test("/api/v1/calls", "text/csv;q=0.5, application/jsonl", "application/jsonl", 2, `{"id":"`+over().ID+`"`)
	test("/api/v1/calls", "application/x-ndjson", "application/jsonl", 2, "")
	test("/api/v1/calls", "text/html, */*;q=0.1", "application/json", 1, `{"calls":`)
	test("/api/v1/calls", "image/png", "application/json", 1, `{"calls":`)
	test("/api/v1/cdrs", "text/csv", "text/csv", 4, "c1,edge-1,,,2026-03-01T10:01:00.000Z,'=operator,")
	test("/api/v1/cdrs?limit=1", "application/jsonl", "application/jsonl", 1, `"c3"`)
	test("/api/v1/cdrs?number=nobody", "text/csv", "text/csv", 1, "id,node,started")
	w := do(s, "GET", "/api/v1/cdrs?limit=1&trunk=pbx", "Accept", "text/csv")
	if got, want := w.Header().Get("Link"), `</api/v1/cdrs?cursor=3&limit=1&trunk=pbx>; rel="next"`; got != want {
		t.Errorf("Link is %q, want %q", got, want)
	}
}

func TestAnAnswerThatIsKnownIsNotSentAgain(t *testing.T) {
	c := confirmed()
	f := &fakeCalls{calls: map[string]store.Call{"x": c}}
	s := newServer(t, f, healthy)
	w := do(s, "GET", "/api/v1/calls/x")
	tag := w.Header().Get("ETag")
	for have, want := range map[string]int{tag: 304, "W/" + tag: 304, `"a", ` + tag: 304, "*": 304, `"a"`: 200, "": 200} {
		w := do(s, "GET", "/api/v1/calls/x", "If-None-Match", have)
		if w.Code != want || (w.Body.Len() > 0) != (want == 200) || w.Header().Get("ETag") != tag {
			t.Errorf("If-None-Match %q: %d, %d bytes", have, w.Code, w.Body.Len())
		}
	}
	c.Legs[0].Misses++
	f.calls["x"] = c
	if w := do(s, "GET", "/api/v1/calls/x", "If-None-Match", tag); w.Code != 200 || w.Header().Get("ETag") == tag {
		t.Errorf("after a change: %d, %s", w.Code, w.Header().Get("ETag"))
	}
}
