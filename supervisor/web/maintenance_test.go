package web

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor/links"
)

// fakeMaintenance knows one trunk and one node.
type fakeMaintenance struct {
	mu  sync.Mutex // guards now where a drain is followed
	now store.Maintenance
	err error
}

func (f *fakeMaintenance) Look(_ context.Context, scope store.Scope, name string) (store.Maintenance, error) {
	if f.now.Scope != scope || name != "-" && f.now.Name != name {
		return store.Maintenance{}, fmt.Errorf("look: %w", store.ErrNotFound)
	}
	return f.now, f.err
}

func (f *fakeMaintenance) In(scope store.Scope, name string) (store.Maintenance, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.now.Scope == scope && f.now.Name == name && !f.now.Since.IsZero()
}

func (f *fakeMaintenance) Start(_ context.Context, m store.Maintenance) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = m
	return f.err
}

func (f *fakeMaintenance) End(_ context.Context, scope store.Scope, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = store.Maintenance{Scope: scope, Name: name}
	return f.err
}

func TestMaintenanceIsSetAndShown(t *testing.T) {
	calls, f := &fakeCalls{}, &fakeMaintenance{now: store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier"}}
	s, err := New(Config{Listen: "127.0.0.1:8080", Probe: time.Minute, Maintenance: f}, calls,
		func() store.Status { return store.Status{} }, func() []string { return nil }, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string, code int, want ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body)))
		got := w.Body.String()
		for _, text := range want {
			if w.Code != code || !strings.Contains(got, text) {
				t.Errorf("%s %s %s: %d %s, want %d %s", method, path, body, w.Code, got, code, text)
			}
		}
	}
	const trunk = "/api/v1/trunks/carrier/maintenance"
	ask("GET", trunk, "", 200, `{"scope":"trunk","name":"carrier","state":"in-service","calls":0}`)
	ask("PUT", trunk, `{"on": true}`, 200, `"state":"maintenance"`, `"since":"`)
	if f.now.Drain || time.Since(f.now.Since) > time.Minute {
		t.Errorf("it was set to %+v", f.now)
	}
	f.now.Since = at("2026-03-01T12:00:00Z")
	calls.page.Calls = []store.Call{{ID: "a"}, {ID: "b"}}
	ask("PUT", trunk, `{"on": true, "drain": true}`, 200, `"state":"draining","since":"2026-03-01T12:00:00.000Z","calls":2}`)
	if q := calls.query; q.Trunk != "carrier" || q.Node != "" {
		t.Errorf("calls of %+v were counted", q)
	}
	calls.page.Calls = nil
	ask("GET", trunk, "", 200, `"state":"drained"`)
	ask("PUT", trunk, `{"on": false}`, 200, `"state":"in-service","calls":0}`)

	for _, body := range []string{"", "on", "{}", `{"on": 1}`, `{"on": true} {}`, `{"on": true, "off": false}`, `{"on": false, "drain": true}`} {
		ask("PUT", trunk, body, 400, `"status":400`)
	}
	ask("PUT", "/api/v1/trunks/nobody/maintenance", `{"on": true}`, 404, `the configuration has no trunk \"nobody\"`)
	ask("GET", "/api/v1/nodes/carrier/maintenance", "", 404, `there is no node \"carrier\"`)
	ask("POST", trunk, `{"on": true}`, 405, "only GET, HEAD, PUT")

	f.now = store.Maintenance{Scope: store.ScopeNode, Name: "edge-1"}
	ask("PUT", "/api/v1/nodes/-/maintenance", `{"on": true}`, 200, `"scope":"node","name":"edge-1","state":"maintenance"`)
	if q := calls.query; q.Trunk != "" || q.Node != "edge-1" {
		t.Errorf("calls of %+v were counted", q)
	}
	s.cfg.Nodes = func(context.Context) ([]store.Node, error) {
		return []store.Node{{Name: "edge-1", State: store.NodeUp}}, nil
	}
	ask("GET", "/api/v1/nodes", "", 200, `"state":"up","maintenance":"maintenance"`)
	f.now = store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier", Since: time.Now(), Drain: true}
	s.cfg.Trunks = func() []links.Health { return []links.Health{{Name: "carrier", State: links.Up}, {Name: "edge-1"}} }
	ask("GET", "/api/v1/trunks", "", 200, `"name":"carrier","state":"up","maintenance":"draining"`, `"name":"edge-1","state":"",`)
	f.now = store.Maintenance{Scope: store.ScopeNode, Name: "edge-1"}
	f.err = store.ErrUnavailable
	ask("PUT", "/api/v1/nodes/-/maintenance", `{"on": true}`, 503, "the store cannot be reached")
}
