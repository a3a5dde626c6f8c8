package web

import (
	"log"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health is the answer of /readyz. A store that cannot be reached makes the
// process degraded, not unready: its calls go on.
type Health struct {
	Ready        bool     `json:"ready"`
	Reasons      []string `json:"reasons,omitempty"` // why not
	Idle         string   `json:"idle,omitempty"`    // why calls are not watched
	Store        string   `json:"store"`             // ok or degraded
	StoreBackend string   `json:"store_backend"`
	StoreSince   Time     `json:"store_since,omitzero"`
	StorePending int      `json:"store_pending"` // calls with changes not written yet
	StoreError   string   `json:"store_error,omitempty"`
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("ok\n")) // an error here means that the client has left
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	reasons, st := s.ready(), s.status()
	h := Health{
		Ready:        len(reasons) == 0,
		Reasons:      reasons,
		Store:        "ok",
		StoreBackend: st.Backend,
		StoreSince:   Time{st.Since},
		StorePending: st.Pending,
	}
	if s.cfg.Idle != nil {
		h.Idle = s.cfg.Idle()
	}
	if !st.Reachable {
		h.Store, h.StoreError = "degraded", st.LastError
	}
	status := http.StatusOK
	if !h.Ready {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, h)
}

// metrics serves what the gatherer collects; a metric that fails does not hide
// the others.
func metrics(g prometheus.Gatherer, warnings *log.Logger) http.HandlerFunc {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorLog:            warnings,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	}).ServeHTTP
}
