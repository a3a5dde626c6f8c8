package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// BatchRequest asks for the end of several calls: those with these ids (or
// Call-IDs), or those that a filter selects.
type BatchRequest struct {
	IDs       []string     `json:"ids"`
	Filter    *BatchFilter `json:"filter"`
	Reason    string       `json:"reason"`
	DryRun    bool         `json:"dry_run"`    // only say what would be ended
	PerSecond float64      `json:"per_second"` // 0: 10

	partial bool // the filter has found calls of this node only
}

// BatchFilter has the parameters of a list of calls. At least one must be given.
type BatchFilter struct {
	State    string `json:"state"`
	Liveness string `json:"liveness"`
	Trunk    string `json:"trunk"`
	Number   string `json:"number"`
	Node     string `json:"node"`
	Older    string `json:"older"`
}

// Preview is the answer to a dry run.
type Preview struct {
	Total int    `json:"total"`
	Calls []Call `json:"calls"` // the first of them

	Partial bool `json:"partial,omitempty"` // the store is out of reach: only this node's calls
}

// Batch is how far a batch of hang-ups is. The node that it was asked for runs it;
// where there are several its name is a part of the id, after an @.
type Batch struct {
	ID        string         `json:"id"`
	By        string         `json:"by"` // who asked for it
	Reason    string         `json:"reason"`
	State     string         `json:"state"` // running, done or stopped
	PerSecond float64        `json:"per_second"`
	Total     int            `json:"total"`
	Partial   bool           `json:"partial,omitempty"` // the store was out of reach: only calls of the node that was asked
	Ended     int            `json:"ended"`             // calls whose BYEs went out
	Gone      int            `json:"gone"`              // that had ended by themselves
	Failed    int            `json:"failed"`            // that could not be ended
	Failures  []BatchFailure `json:"failures"`
	Began     Time           `json:"began"`
	Finished  Time           `json:"finished,omitzero"`
}

// BatchFailure is a call that could not be ended. Only the first are kept.
type BatchFailure struct {
	ID     string `json:"id"`
	Detail string `json:"detail"`
}

// Batches is the list of them, the newest first.
type Batches struct {
	Batches []Batch `json:"batches"`
	Partial bool    `json:"partial,omitempty"` // those of some other nodes are not there
}

const (
	mostBatch    = 100_000 // calls
	mostBatches  = 50      // that are remembered
	mostRunning  = 8
	mostFailures = 20
	mostPreview  = 100
	usualPace    = 10
	leastPace    = 0.01
	mostPace     = 1000
)

// batches runs them and remembers the last.
type batches struct {
	at    string      // what the ids of those of this node end with
	start chan *batch // has room for mostRunning

	mu      sync.Mutex
	all     []*batch // the oldest first
	running int
}

type batch struct {
	Batch // guarded by the lock of batches
	ids   []string
	end   command             // what another node is told, but for the call
	deaf  map[string]deafness // nodes that could not be told a short while ago
	stop  chan struct{}       // closed to stop it
}

func newBatches(at string) *batches { return &batches{at: at, start: make(chan *batch, mostRunning)} }

// hangupCalls begins to end several calls, one after the other.
func (s *Server) hangupCalls(w http.ResponseWriter, r *http.Request) {
	var ask BatchRequest
	if err := readJSON(r.Body, &ask); err != nil {
		refuseBody(w, err)
		return
	}
	q, faults := ask.check()
	remark(r, zap.String("reason", ask.Reason), zap.Bool("dry_run", ask.DryRun), zap.Any("filter", ask.Filter))
	if len(faults) > 0 {
		problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
		return
	}
	ids, preview, err := s.choose(r.Context(), &ask, q)
	remark(r, zap.Int("calls", len(ids)), zap.Bool("partial", ask.partial))
	switch {
	case err != nil:
		s.fail(w, r, err)
	case len(ids) > mostBatch:
		problem(w, http.StatusConflict, fmt.Sprintf("that is more than %d calls: choose fewer", mostBatch))
	case ask.DryRun:
		reply(w, http.StatusOK, Preview{Total: len(ids), Calls: preview, Partial: ask.partial})
	default:
		b, ok := s.batches.add(ids, &ask, s.commandOf(r, http.MethodDelete, ""))
		if !ok {
			w.Header().Set("Retry-After", "30")
			problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d batches are under way already", mostRunning))
			return
		}
		remark(r, zap.String("batch", b.ID))
		w.Header().Set("Location", "/api/v1/batches/"+b.ID)
		reply(w, http.StatusAccepted, b)
	}
}

// check returns the query of a filter, and every fault.
func (a *BatchRequest) check() (q store.Query, faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if a.PerSecond != 0 && (a.PerSecond < leastPace || a.PerSecond > mostPace) {
		fault("per_second: %v is not from %v to %d", a.PerSecond, leastPace, mostPace)
	}
	if len(a.Reason) > maxText || !printable(a.Reason) {
		fault("reason: at most %d bytes, all printable", maxText)
	}
	for _, id := range a.IDs {
		if len(id) > maxID || !printable(id) {
			fault("ids: an id has at most %d bytes, all printable", maxID)
			break
		}
	}
	if (len(a.IDs) > 0) == (a.Filter != nil) {
		fault("give either ids or a filter")
	}
	if a.Filter == nil {
		return q, faults
	}
	p := &params{values: a.Filter.values()}
	if len(p.values) == 0 {
		fault("filter: an empty one would end every call; give a state if that is meant")
	}
	q = store.Query{State: oneOf(p, "state", states[:3]), Liveness: oneOf(p, "liveness", lives), Trunk: p.text("trunk"),
		Number: p.text("number"), Node: p.text("node"), Older: p.duration("older"), Limit: maxLimit}
	for _, f := range p.done() {
		fault("filter.%s", f)
	}
	return q, faults
}

