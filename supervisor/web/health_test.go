package web

import (
	"strings"
	"testing"

	"sipvigil/store"
)

func TestReadinessNamesItsReasonsAndTheStore(t *testing.T) {
	ready := newServer(t, &fakeCalls{}, store.Status{Backend: "redis", Reachable: true, Since: at("2026-03-01T11:00:00Z")})
	wantJSON(t, do(ready, "GET", "/readyz"), 200, `{"ready": true, "store": "ok", "store_backend": "redis",
		"store_since": "2026-03-01T11:00:00.000Z", "store_pending": 0}`)

	down := store.Status{Backend: "redis", Since: at("2026-03-01T11:00:00Z"), Pending: 4, LastError: "connection refused"}
	wantJSON(t, do(newServer(t, &fakeCalls{}, down), "GET", "/readyz"), 200, `{"ready": true, "store": "degraded",
		"store_backend": "redis", "store_since": "2026-03-01T11:00:00.000Z", "store_pending": 4,
		"store_error": "connection refused"}`)

	starting := newServer(t, &fakeCalls{}, healthy, "sip sockets are not open", "calls are being read back")
	wantJSON(t, do(starting, "GET", "/readyz"), 503, `{"ready": false,
		"reasons": ["sip sockets are not open", "calls are being read back"],
		"store": "ok", "store_backend": "embedded", "store_pending": 0}`)
}

func TestLivenessNeedsNothing(t *testing.T) {
	w := do(newServer(t, &fakeCalls{}, store.Status{}, "starting"), "GET", "/livez")
	if w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestMetricsAreThoseOfTheGatherer(t *testing.T) {
	w := do(newServer(t, &fakeCalls{}, healthy), "GET", "/metrics")
	const want = "# HELP sipvigil_test_calls Calls of a test.\n# TYPE sipvigil_test_calls gauge\nsipvigil_test_calls 3\n"
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("got %d %q, want %q", w.Code, w.Body, want)
	}
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		t.Errorf("Content-Type is %q", got)
	}
}
