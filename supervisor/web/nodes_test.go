package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
)

func TestNodesThatShareTheStore(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var err error
	cfg := Config{Listen: "127.0.0.1:8080", Probe: time.Minute, Nodes: func(context.Context) ([]store.Node, error) {
		return []store.Node{
			{Name: "edge-1", State: store.NodeUp, Epoch: 7, Since: at, Seen: at.Add(time.Second), Calls: 12, Addr: "192.0.2.5:5060"},
			{Name: "edge-2", State: store.NodeDead},
		}, err
	}}
	s, serverErr := New(cfg, &fakeCalls{}, func() store.Status { return store.Status{} }, func() []string { return nil },
		prometheus.NewRegistry(), zap.NewNop())
	if serverErr != nil {
		t.Fatal(serverErr)
	}
	get := func() (int, string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:8080/api/v1/nodes", nil))
		return w.Code, w.Body.String()
	}
	want := `{"nodes":[{"name":"edge-1","state":"up","calls":12,"epoch":7,"since":"2026-03-01T12:00:00.000Z","seen":"2026-03-01T12:00:01.000Z","addr":"192.0.2.5:5060"},` +
		`{"name":"edge-2","state":"dead","calls":0,"epoch":0,"addr":""}]}` + "\n"
	if code, body := get(); code != 200 || body != want {
		t.Errorf("got %d %s", code, body)
	}
	err = fmt.Errorf("list nodes: %w", store.ErrUnavailable)
	if code, body := get(); code != 503 {
		t.Errorf("without the store: %d %s", code, body)
	}
}

func TestOverviewCountsTheOtherNodesToo(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	s.cfg.Node = "edge-1"
	s.cfg.Nodes = func(context.Context) ([]store.Node, error) {
		tally := store.Tally{PerSecond: 1.26, Live: 5, Suspect: 4, Unproven: 3, Held: 2, Reclaimed: 1}
		return []store.Node{{Name: "edge-1", State: store.NodeUp, Calls: 9}, {Name: "edge-2", State: store.NodeDraining, Calls: 12, Tally: tally},
			{Name: "edge-3", State: store.NodeDead, Calls: 8}, {Name: "edge-4", State: store.NodeLeft, Calls: 7}}, nil
	}
	var o struct{ Others json.RawMessage }
	if err := json.Unmarshal(do(s, "GET", "/api/v1/overview").Body.Bytes(), &o); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, string(o.Others), `[{"node": "edge-2", "active": 12, "calls_per_second": 1.3, "live": 5, "suspect": 4, "unproven": 3, "held": 2, "reclaimed_today": 1}]`)
}
