package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/progress"
)

// said is what an item of progress says, without its id and times.
func said(p Progress) string {
	text := fmt.Sprintf("%s: %s of %s %d/%d", p.Node, p.What, p.Of, p.Done, p.Total)
	if !p.Ended.IsZero() {
		text += " ended"
	}
	return text
}

func wantProgress(t *testing.T, s *Server, want ...string) {
	t.Helper()
	w := do(s, "GET", "/api/v1/progress")
	var body ProgressList
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := []string{}
	for _, p := range body.Progress {
		got = append(got, said(p))
	}
	if want == nil {
		want = []string{}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("progress (-want +got):\n%s", d)
	}
}

// neighbours are this node and another one, which does something.
func neighbours(doing *atomic.Pointer[[]store.Progress]) func(context.Context) ([]store.Node, error) {
	return func(context.Context) ([]store.Node, error) {
		return []store.Node{
			{Name: "edge-1", State: store.NodeUp, Doing: []store.Progress{{ID: "old", Node: "edge-1", What: store.TaskStart, Of: "edge-1"}}},
			{Name: "edge-2", State: store.NodeUp, Doing: *doing.Load()},
		}, nil
	}
}

func TestProgressOfAllNodesIsListedAndTold(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var others atomic.Pointer[[]store.Progress]
		began := time.Now()
		adoption := store.Progress{ID: "x", Node: "edge-2", What: store.TaskAdoption, Of: "edge-3", Done: 20, Total: 500, Began: began.Add(-time.Hour)}
		others.Store(&[]store.Progress{adoption})
		board := progress.New("edge-1", zap.NewNop())
		s.server.cfg.Progress, s.server.cfg.Nodes = board, neighbours(&others)
		wantProgress(t, s.server, "edge-2: adoption of edge-3 20/500")

		l, hangUp := s.read("")
		defer hangUp()
		pass(time.Second)
		told := func() []string {
			got := []string{}
			for _, e := range l.take(t) {
				if e.kind != "progress" {
					continue
				}
				var p Progress
				if err := json.Unmarshal([]byte(e.data), &p); err != nil {
					t.Fatal(err)
				}
				got = append(got, said(p))
			}
			return got
		}
		same := func(want ...string) {
			t.Helper()
			if want == nil {
				want = []string{}
			}
			if d := cmp.Diff(want, told()); d != "" {
				t.Errorf("told (-want +got):\n%s", d)
			}
		}
		same("edge-2: adoption of edge-3 20/500")
		task := board.Begin(store.TaskStart, "edge-1", 3000)
		pass(time.Second)
		same("edge-1: start of edge-1 0/3000")
		task.Add(1000)
		task.Add(1000)
		pass(time.Second)
		same("edge-1: start of edge-1 2000/3000")
		wantProgress(t, s.server, "edge-2: adoption of edge-3 20/500", "edge-1: start of edge-1 2000/3000")
		pass(time.Second)
		same()
		task.Add(1000)
		task.End()
		pass(time.Second)
		same("edge-1: start of edge-1 3000/3000 ended")
		adoption.Done = 500
		others.Store(&[]store.Progress{adoption})
		pass(nodeTime)
		same("edge-2: adoption of edge-3 500/500")
		pass(time.Minute)
		same()
		wantProgress(t, s.server, "edge-2: adoption of edge-3 500/500")
	})
}

