package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// far is a call of edge-2, as both nodes know it.
const far = "0198c0de-0000-7000-8000-0000000000ff"

// onPair runs a test with two nodes, of which edge-2 has the call far.
func onPair(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	onCluster(t, func(t *testing.T, c *cluster) {
		for _, s := range []*stage{c.one, c.two} {
			known := confirmed()
			known.ID, known.Node = far, "edge-2"
			s.calls.calls[far], s.calls.calls["b-far"] = known, known
		}
		synctest.Wait() // both take letters
		test(t, c)
	})
}

// done is what was done to calls at both nodes.
func (c *cluster) done() []string {
	var all []string
	for _, s := range []*stage{c.one, c.two} {
		s.calls.mu.Lock()
		for _, what := range s.calls.hungUp {
			all = append(all, s.server.cfg.Node+" hangs up "+what)
		}
		for _, id := range s.calls.probed {
			all = append(all, s.server.cfg.Node+" probes "+id)
		}
		s.calls.mu.Unlock()
	}
	return all
}

func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, parts ...string) {
	t.Helper()
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Status != status || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d, %v: %s, want %d", w.Code, w.Header(), w.Body, status)
	}
	for _, part := range parts {
		if !strings.Contains(p.Detail, part) {
			t.Errorf("%q does not say %q", p.Detail, part)
		}
	}
}

// deaf is a wire by which nothing can be taken.
type deaf struct{ antenna }

func (deaf) Receive(context.Context, func([]byte)) error { return errors.New("no permission") }

func TestThatNothingCanBeTakenIsLoggedOnceUnlessTheStoreIsAway(t *testing.T) {
	for _, reachable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			status := func() store.Status { return store.Status{Reachable: reachable} }
			c := newCourier("edge-1", deaf{antenna{newAir(), "edge-1"}}, status, nil, zap.New(core))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var at time.Duration
			began := time.Now()
			c.run(ctx)
			if logs.Len() > 0 {
				at = logs.All()[0].Time.Sub(began)
			}
			if reachable && (logs.Len() != 1 || at != (deafAfter-1)*time.Second) || !reachable && logs.Len() > 0 {
				t.Errorf("reachable is %t, logged %d lines, after %v", reachable, logs.Len(), at)
			}
		})
	}
}

// A command is done once, or is known not to have been done, or it is said that
// nobody knows.
func TestWhatBecomesOfACommandWhenTheWireFails(t *testing.T) {
	const none, once = 0, 1
	lose := func(kind letterKind) func(l letter, arrive func()) (int, error) {
		return func(l letter, arrive func()) (int, error) {
			if l.Kind != kind {
				arrive()
			}
			return 1, nil
		}
	}
	fails := func(kind letterKind) func(l letter, arrive func()) (int, error) {
		return func(l letter, arrive func()) (int, error) {
			if l.Kind == kind {
				return 0, errors.New("Redis is away")
			}
			arrive()
			return 1, nil
		}
	}
	late := func(kind letterKind, by time.Duration) func(l letter, arrive func()) (int, error) {
		return func(l letter, arrive func()) (int, error) {
			if kind == "" || l.Kind == kind {
				time.AfterFunc(by, arrive)
			} else {
				arrive()
			}
			return 1, nil
		}
	}
	for name, test := range map[string]struct {
		carry  func(l letter, arrive func()) (int, error)
		status int
		took   time.Duration
		done   int
		detail string
	}{
		"all is well": {nil, 202, 0, once, ""},
		"each letter arrives twice": {func(_ letter, arrive func()) (int, error) {
			arrive()
			arrive()
			time.AfterFunc(time.Millisecond, arrive)
			time.AfterFunc(time.Minute, arrive)
			return 1, nil
		}, 202, 0, once, ""},
		"each letter takes a second": {late("", time.Second), 202, 4 * time.Second, once, ""},
		"nobody is there":            {func(letter, func()) (int, error) { return 0, nil }, 503, 0, none, "it does not listen"},
		"Redis is away":              {fails(letterHail), 503, 0, none, "Redis is away"},
		"the owner is stopped":       {lose(letterHail), 503, hailTime, none, "said nothing for 5s"},
		"the owner goes in between": {func(l letter, arrive func()) (int, error) {
			if l.Kind == letterDo {
				return 0, nil
			}
			arrive()
			return 1, nil
		}, 503, 0, none, "it does not listen"},
		"its clock is lost":                            {lose(letterClock), 503, hailTime, none, "said nothing for 5s"},
		"its clock cannot be sent":                     {fails(letterClock), 503, hailTime, none, "said nothing for 5s"},
		"its clock comes late":                         {late(letterClock, hailTime+time.Second), 503, hailTime, none, "said nothing for 5s"},
		"the command is lost":                          {lose(letterDo), 504, beginTime + soonTime, none, "It may have been done"},
		"the command cannot be sent":                   {fails(letterDo), 504, beginTime + soonTime, none, "It may have been done"},
		"the command comes just in time":               {late(letterDo, beginTime), 202, beginTime, once, ""},
		"the command comes too late":                   {late(letterDo, beginTime+time.Millisecond), 504, beginTime + soonTime, none, "It may have been done"},
		"the command comes when nobody waits any more": {late(letterDo, time.Minute), 504, beginTime + soonTime, none, "It may have been done"},
		"its outcome is lost":                          {lose(letterDone), 504, beginTime + soonTime, once, "It may have been done"},
		"its outcome cannot be sent":                   {fails(letterDone), 504, beginTime + soonTime, once, "It may have been done"},
		"its outcome comes too late":                   {late(letterDone, time.Minute), 504, beginTime + soonTime, once, "It may have been done"},
		"its outcome comes after some":                 {late(letterDone, 3*time.Second), 202, 3 * time.Second, once, ""},
	} {
		t.Run(name, func(t *testing.T) {
			onPair(t, func(t *testing.T, c *cluster) {
				c.air.carry = test.carry
				began := time.Now()
				w := do(c.one.server, "DELETE", "/api/v1/calls/"+far+"?reason=stuck")
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if test.status == 202 {
					wantJSON(t, w, 202, `{"id": "`+far+`"}`)
				} else {
					wantProblem(t, w, test.status, "node edge-2", test.detail)
				}
				if certain := w.Header().Get("Retry-After") != ""; certain != (test.status == 503) {
					t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
				}
				pass(2 * time.Minute)
				if got := c.done(); len(got) != test.done {
					t.Errorf("done: %v, want %d", got, test.done)
				}
			})
		})
	}
}

