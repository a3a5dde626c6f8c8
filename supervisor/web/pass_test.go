package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
	"sipvigil/supervisor"
)

func TestACallOfAnotherNodeIsSeenToThere(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.two.calls.answers[0] = store.Answer{Kind: store.Answered, Method: "OPTIONS", Status: 200}
		c.two.calls.events = []supervisor.Event{{At: at("2026-03-01T11:00:00Z"), Kind: supervisor.EventConfirmed}}
		w := do(c.one.server, "POST", "/api/v1/calls/b-far/probe")
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"method":"OPTIONS","status":200`) {
			t.Errorf("probe: %d %s", w.Code, w.Body)
		}
		w = do(c.one.server, "GET", "/api/v1/calls/"+far+"/events")
		wantJSON(t, w, 200, `{"events": [{"at": "2026-03-01T11:00:00.000Z", "kind": "confirm", "leg": "", "text": "", "rtt_ms": 0}]}`)
		w = do(c.one.server, "DELETE", "/api/v1/calls/b-far?reason=stuck+%26+old")
		wantJSON(t, w, 202, `{"id": "`+far+`"}`)
		want := []string{"edge-2 hangs up " + far + ": stuck & old", "edge-2 probes " + far}
		if d := cmp.Diff(want, c.done()); d != "" {
			t.Errorf("what was done (-want +got):\n%s", d)
		}
	})
}

func TestACallShowsWhyItsOwnerHoldsIt(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		held := c.two.calls.calls[far]
		held.Legs[store.Callee].Liveness, held.Legs[store.Callee].Held = store.Silent, "trunk carrier itself does not answer"
		c.two.calls.calls[far] = held
		known := held
		known.Legs[store.Callee].Held = "" // the store does not have it
		c.one.calls.calls[far] = known
		test := func(want string, takes time.Duration) {
			t.Helper()
			began := time.Now()
			var got Call
			w := do(c.one.server, "GET", "/api/v1/calls/"+far)
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || w.Header().Get("ETag") == "" || got.Callee.Held != want {
				t.Errorf("%d %v, %s: held %q, want %q", w.Code, w.Header(), w.Body, got.Callee.Held, want)
			}
			if took := time.Since(began); took != takes {
				t.Errorf("took %v, want %v", took, takes)
			}
		}
		test("trunk carrier itself does not answer", 0)
		delete(c.two.calls.calls, far) // it has just ended there
		test("", 0)
		c.air.carry = func(letter, func()) (int, error) { return 1, nil }
		test("", soonTime)
		known.Legs[store.Callee].Liveness = store.Alive
		c.one.calls.calls[far] = known
		test("", 0)
	})
}

func TestWhatTheOwnerRefusesIsSaid(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.two.calls.err = fmt.Errorf("hang up call x: %w", supervisor.ErrEnding)
		wantProblem(t, do(c.one.server, "DELETE", "/api/v1/calls/"+far), 409, "call is ending already")
		delete(c.two.calls.calls, far)
		wantProblem(t, do(c.one.server, "DELETE", "/api/v1/calls/"+far), 404, "no call has this id")
		c.two.calls.lookErr = errors.New("disk on fire")
		wantProblem(t, do(c.one.server, "DELETE", "/api/v1/calls/"+far), 500, "disk on fire")
		c.two.server.cfg.Started = func() bool { return false }
		w := do(c.one.server, "DELETE", "/api/v1/calls/"+far)
		if wantProblem(t, w, 503, "starting"); w.Header().Get("Retry-After") != "2" {
			t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
		}
	})
}

// moves has edge-2 say that the call is another node's by now.
func (c *cluster) moves(to string) {
	c.two.calls.hangup = func(id string) error {
		if to != "" {
			known := c.one.calls.calls[far]
			known.Node = to
			c.one.calls.calls[far] = known
		}
		return &supervisor.Elsewhere{ID: id, Node: to}
	}
}

func TestACallThatHasMovedIsFollowed(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.moves("edge-1")
		wantJSON(t, do(c.one.server, "DELETE", "/api/v1/calls/"+far), 202, `{"id": "`+far+`"}`)
		if got := c.done(); len(got) != 2 || got[0] != "edge-1 hangs up "+far+": " {
			t.Errorf("done: %v", got)
		}
	})
	onPair(t, func(t *testing.T, c *cluster) { // its owner is not known yet
		c.moves("")
		w := do(c.one.server, "DELETE", "/api/v1/calls/"+far)
		if wantProblem(t, w, 503, "changes its owner"); w.Header().Get("Retry-After") == "" || len(c.done()) != 2 {
			t.Errorf("Retry-After is %q, done: %v", w.Header().Get("Retry-After"), c.done())
		}
	})
}

func TestBothNodesLogWhoActs(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		core, logs := observer.New(zap.InfoLevel)
		c.one.server.log, c.two.server.log = zap.New(core), zap.New(core)
		do(c.one.server, "DELETE", "/api/v1/calls/b-far?reason=stuck")
		var lines []map[string]any
		for _, e := range logs.FilterMessage("operator acts").All() {
			lines = append(lines, e.ContextMap())
		}
		line := func(target, key, node string) map[string]any {
			return map[string]any{"who": "local", "role": "admin", "from": "192.0.2.1:1234", "method": "DELETE", "route": "/api/v1/calls/{id}",
				"target": target, "reason": "stuck", "call": far, "status": int64(202), key: node}
		}
		if d := cmp.Diff([]map[string]any{line(far, "via", "edge-1"), line("b-far", "node", "edge-2")}, lines); d != "" {
			t.Errorf("log (-want +got):\n%s", d)
		}
	})
}

// batch begins one at a server.
func (s *stage) batch(t *testing.T, body string) Batch {
	t.Helper()
	var b Batch
	w := post(s.server, "/api/v1/calls/hangup", body)
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != 202 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return b
}

func TestABatchEndsCallsOfAllNodes(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.one.calls.hangup = func(id string) error {
			if strings.HasPrefix(id, "far") {
				return &supervisor.Elsewhere{ID: id, Node: "edge-2"}
			}
			return nil
		}
		for _, id := range []string{"far-1", "far-2", "far-3", "far-4"} {
			known := confirmed()
			known.ID = id
			c.two.calls.calls[id] = known
		}
		c.two.calls.hangup = func(id string) error {
			if id == "far-2" {
				return supervisor.ErrEnding
			}
			return nil
		}
		b := c.one.batch(t, `{"ids": ["far-1", "far-2", "far-5", "near"], "reason": "why", "per_second": 1}`)
		if !strings.HasSuffix(b.ID, "@edge-1") {
			t.Errorf("the id %s does not say where it runs", b.ID)
		}
		pass(time.Minute)
		got := shown(t, c.one.server, b.ID)
		if got.State != "done" || got.Ended != 2 || got.Gone != 2 || got.Failed != 0 {
			t.Errorf("batch: %+v", got)
		}
		want := []string{"edge-1 hangs up far-1: why", "edge-1 hangs up far-2: why", "edge-1 hangs up far-5: why", "edge-1 hangs up near: why",
			"edge-2 hangs up far-1: why", "edge-2 hangs up far-2: why"}
		if d := cmp.Diff(want, c.done()); d != "" {
			t.Errorf("what was done (-want +got):\n%s", d)
		}
		// Any node shows it, and stops another.
		if d := cmp.Diff(got, shown(t, c.two.server, b.ID)); d != "" {
			t.Errorf("as edge-2 shows it (-want +got):\n%s", d)
		}
		next := c.one.batch(t, `{"ids": ["near", "near-2", "near-3"], "per_second": 1}`)
		if w := do(c.two.server, "DELETE", "/api/v1/batches/"+next.ID); w.Code != 202 {
			t.Errorf("stopping it: %d %s", w.Code, w.Body)
		}
		pass(time.Minute)
		var all Batches
		if err := json.Unmarshal(do(c.two.server, "GET", "/api/v1/batches").Body.Bytes(), &all); err != nil || len(all.Batches) != 2 || all.Partial {
			t.Fatalf("%+v, %v", all, err)
		}
		if all.Batches[0].ID != next.ID || all.Batches[0].State != "stopped" || all.Batches[1].ID != b.ID {
			t.Errorf("batches: %+v", all)
		}
		wantProblem(t, do(c.two.server, "GET", "/api/v1/batches/x@edge-1"), 404, "no such batch")
		wantProblem(t, do(c.two.server, "GET", "/api/v1/batches/x@edge-3"), 503, "edge-3")
		wantProblem(t, do(c.two.server, "GET", "/api/v1/batches/x@a%20b"), 404, "no such batch")
	})
}

func TestABatchFollowsACallThatHasMoved(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		owner := "edge-2"
		c.one.calls.hangup = func(id string) error {
			if owner == "edge-1" {
				return nil
			}
			return &supervisor.Elsewhere{ID: id, Node: owner}
		}
		c.two.calls.hangup = func(id string) error {
			owner = "edge-1"
			return &supervisor.Elsewhere{ID: id, Node: owner}
		}
		b := c.one.batch(t, `{"ids": ["`+far+`"]}`)
		pass(time.Minute)
		if got := shown(t, c.one.server, b.ID); got.State != "done" || got.Ended != 1 || got.Failed != 0 {
			t.Errorf("batch: %+v", got)
		}
	})
}

// A node that is stopped costs a batch some seconds, not so many for each call.
func TestABatchDoesNotWaitForADeafNodeAgainAndAgain(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.one.calls.hangup = func(id string) error { return &supervisor.Elsewhere{ID: id, Node: "edge-2"} }
		c.air.carry = func(letter, func()) (int, error) { return 1, nil }
		var ids []string
		for i := range 100 {
			ids = append(ids, fmt.Sprintf(`"c%02d"`, i))
		}
		b := c.one.batch(t, `{"ids": [`+strings.Join(ids, ",")+`], "per_second": 100}`)
		pass(7 * time.Second)
		got := shown(t, c.one.server, b.ID)
		if got.State != "done" || got.Failed != 100 || !strings.Contains(got.Failures[0].Detail, "node edge-2 cannot be asked") {
			t.Errorf("batch: %+v", got)
		}
	})
}

func TestHeldCallsOfAllNodesAreReleased(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		release := func(query string) *httptest.ResponseRecorder {
			return do(c.one.server, "POST", "/api/v1/brake/release"+query)
		}
		wantJSON(t, release("?reason=why"), 202, `{"calls": 14, "nodes": [{"node": "edge-1", "calls": 7}, {"node": "edge-2", "calls": 7}]}`)
		wantJSON(t, release("?node=edge-1"), 202, `{"calls": 7}`)
		wantJSON(t, release("?node=edge-2"), 202, `{"calls": 7}`)
		wantProblem(t, release("?node=edge-3"), 503, "node edge-3 cannot be asked: it does not listen")
		wantProblem(t, release("?node=edge%203"), 404, `no node "edge 3"`)
		c.air.box("edge-2", nil)
		w := release("")
		var got Released
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 202 || got.Calls != 7 || len(got.Nodes) != 2 ||
			!strings.Contains(got.Nodes[1].Failed, "node edge-2 cannot be asked") {
			t.Errorf("without edge-2: %d %s", w.Code, w.Body)
		}
		c.one.server.cfg.Nodes = func(context.Context) ([]store.Node, error) { return nil, store.ErrUnavailable }
		wantJSON(t, release(""), 202, `{"calls": 7, "nodes": [{"node": "edge-1", "calls": 7}], "partial": true}`)
	})
}

func TestTrunksShowWhatTheCallsOfAllNodesUse(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		usage := func(name string, n int, counted bool, peers ...supervisor.Worst) TrunkUsage {
			return TrunkUsage{Name: name, Counted: counted, Used: [2]int{100, 100}, Usage: supervisor.Usage{Calls: n, In: n, Out: n, Suspect: n, Silent: n, Held: n,
				Reclaimed: n, Unproven: time.Duration(n) * time.Second, Peers: peers}}
		}
		c.one.server.cfg.Usage = func() []TrunkUsage {
			return []TrunkUsage{usage("pbx", 1, false), usage("carrier", 2, true, supervisor.Worst{Name: "a", Legs: 3}, supervisor.Worst{Name: "b", Legs: 2})}
		}
		c.two.server.cfg.Usage = func() []TrunkUsage {
			return []TrunkUsage{usage("pbx", 10, false), usage("carrier", 20, true, supervisor.Worst{Name: "b", Legs: 2}), usage("_other", 5, false)}
		}
		read := func() Trunks {
			var all Trunks
			if err := json.Unmarshal(do(c.one.server, "GET", "/api/v1/trunks").Body.Bytes(), &all); err != nil {
				t.Fatal(err)
			}
			return all
		}
		row := func(name string, in, n int, whole bool, peers ...Worst) Trunk {
			if peers == nil {
				peers = []Worst{}
			}
			return Trunk{Name: name, State: "unwatched", Addresses: []Place{}, Usage: &Usage{In: in, Out: in, AllNodes: whole, Calls: n, Suspect: n, Silent: n,
				Held: n, Reclaimed: n, ReclaimedSeconds: float64(n), WorstPeers: peers, WorstAgents: []Worst{}}}
		}
		want := Trunks{Trunks: []Trunk{row("pbx", 11, 11, true), row("carrier", 100, 22, true, Worst{"b", 4}, Worst{"a", 3}), row("_other", 5, 5, true)}}
		if d := cmp.Diff(want, read()); d != "" {
			t.Errorf("trunks (-want +got):\n%s", d)
		}
		c.mu.Lock()
		c.nodes = append(c.nodes, store.Node{Name: "edge-3", State: store.NodeDead}) // whom nobody asks
		c.mu.Unlock()
		if d := cmp.Diff(want, read()); d != "" {
			t.Errorf("trunks beside a dead node (-want +got):\n%s", d)
		}
		c.air.box("edge-2", nil)
		want = Trunks{Partial: true, Trunks: []Trunk{row("pbx", 1, 1, false), row("carrier", 100, 2, true, Worst{"a", 3}, Worst{"b", 2})}}
		if d := cmp.Diff(want, read()); d != "" {
			t.Errorf("trunks without edge-2 (-want +got):\n%s", d)
		}
	})
}

func TestAnswersOfOtherNodesAreAsTheOpenAPIDocumentSays(t *testing.T) {
	a := readAPI(t)
	onPair(t, func(t *testing.T, c *cluster) {
		c.one.server.cfg.Usage = func() []TrunkUsage { return []TrunkUsage{{Name: "pbx"}} }
		c.two.server.cfg.Usage = c.one.server.cfg.Usage
		b := c.two.batch(t, `{"ids": ["x"]}`)
		pass(time.Second)
		check := func(schema, method, target string, header ...string) {
			t.Helper()
			w := do(c.one.server, method, target, header...)
			a.check(t, fmt.Sprint(method, " ", target, " ", w.Code), pointer("components", "schemas", schema), w.Body.String())
		}
		for _, there := range []bool{true, false} {
			check("Released", "POST", "/api/v1/brake/release")
			check("Trunks", "GET", "/api/v1/trunks")
			check("Batches", "GET", "/api/v1/batches")
			check("Calls", "GET", "/api/v1/calls?held=true")
			schemas := []string{"Problem", "Problem", "Problem", "Problem"}
			if there {
				schemas = []string{"Batch", "Events", "Probed", "Started"}
			}
			check(schemas[0], "GET", "/api/v1/batches/"+b.ID)
			check(schemas[1], "GET", "/api/v1/calls/"+far+"/events")
			check(schemas[2], "POST", "/api/v1/calls/"+far+"/probe")
			check(schemas[3], "DELETE", "/api/v1/calls/"+far)
			c.air.box("edge-2", nil)
		}
	})
}
