package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// Maintenance takes trunks and nodes out of service, and puts them back. The
// node "-" is the one that answers. Errors wrap store.ErrNotFound when there is
// no such trunk or node, and store.ErrUnavailable.
type Maintenance interface {
	// Look returns the maintenance with the name in full; Since is zero when
	// there is none.
	Look(ctx context.Context, scope store.Scope, name string) (store.Maintenance, error)
	// In returns what is known of one at once, if it is in maintenance.
	In(scope store.Scope, name string) (store.Maintenance, bool)
	Start(ctx context.Context, m store.Maintenance) error
	End(ctx context.Context, scope store.Scope, name string) error
}

// Maintained is how a trunk or a node fares.
type Maintained struct {
	Scope string `json:"scope"` // trunk or node
	Name  string `json:"name"`
	State string `json:"state"`          // in-service, maintenance, draining or drained
	Since Time   `json:"since,omitzero"` // when maintenance began
	Calls int    `json:"calls"`          // that go on
}

// The values of Maintained.State.
const (
	InService     = "in-service"
	InMaintenance = "maintenance"
	Draining      = "draining"
	Drained       = "drained"
)

// Maintain is the body that asks for maintenance, or for its end.
type Maintain struct {
	On     *bool  `json:"on"`
	Drain  bool   `json:"drain,omitempty"`  // with on: its calls are waited for
	Reason string `json:"reason,omitempty"` // for the log
}

// maintenance is how a list shows that a trunk or a node takes no new calls: ""
// when it does.
func (s *Server) maintenance(scope store.Scope, name string) string {
	if s.cfg.Maintenance == nil {
		return ""
	}
	switch m, on := s.cfg.Maintenance.In(scope, name); {
	case !on:
		return ""
	case m.Drain:
		return Draining
	default:
		return InMaintenance
	}
}

func (s *Server) showMaintenance(scope store.Scope) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), lookTime)
		defer cancel()
		s.maintained(ctx, w, r, scope)
	}
}

// setMaintenance is the same twice over: it may be repeated.
func (s *Server) setMaintenance(scope store.Scope) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ask, err := readMaintain(r.Body)
		if err != nil {
			refuseBody(w, err)
			return
		}
		remark(r, zap.Bool("on", *ask.On), zap.Bool("drain", ask.Drain), zap.String("reason", ask.Reason))
		ctx, cancel := context.WithTimeout(r.Context(), lookTime)
		defer cancel()
		m, err := s.cfg.Maintenance.Look(ctx, scope, r.PathValue("name"))
		if err == nil {
			err = s.maintain(ctx, m, ask)
		}
		if err != nil {
			s.failMaintenance(w, r, scope, err)
			return
		}
		if ask.Drain {
			s.awaitDrain(m)
		}
		s.maintained(ctx, w, r, scope)
	}
}

func (s *Server) maintain(ctx context.Context, m store.Maintenance, ask Maintain) error {
	if !*ask.On {
		return s.cfg.Maintenance.End(ctx, m.Scope, m.Name)
	}
	m.Drain = ask.Drain
	if m.Since.IsZero() {
		m.Since = time.Now()
	}
	return s.cfg.Maintenance.Start(ctx, m)
}

func readMaintain(body io.Reader) (ask Maintain, err error) {
	if err := readJSON(body, &ask); err != nil || ask.On == nil {
		return ask, &badBody{`the body is not {"on": true}, {"on": true, "drain": true} or {"on": false}`, err}
	}
	if ask.Drain && !*ask.On {
		return ask, errors.New("drain goes with on: true only")
	}
	if len(ask.Reason) > maxText || !printable(ask.Reason) {
		return ask, fmt.Errorf("reason: at most %d bytes, all printable", maxText)
	}
	return ask, nil
}

// maintained answers how a trunk or node fares.
func (s *Server) maintained(ctx context.Context, w http.ResponseWriter, r *http.Request, scope store.Scope) {
	m, err := s.cfg.Maintenance.Look(ctx, scope, r.PathValue("name"))
	if err != nil {
		s.failMaintenance(w, r, scope, err)
		return
	}
	body := Maintained{Scope: string(scope), Name: m.Name, State: InService, Since: Time{m.Since}}
	if body.Calls, err = s.count(ctx, m); err != nil {
		s.failMaintenance(w, r, scope, err)
		return
	}
	switch {
	case m.Since.IsZero():
	case !m.Drain:
		body.State = InMaintenance
	case body.Calls > 0:
		body.State = Draining
	default:
		body.State = Drained
	}
	reply(w, http.StatusOK, body)
}

// count is how many calls of a trunk, or of a node, go on.
func (s *Server) count(ctx context.Context, m store.Maintenance) (n int, err error) {
	q := store.Query{Limit: 1000}
	if m.Scope == store.ScopeTrunk {
		q.Trunk = m.Name
	} else {
		q.Node = m.Name
	}
	for {
		page, err := s.calls.Calls(ctx, q)
		if n += len(page.Calls); err != nil || page.Next == "" {
			return n, err
		}
		q.Cursor = page.Next
	}
}

func (s *Server) failMaintenance(w http.ResponseWriter, r *http.Request, scope store.Scope, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound) && scope == store.ScopeTrunk: // lists show _other, which is none
		problem(w, http.StatusNotFound, fmt.Sprintf("the configuration has no trunk %q", r.PathValue("name")))
	case errors.Is(err, store.ErrNotFound):
		problem(w, http.StatusNotFound, fmt.Sprintf("there is no %s %q", scope, r.PathValue("name")))
	case errors.Is(err, store.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "the store cannot be reached now, and maintenance is for all nodes that share it")
	default:
		s.fail(w, r, err)
	}
}
