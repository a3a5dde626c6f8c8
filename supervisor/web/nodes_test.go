package web

import (
	"context"
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
