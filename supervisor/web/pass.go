package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// another says whether what a request asks for is to be done at another node.
func (s *Server) another(r *http.Request, node string) bool {
	_, here := passedOn(r)
	return s.courier != nil && !here && node != s.cfg.Node && node != ""
}

// passOn has the owner of a call do what is asked for, which takes so long, and
// answers the request with what the owner says. It does not for calls of this
// node. Of calls that change their owner just then it asks the next one.
func (s *Server) passOn(w http.ResponseWriter, r *http.Request, c *store.Call, below string, takes time.Duration) bool {
	for range 2 {
		if !s.another(r, c.Node) {
			return false
		}
		remark(r, zap.String("call", c.ID), zap.String("node", c.Node))
		out, err := s.askNode(r, c.Node, below, takes)
		if err != nil {
			s.fail(w, r, err)
			return true
		}
		if out.Status != http.StatusMisdirectedRequest {
			hand(w, out)
			return true
		}
		ctx, cancel := context.WithTimeout(r.Context(), lookTime)
		now, err := s.calls.Call(ctx, c.ID)
		cancel()
		if err != nil {
			s.fail(w, r, err)
			return true
		}
		*c = now
	}
	s.fail(w, r, &unreached{node: c.Node, why: "the call changes its owner just now"})
	return true
}

// askNode has another node do what a request asks for there.
func (s *Server) askNode(r *http.Request, node, below string, takes time.Duration) (*answerOut, error) {
	return s.courier.ask(r.Context(), node, s.commandOf(r, r.Method, below), takes)
}

// commandOf is what another node is told for who sends a request.
func (s *Server) commandOf(r *http.Request, method, below string) command {
	user, _ := s.identify(r) // was let through
	return command{Method: method, Target: "/api/v1/" + below, Key: r.Header.Get("Idempotency-Key"), User: user, Address: r.RemoteAddr}
}

// hand answers with what another node says.
func hand(w http.ResponseWriter, out *answerOut) {
	media := "application/json"
	if out.Status >= 400 {
		media = "application/problem+json"
	}
	w.Header().Set("Content-Type", media)
	if out.After != "" {
		w.Header().Set("Retry-After", out.After)
	}
	w.WriteHeader(out.Status)
	w.Write(append(out.Body, '\n')) // an error here means that the client has left
}

// voice is what one of several nodes answers.
type voice struct {
	node string
	err  error // it was not asked, or refused
	body json.RawMessage
}

// askOthers has all other nodes do what a request asks for, or one if it is named,
// and returns what each says, in the order of their names; and false when they are
// not known.
func (s *Server) askOthers(r *http.Request, below, node string) ([]voice, bool) {
	if s.courier == nil {
		return nil, true
	}
	if _, here := passedOn(r); here {
		return nil, true
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	nodes, err := s.nodes(ctx)
	cancel()
	if err != nil {
		s.log.Debug("nodes cannot be listed", zap.Error(err))
		return nil, false
	}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n store.Node) bool {
		return !n.Live() || n.Name == s.cfg.Node || node != "" && n.Name != node
	})
	all := make([]voice, len(nodes))
	var asking sync.WaitGroup
	for i := range nodes {
		asking.Go(func() {
			all[i].node = nodes[i].Name
			out, err := s.askNode(r, nodes[i].Name, below, soonTime)
			switch {
			case err != nil:
				all[i].err = err
			case out.Status >= 400:
				all[i].err = problemOf(out)
			default:
				all[i].body = out.Body
			}
		})
	}
	asking.Wait()
	slices.SortFunc(all, func(a, b voice) int { return cmp.Compare(a.node, b.node) })
	return all, true
}

// problemOf is the error that another node answers.
func problemOf(out *answerOut) error {
	var p Problem
	if err := json.Unmarshal(out.Body, &p); err != nil || p.Detail == "" {
		p.Detail = http.StatusText(out.Status)
	}
	return errors.New(p.Detail)
}