func TestNodesSayWhatTheyDo(t *testing.T) {
	var others atomic.Pointer[[]store.Progress]
	others.Store(&[]store.Progress{
		{What: store.TaskAdoption, Of: "edge-3", Done: 20, Total: 500},
		{What: store.TaskDrain, Of: "trunk pbx", Done: 2},
		{What: store.TaskHangup, Of: "B", Done: 2, Total: 2, Ended: time.Now()},
	})
	s := newServer(t, &fakeCalls{}, healthy)
	s.cfg.Progress, s.cfg.Nodes = progress.New("edge-1", zap.NewNop()), neighbours(&others)
	task := s.cfg.Progress.Begin(store.TaskStart, "edge-1", 9)
	task.Add(4)
	var list Nodes
	if err := json.Unmarshal(do(s, "GET", "/api/v1/nodes").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	got := []string{list.Nodes[0].Doing, list.Nodes[1].Doing}
	if d := cmp.Diff([]string{"start of edge-1: 4 of 9", "adoption of edge-3: 20 of 500; drain of trunk pbx: 2"}, got); d != "" {
		t.Errorf("doing (-want +got):\n%s", d)
	}
}

// inErrands runs a test in a bubble with a server that follows what it began.
func inErrands(t *testing.T, f *fakeCalls, test func(t *testing.T, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, f, healthy)
		s.cfg.Progress = progress.New("edge-1", zap.NewNop())
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { s.runErrands(ctx) })
		test(t, s)
		stop()
		run.Wait()
	})
}

func TestABatchShowsHowFarItIs(t *testing.T) {
	inErrands(t, &fakeCalls{}, func(t *testing.T, s *Server) {
		var b Batch
		w := post(s, "/api/v1/calls/hangup", `{"ids": ["a", "b", "c", "d"], "per_second": 1}`)
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil {
			t.Fatal(err)
		}
		pass(1500 * time.Millisecond)
		wantProgress(t, s, "edge-1: hangup of "+b.ID+" 2/4")
		do(s, "DELETE", "/api/v1/batches/"+b.ID)
		synctest.Wait()
		wantProgress(t, s, "edge-1: hangup of "+b.ID+" 2/4 ended")
	})
}

func TestAReleaseShowsHowFarItIs(t *testing.T) {
	f := &fakeCalls{overview: supervisor.Overview{Held: 9, Releasing: 7}}
	inErrands(t, f, func(t *testing.T, s *Server) {
		post(s, "/api/v1/brake/release", "")
		pass(time.Millisecond)
		wantProgress(t, s, "edge-1: release of held calls 0/7")
		f.while(func() { f.overview.Releasing = 3 })
		pass(releasePause)
		post(s, "/api/v1/brake/release", "") // what is under way takes more in
		wantProgress(t, s, "edge-1: release of held calls 4/7")
		f.while(func() { f.overview.Releasing = 0 })
		pass(releasePause)
		wantProgress(t, s, "edge-1: release of held calls 7/7 ended")
	})
}

func TestADrainShowsHowFarItIs(t *testing.T) {
	for name, end := range map[string]struct {
		how  func(s *Server, f *fakeCalls)
		want string
	}{
		"until no call goes on":         {func(_ *Server, f *fakeCalls) { f.while(func() { f.page.Calls = nil }) }, "5/5 ended"},
		"until it is put back":          {func(s *Server, _ *fakeCalls) { put(s, `{"on": false}`) }, "3/5 ended"},
		"until it is not to be drained": {func(s *Server, _ *fakeCalls) { put(s, `{"on": true}`) }, "3/5 ended"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeCalls{page: store.Page{Calls: make([]store.Call, 5)}}
			inErrands(t, f, func(t *testing.T, s *Server) {
				s.cfg.Maintenance = &fakeMaintenance{now: store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier"}}
				put(s, `{"on": true, "drain": true}`)
				put(s, `{"on": true, "drain": true}`) // is the same twice over
				pass(time.Millisecond)
				wantProgress(t, s, "edge-1: drain of trunk carrier 0/5")
				f.while(func() { f.page.Calls = make([]store.Call, 2) })
				pass(drainPause)
				wantProgress(t, s, "edge-1: drain of trunk carrier 3/5")
				end.how(s, f)
				pass(drainPause)
				wantProgress(t, s, "edge-1: drain of trunk carrier "+end.want)
			})
		})
	}
}

func put(s *Server, body string) {
	r := httptest.NewRequest("PUT", "http://localhost/api/v1/trunks/carrier/maintenance", strings.NewReader(body))
	s.ServeHTTP(httptest.NewRecorder(), r)
}
