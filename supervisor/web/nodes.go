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
	Name  string `json:"name"`
	State string `json:"state"` // up, draining, left or dead
	Calls int    `json:"calls"` // that it owned when it was last seen
	Epoch int64  `json:"epoch"`
	Since Time   `json:"since,omitzero"` // when this run of it began
	Seen  Time   `json:"seen,omitzero"`  // when it last renewed its lease
	Addr  string `json:"addr"`           // where the other nodes reach its SIP
}

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	list := []store.Node(nil)
	if s.cfg.Nodes != nil {
		var err error
		if list, err = s.cfg.Nodes(ctx); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	body := Nodes{Nodes: make([]Node, len(list))}
	for i, n := range list {
		body.Nodes[i] = Node{n.Name, string(n.State), n.Calls, n.Epoch, Time{n.Since}, Time{n.Seen}, n.Addr}
	}
	reply(w, http.StatusOK, body)
}
