package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestNodesAreListed(t *testing.T) {
	const body = `{"nodes":[{"name":"edge-1","state":"up","calls":12,"epoch":7,"since":"2026-03-01T12:00:00.000Z","seen":"2026-03-01T12:00:09.000Z","addr":"192.0.2.5:5060"},` +
		`{"name":"edge-2","state":"dead","calls":0,"epoch":0,"seen":"2026-03-01T12:00:01.000Z","addr":""}]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/nodes" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	wantRun(t, run(t, s.URL, "nodes", "-o", "csv"), ran{Out: "name,state,maintenance,calls,epoch,since,seen,addr,doing\n" +
		"edge-1,up,,12,7,2026-03-01T12:00:00.000Z,2026-03-01T12:00:09.000Z,192.0.2.5:5060,\n" +
		"edge-2,dead,,0,0,,2026-03-01T12:00:01.000Z,,\n"})
	wantRun(t, run(t, s.URL, "nodes", "-o", "jsonl"), ran{Out: body[len(`{"nodes":[`):len(body)-len(`,{"name":"edge-2","state":"dead","calls":0,"epoch":0,"seen":"2026-03-01T12:00:01.000Z","addr":""}]}`)] + "\n" +
		`{"name":"edge-2","state":"dead","calls":0,"epoch":0,"seen":"2026-03-01T12:00:01.000Z","addr":""}` + "\n"})
}
