package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sipvigil/store"
)

// No request, however strange, has a handler fail in an unforeseen way, and
// every error is a problem.
func FuzzRequests(f *testing.F) {
	f.Add("GET", "/api/v1/calls?state=confirmed&older=1h&sort=-liveness&cursor=3.x&limit=7", "Accept", "text/csv;q=0.3, application/jsonl", "")
	f.Add("GET", "/api/v1/cdrs?since=2026-03-01T11:00:00Z&cursor=2&number=%2b1", "If-None-Match", `"a", W/"b"`, "")
	f.Add("GET", "/api/v1/events", "Last-Event-ID", "ABCDEFGH-18446744073709551615", "")
	f.Add("POST", "/api/v1/calls/hangup", "Idempotency-Key", "k", `{"filter": {"state": "early"}, "per_second": 1e308, "dry_run": true}`)
	f.Add("POST", "/api/v1/calls/hangup", "Idempotency-Key", "k", `{"ids": ["a", "b"]}`)
	f.Add("POST", "/api/v1/calls/a%2Fb/probe", "Sec-Fetch-Site", "same-origin", "")
	f.Add("DELETE", "/api/v1/calls/x?reason=%F0%9F%93%9E", "Authorization", "Basic Og==", "")
	f.Add("PUT", "/", "Origin", "null", "")
	left, leave := context.WithCancel(context.Background())
	leave() // so that streams end at once
	f.Fuzz(func(t *testing.T, method, target, name, value, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		s := newServer(t, &fakeCalls{calls: map[string]store.Call{"x": confirmed()}, page: store.Page{Calls: []store.Call{confirmed()}}}, healthy)
		s.cfg.Records = fakeRecords
		r := (&http.Request{Method: method, URL: u, Host: "localhost", Header: http.Header{}, RequestURI: target,
			Body: http.NoBody, ProtoMajor: 1, ProtoMinor: 1}).WithContext(left)
		if body != "" {
			r.Body, r.ContentLength = httptest.NewRequest("POST", "/", strings.NewReader(body)).Body, int64(len(body))
		}
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%d is a %q", w.Code, w.Header().Get("Content-Type"))
		}
	})
}
