package supervisor

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sipvigil/store"
)

// benchLegs is how many legs the benchmarks watch.
const benchLegs = 100_000

// nobody answers nothing and stores nothing.
type nobody struct{ fakeStore }

func (*nobody) Ask([]store.Question, time.Duration)         {}
func (*nobody) Calibrate(string, store.Side, time.Duration) {}
func (*nobody) Release(string, store.End) bool              { return false }
func (*nobody) Call(string) (store.Call, bool)              { return store.Call{}, false }
func (*nobody) Calls(func(store.Call) bool)                 {}
func (*nobody) SaveHealth(...store.LegHealth)               {}

// watching returns a supervisor with benchLegs legs that have been alive for
// long, and the ids of their calls.
func watching(b *testing.B) (*Supervisor, []string) {
	cfg := Default()
	cfg.Node = "here"
	ids := make([]string, benchLegs/2)
	for i := range ids {
		ids[i] = fmt.Sprintf("0197a5c0-0000-7000-8000-%012d", i)
	}
	sup, err := New(cfg, &nobody{}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	sup.Bind(&nobody{})
	sup.pace.SetLimit(rate.Inf)
	for _, id := range ids {
		sup.Confirmed(store.Call{ID: id, State: store.Confirmed, Answered: sup.made.Add(-time.Hour)})
	}
	return sup, ids
}

func BenchmarkMemoryPerLeg(b *testing.B) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		sup, ids := watching(b)
		for _, id := range ids { // each with a last evidence
			for _, side := range store.Sides {
				sup.Evidence(id, side, store.Evidence{What: "200 OPTIONS", At: sup.made})
			}
		}
		sup.learned = learned{}
		idBytes := uint64(len(ids) * (48 + 16)) // the ids are the caller's own
		b.ReportMetric(float64(heap()-before-idBytes)/benchLegs, "B/leg")
		runtime.KeepAlive(sup)
		runtime.KeepAlive(ids)
	}
}

// BenchmarkStep takes a leg from the schedule, asks it, takes its answer and
// passes on what was learned.
func BenchmarkStep(b *testing.B) {
	sup, _ := watching(b)
	now := sup.made.Add(time.Minute) // all are due; from here on one after the other
	var passed learned
	var tasks []store.Question
	b.ReportAllocs()
	for b.Loop() {
		if len(tasks) == 0 {
			if due, _ := sup.queue.first(); due > now.Sub(sup.made) {
				now = sup.made.Add(due)
			}
			if tasks, _, _ = sup.turns(now, tasks); len(tasks) == 0 {
				b.Fatal("nothing is due")
			}
		}
		t := tasks[len(tasks)-1]
		tasks = tasks[:len(tasks)-1]
		sup.settleAt(t, store.Answer{Method: t.Method, Status: 200, RTT: time.Millisecond, At: now}, now)
		passed = sup.takeLearned(passed)
		sup.pass(passed)
	}
}

// settleAt is Answered at a time of the benchmark's choice.
func (s *Supervisor) settleAt(t store.Question, a store.Answer, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.probe(a.Method, s.cfg.Policy.result(a))
	s.settle(&s.calls[t.ID].legs[t.Side], a, at)
}

func BenchmarkEvidence(b *testing.B) {
	sup, ids := watching(b)
	at := time.Now()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		sup.Evidence(ids[i%len(ids)], store.Callee, store.Evidence{What: "INFO", At: at})
		i++
	}
}

func BenchmarkCall(b *testing.B) {
	sup, _ := watching(b)
	c := store.Call{ID: "0197a5c0-ffff-7000-8000-000000000000", Answered: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		sup.Started(c)
		sup.Confirmed(c)
		sup.Ending(c.ID, c.End)
		sup.Ended(c)
	}
}
