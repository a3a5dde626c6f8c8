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
	Since       Time   `json:"since,omitzero"`  // when this run of it began
	Seen        Time   `json:"seen,omitzero"`   // when it last renewed its lease
	Addr        string `json:"addr"`            // where the other nodes reach its SIP
	Doing       string `json:"doing,omitempty"` // what takes a while, and how far it is
}

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	list, err := s.nodes(ctx)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body := Nodes{Nodes: make([]Node, len(list))}
	for i := range list {
		body.Nodes[i] = s.node(&list[i])
	}
	reply(w, http.StatusOK, body)
}

func (s *Server) nodes(ctx context.Context) ([]store.Node, error) {
	if s.cfg.Nodes == nil {
		return nil, nil
	}
	return s.cfg.Nodes(ctx)
}

func (s *Server) node(n *store.Node) Node {
	now := n.Doing
	if n.Name == s.cfg.Progress.Node() {
		now = s.cfg.Progress.List() // newer
	}
	return Node{n.Name, string(n.State), s.maintenance(store.ScopeNode, n.Name), n.Calls, n.Epoch, Time{n.Since}, Time{n.Seen}, n.Addr, doing(now)}
}