// A command whose answer was lost, and that is asked for again with its key, is
// answered as it was then: by way of any node.
func TestARepeatedRequestIsDoneOnceOnAllNodes(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		probe := func(s *Server) *httptest.ResponseRecorder {
			return do(s, "POST", "/api/v1/calls/"+far+"/probe", "Idempotency-Key", "k")
		}
		c.air.carry = func(l letter, arrive func()) (int, error) {
			if l.Kind != letterDone {
				arrive()
			}
			return 1, nil
		}
		wantProblem(t, probe(c.one.server), 504, "It may have been done")
		c.air.carry = nil
		for _, s := range []*Server{c.one.server, c.one.server, c.two.server} {
			if w := probe(s); w.Code != 200 {
				t.Errorf("again: %d %s", w.Code, w.Body)
			}
		}
		if d := cmp.Diff([]string{"edge-2 probes " + far}, c.done()); d != "" {
			t.Errorf("what was done (-want +got):\n%s", d)
		}
		if w := do(c.one.server, "POST", "/api/v1/calls/"+far+"/probe", "Idempotency-Key", "other"); w.Code != 200 || len(c.done()) != 2 {
			t.Errorf("another request: %d, %v", w.Code, c.done())
		}
	})
}

// What another node asks for needs the role that it says its user has, and is one
// of a few things.
func TestOtherNodesAskForWhatTheirUsersMay(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.two.server.cfg.Maintenance = &fakeMaintenance{}
		for _, r := range c.two.server.routes(prometheus.NewRegistry()) {
			target := strings.NewReplacer("{id}", far, "{name}", "x", "{$}", "").Replace(r.path)
			for _, role := range Roles {
				method := r.method
				if method == "PUT" || !strings.HasPrefix(target, "/api/v1/") {
					continue // no letter can ask for that
				}
				out, err := c.one.server.courier.ask(t.Context(), "edge-2", command{Method: method, Target: target, User: User{"ann", role}}, time.Minute)
				if err != nil {
					t.Fatalf("%s %s: %v", method, target, err)
				}
				if may := r.passed && role.covers(r.role); may == (out.Status == 403) {
					t.Errorf("%s %s by a %s: %d %s", method, target, role, out.Status, out.Body)
				}
			}
		}
	})
}

// Nothing that a node asks of another one is asked of a third.
func TestWhatAnotherNodeAsksForGoesNoFurther(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		known := confirmed()
		known.ID, known.Node = "third", "edge-3"
		c.two.calls.calls["third"] = known
		c.two.calls.hangup = func(id string) error { return &supervisor.Elsewhere{ID: id, Node: "edge-3"} }
		c.air.carry = func(l letter, arrive func()) (int, error) {
			if l.From == "edge-2" && (l.Kind == letterHail || l.Kind == letterDo) {
				t.Errorf("edge-2 asks on: %+v", l.Command)
			}
			arrive()
			return 1, nil
		}
		for target, want := range map[string]int{"DELETE /api/v1/calls/third": 421, "GET /api/v1/trunks": 200, "POST /api/v1/brake/release": 202,
			"POST /api/v1/brake/release?node=edge-3": 202, "GET /api/v1/batches": 200, "GET /api/v1/batches/x@edge-3": 404} {
			method, target, _ := strings.Cut(target, " ")
			out, err := c.one.server.courier.ask(t.Context(), "edge-2", command{Method: method, Target: target, User: local}, time.Second)
			if err != nil || out.Status != want {
				t.Errorf("%s %s: %+v, %v", method, target, out, err)
			}
		}
	})
}

