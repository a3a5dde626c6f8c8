package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor/progress"
)

// ProgressList is the answer to a query for what takes a while: what goes on,
// and what has ended within the last minute, in the order in which it began.
type ProgressList struct {
	Progress []Progress `json:"progress"`
}

// Progress is how far something is that takes a while.
type Progress struct {
	ID    string `json:"id"`
	Node  string `json:"node"`  // which does it
	What  string `json:"what"`  // start, adoption, hangup, release or drain
	Of    string `json:"of"`    // what it is done to: a node, a batch, a trunk
	Done  int    `json:"done"`  // calls
	Total int    `json:"total"` // of so many, 0 while that is not known
	Began Time   `json:"began"`
	Ended Time   `json:"ended,omitzero"` // not there while it goes on
}

func progressOf(p store.Progress) Progress {
	return Progress{p.ID, p.Node, string(p.What), p.Of, p.Done, p.Total, Time{p.Began}, Time{p.Ended}}
}

// listProgress answers for all nodes: for the others as they were when they
// renewed their leases.
func (s *Server) listProgress(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	nodes, err := s.nodes(ctx)
	if err != nil {
		s.log.Debug("nodes cannot be listed", zap.Error(err))
	}
	list := append(s.elsewhere(nodes), s.cfg.Progress.List()...)
	slices.SortStableFunc(list, func(a, b store.Progress) int { return a.Began.Compare(b.Began) })
	body := ProgressList{Progress: []Progress{}}
	for _, p := range list {
		body.Progress = append(body.Progress, progressOf(p))
	}
	reply(w, http.StatusOK, body)
}

// elsewhere is what takes a while on the other nodes.
func (s *Server) elsewhere(nodes []store.Node) (list []store.Progress) {
	for i := range nodes {
		if nodes[i].Name != s.cfg.Progress.Node() {
			list = append(list, nodes[i].Doing...)
		}
	}
	return list
}

// doing is what goes on of these, for people.
func doing(list []store.Progress) string {
	var texts []string
	for _, p := range list {
		if !p.Ended.IsZero() {
			continue
		}
		text := fmt.Sprintf("%s of %s: %d", p.What, p.Of, p.Done)
		if p.Total > 0 {
			text += fmt.Sprintf(" of %d", p.Total)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

// watchProgress returns a function that tells of what is another than when it
// was called before.
func (s *Server) watchProgress() func([]store.Progress) {
	was := make(map[string]Progress)
	return func(list []store.Progress) {
		now := make(map[string]Progress)
		for _, p := range list {
			v := progressOf(p)
			if now[v.ID] = v; was[v.ID] != v {
				s.feed.tell("progress", v)
			}
		}
		was = now
	}
}

// errand is what a request has begun that goes on after the answer to it.
type errand func(context.Context)

const (
	mostErrands  = 16 // that wait to be begun
	releasePause = time.Second
	drainPause   = 2 * time.Second
)

// runErrands runs them, and batches, until ctx ends.
func (s *Server) runErrands(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-s.errands:
			work.Go(func() { e(ctx) })
		case b := <-s.batches.start:
			work.Go(func() { s.runBatch(ctx, b) })
		}
	}
}

// await shows how far something is that a request has begun. Where it is shown
// already, or too many wait, it is left: nothing depends on it.
func (s *Server) await(what store.Task, of string, total int, follow func(context.Context, *progress.Task)) {
	known := func(p store.Progress) bool { return p.What == what && p.Of == of && p.Ended.IsZero() }
	if s.cfg.Progress == nil || slices.ContainsFunc(s.cfg.Progress.List(), known) {
		return
	}
	task := s.cfg.Progress.Begin(what, of, total)
	select {
	case s.errands <- func(ctx context.Context) {
		defer task.End()
		follow(ctx, task)
	}:
	default:
		task.End()
	}
}

// awaitRelease shows how far the release of n held calls is.
func (s *Server) awaitRelease(n int) {
	s.await(store.TaskRelease, "held calls", n, func(ctx context.Context, task *progress.Task) {
		for {
			left := s.calls.Overview().Releasing
			if task.Left(left); left == 0 || !pause(ctx, releasePause) {
				return
			}
		}
	})
}

// awaitDrain shows how far a trunk or a node is that is to be drained, until it
// is or is not to be any more.
func (s *Server) awaitDrain(m store.Maintenance) {
	s.await(store.TaskDrain, string(m.Scope)+" "+m.Name, 0, func(ctx context.Context, task *progress.Task) {
		for s.maintenance(m.Scope, m.Name) == Draining {
			began := time.Now()
			look, cancel := context.WithTimeout(ctx, lookTime)
			left, err := s.count(look, m)
			cancel()
			if err == nil {
				task.Left(left)
			}
			// To count must not become what the store is busy with.
			if err == nil && left == 0 || !pause(ctx, max(drainPause, 20*time.Since(began))) {
				return
			}
		}
	})
}

// pause is false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
