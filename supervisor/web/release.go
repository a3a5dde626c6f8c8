package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"go.uber.org/zap"
)

// Released is the answer to who has held calls released.
type Released struct {
	Calls   int            `json:"calls"`             // that end now, one after the other
	Nodes   []NodeReleased `json:"nodes,omitempty"`   // the same of each node, where there are several
	Partial bool           `json:"partial,omitempty"` // other nodes are not known now: their calls are left alone
}

// NodeReleased is how many calls end at one node.
type NodeReleased struct {
	Node   string `json:"node"`
	Calls  int    `json:"calls"`
	Failed string `json:"failed,omitempty"` // why it was not asked to
}

// releaseHeld has the calls end that the brake holds now, of all nodes or of one.
// They end one after the other, so the answer is 202.
func (s *Server) releaseHeld(w http.ResponseWriter, r *http.Request) {
	p := parseParams(r.URL.RawQuery)
	text, node := p.text("reason"), p.text("node")
	remark(r, zap.String("reason", text))
	if faults := p.done(); len(faults) > 0 {
		problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
		return
	}
	below := because("brake/release", text)
	switch _, here := passedOn(r); {
	case here || node == s.cfg.Node || node == "" && s.courier == nil:
		reply(w, http.StatusAccepted, Released{Calls: s.releaseHere(r)})
	case node == "":
		s.releaseAll(w, r, below)
	case s.courier == nil || !nodeName.MatchString(node):
		problem(w, http.StatusNotFound, fmt.Sprintf("there is no node %q", node))
	default:
		remark(r, zap.String("node", node))
		out, err := s.askNode(r, node, below, soonTime)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		hand(w, out)
	}
}

// releaseHere is for the calls of this node.
func (s *Server) releaseHere(r *http.Request) int {
	n := s.calls.ReleaseHeld()
	remark(r, zap.Int("calls", n))
	if n > 0 {
		s.awaitRelease(n)
	}
	return n
}

// releaseAll is for those of all nodes. One that cannot be asked keeps none of
// the others from it.
func (s *Server) releaseAll(w http.ResponseWriter, r *http.Request, below string) {
	body := Released{Calls: s.releaseHere(r)}
	body.Nodes = []NodeReleased{{Node: s.cfg.Node, Calls: body.Calls}}
	others, known := s.askOthers(r, below, "")
	body.Partial = !known
	for _, o := range others {
		var there Released
		err := o.err
		if err == nil {
			err = json.Unmarshal(o.body, &there)
		}
		n := NodeReleased{Node: o.node, Calls: there.Calls}
		if err != nil {
			n.Failed = err.Error()
		}
		body.Calls += n.Calls
		body.Nodes = append(body.Nodes, n)
	}
	remark(r, zap.Any("nodes", body.Nodes))
	reply(w, http.StatusAccepted, body)
}