// values are the parts of a filter that are given.
func (f *BatchFilter) values() map[string][]string {
	values := make(map[string][]string)
	for name, v := range map[string]string{"state": f.State, "liveness": f.Liveness, "trunk": f.Trunk, "number": f.Number,
		"node": f.Node, "older": f.Older} {
		if v != "" {
			values[name] = []string{v}
		}
	}
	return values
}

// choose returns the ids of the calls that are meant, and the first of these.
func (s *Server) choose(ctx context.Context, ask *BatchRequest, q store.Query) (ids []string, first []Call, err error) {
	first = []Call{}
	if ask.Filter == nil {
		ids = slices.Compact(slices.Sorted(slices.Values(ask.IDs)))
		for _, id := range ids[:min(len(ids), mostPreview)] {
			if c, err := s.calls.Call(ctx, id); err == nil && ask.DryRun {
				first = append(first, call(&c))
			}
		}
		return ids, first, nil
	}
	for {
		page, partial, err := s.page(ctx, q) // without the store those of this node can be ended, no others
		if err != nil {
			return nil, nil, err
		}
		ask.partial = ask.partial || partial
		for i := range page.Calls {
			c := &page.Calls[i]
			if c.State == store.Ending {
				continue
			}
			if ids = append(ids, c.ID); len(first) < mostPreview {
				first = append(first, call(c))
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" || len(ids) > mostBatch {
			return ids, first, nil
		}
	}
}

// add takes a batch to be run, unless too many are.
func (l *batches) add(ids []string, ask *BatchRequest, end command) (Batch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == mostRunning {
		return Batch{}, false
	}
	b := &batch{ids: ids, end: end, deaf: make(map[string]deafness), stop: make(chan struct{}), Batch: Batch{
		ID: rand.Text()[:12] + l.at, By: end.User.Name, Reason: ask.Reason, State: "running",
		PerSecond: ask.PerSecond, Total: len(ids), Partial: ask.partial, Failures: []BatchFailure{}, Began: Time{time.Now()}}}
	if b.PerSecond == 0 {
		b.PerSecond = usualPace
	}
	l.running++
	if len(l.all) == mostBatches {
		over := slices.IndexFunc(l.all, func(b *batch) bool { return b.State != "running" }) // there is one: fewer may run
		l.all = slices.Delete(l.all, over, over+1)
	}
	l.all = append(l.all, b)
	l.start <- b // has room: that many run at most
	return b.Batch, true
}

// listBatches answers for all nodes.
func (s *Server) listBatches(w http.ResponseWriter, r *http.Request) {
	others, known := s.askOthers(r, "batches", "")
	body := Batches{Batches: []Batch{}, Partial: !known}
	s.batches.mu.Lock()
	for _, b := range slices.Backward(s.batches.all) {
		body.Batches = append(body.Batches, b.copy())
	}
	s.batches.mu.Unlock()
	for _, o := range others {
		var more Batches
		if o.err != nil || json.Unmarshal(o.body, &more) != nil {
			body.Partial = true
		}
		body.Batches = append(body.Batches, more.Batches...)
	}
	slices.SortStableFunc(body.Batches, func(a, b Batch) int { return b.Began.Compare(a.Began.Time) })
	reply(w, http.StatusOK, body)
}

func (s *Server) showBatch(w http.ResponseWriter, r *http.Request) {
	if b := s.findBatch(w, r); b != nil {
		reply(w, http.StatusOK, s.batches.snapshot(b))
	}
}

// stopBatch has no further call of a batch ended.
func (s *Server) stopBatch(w http.ResponseWriter, r *http.Request) {
	b := s.findBatch(w, r)
	if b == nil {
		return
	}
	s.batches.mu.Lock()
	select {
	case <-b.stop:
	default:
		close(b.stop)
	}
	s.batches.mu.Unlock()
	reply(w, http.StatusAccepted, s.batches.snapshot(b))
}

// findBatch answers the request itself when there is no such batch here.
func (s *Server) findBatch(w http.ResponseWriter, r *http.Request) *batch {
	id := r.PathValue("id")
	if _, node, _ := strings.Cut(id, "@"); nodeName.MatchString(node) && s.another(r, node) {
		out, err := s.askNode(r, node, "batches/"+url.PathEscape(id), soonTime)
		if err != nil {
			s.fail(w, r, err)
			return nil
		}
		hand(w, out)
		return nil
	}
	s.batches.mu.Lock()
	defer s.batches.mu.Unlock()
	for _, b := range s.batches.all {
		if b.ID == id {
			return b
		}
	}
	problem(w, http.StatusNotFound, "there is no such batch, or it was a while ago")
	return nil
}