func TestWhatNodesDoForOthersIsBounded(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		known := confirmed()
		slow := &fakeCalls{calls: map[string]store.Call{far: known}}
		release := make(chan struct{})
		slow.hangup = func(string) error { <-release; return nil }
		c.two.server.calls = slow
		const many = 2 * mostTasks
		codes := make(chan int, many)
		var asking sync.WaitGroup
		for range many {
			asking.Go(func() { codes <- do(c.one.server, "DELETE", "/api/v1/calls/"+far).Code })
		}
		pass(hailTime + beginTime + soonTime)
		close(release)
		asking.Wait()
		close(codes)
		count := make(map[int]int)
		for code := range codes {
			count[code]++
		}
		if n := len(slow.hungUp); n > mostTasks || n < mostHails || count[503]+count[504] != many {
			t.Errorf("%d were begun, answers are %v", n, count)
		}
		synctest.Wait()
		if p := c.two.server.courier; p.working > 0 || len(c.one.server.courier.open) > 0 {
			t.Errorf("%d are under way, %d waited for", p.working, len(c.one.server.courier.open))
		}
	})
}

// Letters that no node of ours would send do nothing.
func TestForgedLettersDoNothing(t *testing.T) {
	do := func(change func(*letter)) func(c *cluster) letter {
		return func(*cluster) letter {
			l := letter{Kind: letterDo, ID: "FORGED", From: "edge-1", Clock: time.Now().UnixMilli() + 1000,
				Command: &command{Method: "DELETE", Target: "/api/v1/calls/" + far, User: local}}
			change(&l)
			return l
		}
	}
	for name, test := range map[string]struct {
		letter func(c *cluster) letter
		done   int
	}{
		"one that is right":           {do(func(*letter) {}), 1},
		"good for longer than any is": {do(func(l *letter) { l.Clock += beginTime.Milliseconds() }), 0},
		"without a time":              {do(func(l *letter) { l.Clock = 0 }), 0},
		"of a user who may not":       {do(func(l *letter) { l.Command.User.Role = Viewer }), 0},
		"when too many are known already": {func(c *cluster) letter {
			for i := range mostBegun {
				c.two.server.courier.begun[fmt.Sprint(i)] = time.Now().UnixMilli() + 1000
			}
			return do(func(*letter) {})(c)
		}, 0},
		"an outcome that nobody waits for": {func(*cluster) letter {
			return letter{Kind: letterDone, ID: "FORGED", From: "edge-1", Outcome: &answerOut{Status: 200, Body: []byte("{}")}}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			onPair(t, func(t *testing.T, c *cluster) {
				message := encode(test.letter(c))
				if _, err := (antenna{c.air, "edge-1"}).Send(t.Context(), "edge-2", message); err != nil {
					t.Fatal(err)
				}
				pass(time.Minute)
				if got := c.done(); len(got) != test.done {
					t.Errorf("done: %v", got)
				}
			})
		})
	}
}

// Only the node that was asked answers.
func TestAnAnswerOfAnotherNodeIsNone(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		forged := func(l letter) {
			l.From = "edge-3"
			c.one.server.courier.take(t.Context(), encode(l))
		}
		c.air.carry = func(l letter, arrive func()) (int, error) {
			switch l.Kind {
			case letterHail:
				forged(letter{Kind: letterClock, ID: l.ID, Clock: 7})
			case letterDo:
				forged(letter{Kind: letterDone, ID: l.ID, Outcome: &answerOut{Status: 500, Body: []byte("{}")}})
			}
			arrive()
			return 1, nil
		}
		wantJSON(t, do(c.one.server, "DELETE", "/api/v1/calls/"+far), 202, `{"id": "`+far+`"}`)
	})
}

// What only looks is not done: it is never said that it may have been.
func TestAQuestionWhoseAnswerIsLostMayBeAskedAgain(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.air.carry = func(letter, func()) (int, error) { return 1, nil }
		w := do(c.one.server, "GET", "/api/v1/calls/"+far+"/events")
		if wantProblem(t, w, 503, "node edge-2 cannot be asked"); w.Header().Get("Retry-After") == "" {
			t.Error("it is not said when to ask again")
		}
	})
}
