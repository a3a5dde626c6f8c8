package web

import (
	"context"
	"net/http"

	"sipvigil/store"
)

// Nodes is the answer to a query for nodes.
type Nodes struct {
	Nodes []Node `json:"nodes"`
}

// Node is one of the processes that share the store.
type Node struct {
	Name        string `json:"name"`
	State       string `json:"state"`                 // up, draining, left or dead
	Maintenance string `json:"maintenance,omitempty"` // maintenance or draining: it takes no new calls
	Calls       int    `json:"calls"`                 // that it owned when it was last seen
	Epoch       int64  `json:"epoch"`
	Since       Time   `json:"since,omitzero"` // when this run of it began
	Seen        Time   `json:"seen,omitzero"`  // when it last renewed its lease
	Addr        string `json:"addr"`           // where the other nodes reach its SIP
}

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	list, err := s.nodes(ctx)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, Nodes{Nodes: list})
}

func (s *Server) nodes(ctx context.Context) ([]Node, error) {
	if s.cfg.Nodes == nil {
		return []Node{}, nil
	}
	list, err := s.cfg.Nodes(ctx)
	nodes := make([]Node, len(list))
	for i, n := range list {
		nodes[i] = Node{n.Name, string(n.State), s.maintenance(store.ScopeNode, n.Name), n.Calls, n.Epoch, Time{n.Since}, Time{n.Seen}, n.Addr}
	}
	return nodes, err
}
