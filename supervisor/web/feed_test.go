package web

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

func TestEventsBeginWithTheOverviewAndTellOfCalls(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.calls.overview = supervisor.Overview{Active: 3, PerSecond: 1.25, Live: 2, Held: 1, Reclaimed: 4,
			Brake: []supervisor.Braking{{Reason: "peer", Trunk: "carrier", Ill: 12, Legs: 30}}}
		l, hangUp := s.read("")
		defer hangUp()
		if got := l.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type is %q", got)
		}
		first := l.take(t)
		if len(first) != 1 || first[0].kind != "overview" {
			t.Fatalf("it begins with %v", first)
		}
		sameJSON(t, first[0].data, `{"active": 3, "calls_per_second": 1.3, "live": 2, "suspect": 0, "unproven": 0, "held": 1,
			"reclaimed_today": 4, "store": {"state": "ok", "backend": "embedded", "pending": 0, "error": ""},
			"nodes": {"up": 0, "draining": 0, "left": 0, "dead": 0}, "others": [],
			"brake": [{"reason": "peer", "trunk": "carrier", "peer": "", "ill": 12, "legs": 30, "text": ""}]}`)

		s.calls.follower.Changed(confirmed().ID)
		pass(beat)
		got := l.take(t)
		if len(got) != 1 || got[0].kind != "call" {
			t.Fatalf("a change is told as %v", got)
		}
		sameJSON(t, got[0].data, confirmedJSON)

		s.calls.follower.Changed(confirmed().ID)
		s.calls.follower.Ended(&supervisor.CDR{ID: confirmed().ID, EndedBy: "caller-bye", Billed: 12.5})
		pass(beat)
		got = l.take(t)
		if len(got) != 1 || got[0].kind != "ended" {
			t.Fatalf("an end is told as %v", got)
		}
		var r supervisor.CDR
		if err := json.Unmarshal([]byte(got[0].data), &r); err != nil || r.EndedBy != "caller-bye" || r.Billed != 12.5 {
			t.Errorf("%v, %v", r, err)
		}
	})
}

func TestAnswersToProbesAreToldOnceASecond(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		defer hangUp()
		l.take(t)
		for range 500 {
			s.calls.follower.Heard(confirmed().ID)
			pass(10 * time.Millisecond)
		}
		if n := len(kindsOf(l.take(t))); n < 4 || n > 6 {
			t.Errorf("told %d times in 5 s", n)
		}
		s.calls.follower.Heard(confirmed().ID)
		s.calls.follower.Changed(confirmed().ID)
		pass(3 * time.Second)
		if n := len(kindsOf(l.take(t))); n > 2 {
			t.Errorf("one change is told %d times", n)
		}
	})
}

func TestTheOverviewIsToldWhenItChanges(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		defer hangUp()
		pass(3 * time.Second)
		l.take(t)
		pass(10 * time.Second)
		if got := l.take(t); len(got) > 0 {
			t.Errorf("nothing changed, and it was told: %v", got)
		}
		s.status.Store(&store.Status{Backend: "redis", LastError: "refused"})
		pass(time.Second)
		got := l.take(t)
		if len(got) != 2 || got[0].kind != "store" || got[1].kind != "overview" {
			t.Fatalf("a store that is away is told as %v", got)
		}
		sameJSON(t, got[0].data, `{"state": "degraded", "backend": "redis", "pending": 0, "error": "refused"}`)
		s.calls.follower.Braked(supervisor.Braking{Reason: "stall", Text: "late"}, true)
		pass(beat)
		got = l.take(t)
		if len(got) != 1 || got[0].kind != "brake" {
			t.Fatalf("the brake is told as %v", got)
		}
		sameJSON(t, got[0].data, `{"engaged": true, "reason": "stall", "trunk": "", "peer": "", "ill": 0, "legs": 0, "text": "late"}`)
	})
}

func TestNodesAreToldWhenTheyChange(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var mu sync.Mutex
		list := []store.Node{{Name: "edge-1", State: store.NodeUp}, {Name: "edge-2", State: store.NodeUp}}
		s.server.cfg.Nodes = func(context.Context) ([]store.Node, error) {
			mu.Lock()
			defer mu.Unlock()
			list[0].Seen = time.Now()
			return slices.Clone(list), nil
		}
		l, hangUp := s.read("")
		defer hangUp()
		pass(20 * time.Second)
		if got := kindsOf(l.take(t)); len(got) > 0 {
			t.Errorf("nothing changed, and it was told: %v", got)
		}
		mu.Lock()
		list[1].State = store.NodeDead
		mu.Unlock()
		pass(nodeTime + time.Second)
		got := l.take(t)
		told := make(map[string]string) // both come at the same time, in any order
		for _, e := range got {
			told[e.kind] = e.data
		}
		if len(got) != 2 || !strings.Contains(told["node"], `"edge-2","state":"dead"`) || !strings.Contains(told["overview"], `"dead":1`) {
			t.Errorf("a node that died is told as %v", got)
		}
	})
}

func TestCallsThatMoveHaveReadersLoadAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		defer hangUp()
		l.take(t)
		s.calls.follower.Changed("a")
		s.calls.follower.Left("a")
		s.calls.follower.Left("b")
		pass(beat)
		if d := cmp.Diff([]string{"reset"}, kindsOf(l.take(t))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestNobodyWhoReadsCostsNothing(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		for i := range 1000 {
			s.calls.follower.Changed(fmt.Sprint(i))
			s.calls.follower.Heard(fmt.Sprint(i))
			s.calls.follower.Ended(&supervisor.CDR{ID: fmt.Sprint(i)})
		}
		f := s.server.feed
		if len(f.changed)+len(f.heard)+len(f.queue) > 0 {
			t.Errorf("%d, %d, %d are noted", len(f.changed), len(f.heard), len(f.queue))
		}
	})
}

// Two thousand changes a second.
func TestChangesDoNotGrowMemory(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		const calls = 5000
		for i := range calls {
			c := confirmed()
			c.ID = fmt.Sprint("call-", i)
			s.calls.calls[c.ID] = c
		}
		l, hangUp := s.read("")
		defer hangUp()
		n, told := 0, 0
		second := func() {
			for range 10 {
				for range 200 {
					s.calls.follower.Changed(fmt.Sprint("call-", n%calls))
					n++
				}
				pass(beat)
				l.mu.Lock()
				told += strings.Count(l.body.String(), "\nevent: call\n")
				l.body.Reset()
				l.mu.Unlock()
			}
		}
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		for range 5 { // until the ring is full
			second()
		}
		before := heap()
		for range 6 {
			second()
		}
		after := heap()
		if after > before+8<<20 {
			t.Errorf("the heap grew from %d to %d", before, after)
		}
		s.server.feed.mu.Lock()
		defer s.server.feed.mu.Unlock()
		if b := s.server.feed.ring.bytes; b > ringBytes {
			t.Errorf("the ring has %d bytes", b)
		}
		if told < n-200 {
			t.Errorf("%d of %d changes were told", told, n)
		}
	})
}
