package maintenance_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/supervisor/maintenance"
)

// slow is a store whose answers come late, or not at all.
type slow struct {
	maintenance.Store
	mu   sync.Mutex // guards what is below
	late time.Duration
	down bool
}

func (s *slow) Maintenance(ctx context.Context) ([]store.Maintenance, error) {
	list, err := s.Store.Maintenance(ctx)
	s.mu.Lock()
	late, down := s.late, s.down
	s.mu.Unlock()
	time.Sleep(late)
	if down {
		return nil, store.ErrUnavailable
	}
	return list, err
}

func (s *slow) set(late time.Duration, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late, s.down = late, down
}

// two runs the boards of two nodes on one store.
func two(t *testing.T, f func(t *testing.T, here, there *maintenance.Board, st *slow, logged func() []string)) {
	synctest.Test(t, func(t *testing.T) {
		st := &slow{Store: embedded.New()}
		core, logs := observer.New(zap.InfoLevel)
		here, there := maintenance.New(st, zap.NewNop()), maintenance.New(st, zap.New(core))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, b := range []*maintenance.Board{here, there} {
			running.Go(func() { b.Run(ctx) })
		}
		f(t, here, there, st, func() []string {
			var lines []string
			for _, e := range logs.TakeAll() {
				lines = append(lines, e.Message)
			}
			return lines
		})
		stop()
		running.Wait()
	})
}

func in(b *maintenance.Board) bool {
	_, ok := b.In(store.ScopeTrunk, "carrier")
	return ok
}

func TestEveryNodeSeesAChangeWithinTwoSeconds(t *testing.T) {
	two(t, func(t *testing.T, here, there *maintenance.Board, _ *slow, logged func() []string) {
		began := time.Now()
		carrier := store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier", Since: began}
		if err := here.Start(t.Context(), carrier); err != nil || !in(here) {
			t.Fatalf("not at once: %v", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !in(there) {
			t.Error("the other node does not know")
		}
		if _, ok := there.In(store.ScopeNode, "carrier"); ok {
			t.Error("the node of that name is taken for the trunk")
		}
		// Once more, and to be drained now: since when it is stays.
		time.Sleep(time.Minute)
		carrier.Drain, carrier.Since = true, time.Now()
		if err := there.Start(t.Context(), carrier); err != nil {
			t.Fatal(err)
		}
		carrier.Since = began.UTC().Truncate(time.Millisecond)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if m, _ := here.In(store.ScopeTrunk, "carrier"); m != carrier {
			t.Errorf("got %+v, want %+v", m, carrier)
		}
		if err := here.End(t.Context(), store.ScopeTrunk, "carrier"); err != nil || in(here) {
			t.Errorf("it does not end: %v", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if in(there) {
			t.Error("it has not ended for the other node")
		}
		want := []string{"maintenance begins, no new calls", "maintenance begins, no new calls", "maintenance ends"}
		if diff := cmp.Diff(want, logged()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsKnownStaysWhileTheStoreIsAway(t *testing.T) {
	two(t, func(t *testing.T, here, there *maintenance.Board, st *slow, _ func() []string) {
		if err := here.Start(t.Context(), store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		st.set(0, true)
		time.Sleep(time.Hour)
		if !slices.Equal([]bool{in(here), in(there)}, []bool{true, true}) {
			t.Error("it was forgotten")
		}
		if err := there.Refresh(t.Context()); err == nil {
			t.Error("the store's error is not told")
		}
	})
}

func TestAnAnswerThatWasOnItsWayDoesNotUndoAChange(t *testing.T) {
	two(t, func(t *testing.T, here, _ *maintenance.Board, st *slow, _ func() []string) {
		st.set(500*time.Millisecond, false)
		for range 20 { // at any time between two looks
			time.Sleep(230 * time.Millisecond)
			if err := here.Start(t.Context(), store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier"}); err != nil {
				t.Fatal(err)
			}
			for range 8 {
				time.Sleep(100 * time.Millisecond)
				if !in(here) {
					t.Fatal("it is not in maintenance any more")
				}
			}
			if err := here.End(t.Context(), store.ScopeTrunk, "carrier"); err != nil {
				t.Fatal(err)
			}
			for range 8 {
				time.Sleep(100 * time.Millisecond)
				if in(here) {
					t.Fatal("it is in maintenance again")
				}
			}
		}
	})
}
