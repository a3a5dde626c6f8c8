package progress

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
)

// brief is what a list says, without ids and times.
func brief(b *Board) (texts []string) {
	for _, p := range b.List() {
		text := fmt.Sprintf("%s %s of %s %d/%d", p.Node, p.What, p.Of, p.Done, p.Total)
		if !p.Ended.IsZero() {
			text += " ended after " + p.Ended.Sub(p.Began).String()
		}
		texts = append(texts, text)
	}
	return texts
}

func wantList(t *testing.T, b *Board, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, brief(b)); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
}

func TestATaskIsListedUntilAMinuteAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New("a", zap.NewNop())
		adoption := b.Begin(store.TaskAdoption, "b", 3000)
		drain := b.Begin(store.TaskDrain, "trunk pbx", 0)
		adoption.Add(1000)
		drain.Left(5)
		wantList(t, b, "a adoption of b 1000/3000", "a drain of trunk pbx 0/5")
		time.Sleep(2 * time.Second)
		drain.Left(2)
		adoption.Add(2000)
		adoption.End()
		adoption.Add(1) // is too late
		wantList(t, b, "a adoption of b 3000/3000 ended after 2s", "a drain of trunk pbx 3/5")
		drain.Left(7)
		time.Sleep(time.Minute - time.Nanosecond)
		wantList(t, b, "a adoption of b 3000/3000 ended after 2s", "a drain of trunk pbx 0/7")
		time.Sleep(time.Nanosecond)
		wantList(t, b, "a drain of trunk pbx 0/7")
	})
}

func TestTooManyEndedTasksAreForgottenSooner(t *testing.T) {
	b := New("a", zap.NewNop())
	lasting := b.Begin(store.TaskStart, "a", 0)
	for range 2 * most {
		b.Begin(store.TaskAdoption, "b", 1).End()
	}
	list := b.List()
	if len(list) != most || list[0].What != store.TaskStart {
		t.Errorf("%d tasks, the first is %+v", len(list), list[0])
	}
	lasting.End()
}

func TestLongTasksAreLoggedMoreAndMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.InfoLevel)
		b := New("a", zap.New(core))
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { b.Run(ctx) })
		began := time.Now()
		b.Begin(store.TaskStart, "a", 9).End()
		task := b.Begin(store.TaskDrain, "node a", 50)
		for range 50 {
			time.Sleep(time.Minute)
			task.Add(1)
		}
		task.End()
		time.Sleep(time.Hour)
		stop()
		run.Wait()
		var got []string
		for _, e := range logged.All() {
			f := e.ContextMap()
			got = append(got, fmt.Sprintf("%v: %s, %v of %v, %v/%v after %v", e.Time.Sub(began), e.Message, f["what"], f["of"], f["done"], f["total"], f["took"]))
		}
		want := []string{
			"5s: under way, drain of node a, 0/50 after 5s",
			"10s: under way, drain of node a, 0/50 after 10s",
			"20s: under way, drain of node a, 0/50 after 20s",
			"40s: under way, drain of node a, 0/50 after 40s",
			"1m20s: under way, drain of node a, 1/50 after 1m20s",
			"2m40s: under way, drain of node a, 2/50 after 2m40s",
			"5m20s: under way, drain of node a, 5/50 after 5m20s",
			"10m40s: under way, drain of node a, 10/50 after 10m40s",
			"20m40s: under way, drain of node a, 20/50 after 20m40s",
			"30m40s: under way, drain of node a, 30/50 after 30m40s",
			"40m40s: under way, drain of node a, 40/50 after 40m40s",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("log (-want +got):\n%s", d)
		}
	})
}

func TestWithoutABoardNothingIsKept(t *testing.T) {
	var b *Board
	task := b.Begin(store.TaskStart, "a", 1)
	task.Add(1)
	task.Left(0)
	task.End()
	if list := b.List(); list != nil || b.Node() != "" {
		t.Error(list)
	}
}
