package daemon

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"sipvigil/b2bua"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
	"sipvigil/supervisor/maintenance"
)

// How long those are asked to wait whose calls are not taken now.
const (
	maintenanceRetry = time.Minute
	coupledRetry     = 30 * time.Second
)

// refuseDrop is the value of trunks[].refuse_with that leaves OPTIONS without an
// answer. INVITE gets one all the same.
const refuseDrop = "drop"

// refuseCodes are its other values.
var refuseCodes = []string{"480", "500", "502", "503", "504", "505", "603"}

// service says which trunks take new calls: an operator may have closed one, or
// the node, and a trunk that is coupled to another is as closed as that one.
type service struct {
	node   string
	trunks map[string]Trunk
	board  *maintenance.Board
	down   func(trunk string) bool // none of its addresses is up
}

func newService(cfg Config, board *maintenance.Board, down func(trunk string) bool) *service {
	s := &service{node: cfg.Node, trunks: make(map[string]Trunk), board: board, down: down}
	for _, t := range cfg.Trunks {
		s.trunks[t.Name] = t
	}
	return s
}

// from is what new calls from a trunk get.
func (s *service) from(trunk string) b2bua.Service {
	t := s.trunks[trunk]
	var closed b2bua.Service
	switch {
	case s.idle(), s.maintained(trunk):
		closed.Why, closed.RetryAfter = "maintenance", maintenanceRetry
	case s.cut(t.CoupledTo):
		closed.Why, closed.RetryAfter = "coupled", coupledRetry
	default:
		return closed
	}
	closed.Status, closed.Mute = 503, t.RefuseWith == refuseDrop
	if status, err := strconv.Atoi(t.RefuseWith); err == nil {
		closed.Status = status
	}
	return closed
}

// quiet says whether our own OPTIONS to a trunk stop, because it would take them
// for a sign that its calls get through: the trunk that it is coupled to does not
// take them. One that is down itself is asked all the same, so that two which
// are coupled to each other find each other again.
func (s *service) quiet(trunk string) bool {
	return s.cut(s.trunks[trunk].CoupledTo) && !s.down(trunk)
}

// cut says whether no call can go to a trunk; "" is none.
func (s *service) cut(trunk string) bool {
	return trunk != "" && (s.maintained(trunk) || s.down(trunk))
}

func (s *service) maintained(trunk string) bool {
	_, on := s.board.In(store.ScopeTrunk, trunk)
	return on
}

// idle says whether this node is in maintenance.
func (s *service) idle() bool {
	_, on := s.board.In(store.ScopeNode, s.node)
	return on
}

// gate is what new calls are told about links: none leads to a trunk in
// maintenance.
type gate struct {
	b2bua.Links
	closed func(trunk string) bool
}

// Use implements [b2bua.Links].
func (g gate) Use(trunk string, hop locate.Hop) b2bua.Use {
	if g.closed(trunk) {
		return b2bua.UseNever
	}
	return g.Links.Use(trunk, hop)
}

// desk is where operators set maintenance. It knows which trunks and nodes
// there are.
type desk struct {
	*maintenance.Board
	service *service
	nodes   func(ctx context.Context) ([]store.Node, error)
}

// Look implements [web.Maintenance].
func (d *desk) Look(ctx context.Context, scope store.Scope, name string) (store.Maintenance, error) {
	if scope == store.ScopeNode && name == "-" {
		name = d.service.node
	}
	if m, on := d.In(scope, name); on {
		return m, nil
	}
	m := store.Maintenance{Scope: scope, Name: name}
	known := name == d.service.node
	switch {
	case scope == store.ScopeTrunk:
		_, known = d.service.trunks[name]
	case !known:
		nodes, err := d.nodes(ctx)
		if err != nil {
			return m, err
		}
		known = slices.ContainsFunc(nodes, func(n store.Node) bool { return n.Name == name })
	}
	if !known {
		return m, fmt.Errorf("%s %s: %w", scope, name, store.ErrNotFound)
	}
	return m, nil
}
