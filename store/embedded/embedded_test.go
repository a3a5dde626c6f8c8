package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Store { return embedded.New() })
}

func TestAFinishedCallIsForgottenOnTheDot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := embedded.New()
		storetest.Start(t, s)
		short, long := storetest.Call(), storetest.Call()
		s.Finish(long, time.Hour)
		s.Finish(short, time.Minute)
		known := func(want ...bool) {
			t.Helper()
			var got []bool
			for _, c := range []store.Call{short, long} {
				_, err := s.Get(t.Context(), c.ID)
				got = append(got, err == nil)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("known calls (-want +got):\n%s", diff)
			}
		}
		time.Sleep(time.Minute - time.Nanosecond)
		known(true, true)
		time.Sleep(time.Nanosecond)
		known(false, true)
		time.Sleep(59*time.Minute - time.Nanosecond)
		known(false, true)
		time.Sleep(time.Nanosecond)
		known(false, false)
	})
}

func TestFinishedCallsLeaveNoMemoryBehind(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := embedded.New()
				if running {
					storetest.Start(t, s)
				}
				for range 100 {
					c := storetest.Call()
					s.Save(c)
					s.Finish(c, time.Second)
				}
				time.Sleep(time.Second)
				want := 0
				if !running { // then the next one to finish sweeps
					s.Finish(storetest.Call(), time.Second)
					want = 1
				}
				synctest.Wait()
				if got := s.Held(); got != want {
					t.Errorf("%d calls are held, want %d", got, want)
				}
			})
		})
	}
}

func TestOfFinishedCallsThoseThatGoFirstAreForgottenWhenThereAreTooMany(t *testing.T) {
	s := embedded.New()
	c := storetest.Call()
	ids := make([]string, embedded.MostOver+1)
	for i := range ids {
		ids[i] = fmt.Sprintf("call-%d", i)
		c.ID = ids[i]
		s.Finish(c, time.Hour+time.Duration(i)*time.Second)
	}
	if got := s.Held(); got != embedded.MostOver {
		t.Errorf("%d calls are held, want %d", got, embedded.MostOver)
	}
	for i, want := range map[int]error{0: store.ErrNotFound, 1: nil, len(ids) - 1: nil} {
		if _, err := s.Get(t.Context(), ids[i]); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", ids[i], err, want)
		}
	}
}

func TestReadingBackEndsWithItsContext(t *testing.T) {
	s := embedded.New()
	s.Save(storetest.Call())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Owned(ctx, storetest.Node, func(store.Call) bool { return true }); err == nil {
		t.Error("no error")
	}
	if _, err := s.List(ctx, store.Query{}); err == nil {
		t.Error("no error")
	}
}

func BenchmarkSave(b *testing.B) {
	s, c := embedded.New(), storetest.Call()
	b.ReportAllocs()
	for b.Loop() {
		s.Save(c)
	}
}

// BenchmarkMemory measures what the store holds for a call beside its strings,
// which it shares with whoever saved it.
func BenchmarkMemory(b *testing.B) {
	calls := make([]store.Call, 10_000)
	for i := range calls {
		calls[i] = storetest.Call()
	}
	for b.Loop() {
		var before, after runtime.MemStats
		s := embedded.New()
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range calls {
			s.Save(calls[i])
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(calls)), "B/call")
		runtime.KeepAlive(s)
	}
}
