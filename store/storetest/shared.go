package storetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"sipvigil/store"
)

var sharedTests = map[string]func(*testing.T, Store){
	"the tag key is made once": func(t *testing.T, s Store) {
		keys := make([][]byte, 8)
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() {
				key, err := s.TagKey(t.Context())
				if err != nil {
					t.Errorf("tag key: %v", err)
				}
				keys[i] = key
			})
		}
		wg.Wait()
		same(t, "length", 32, len(keys[0]))
		if slices.Max(keys[0]) == 0 {
			t.Error("the tag key is zero")
		}
		for _, key := range keys {
			same(t, "tag key", keys[0], key)
		}
		want := slices.Clone(keys[0])
		clear(keys[0]) // a copy
		again, err := s.TagKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, "tag key", want, again)
	},
	"epochs rise": func(t *testing.T, s Store) {
		var mu sync.Mutex
		var epochs []int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				last := int64(0)
				for range 10 {
					epoch, err := s.NextEpoch(t.Context())
					if err != nil {
						t.Errorf("epoch: %v", err)
					}
					if epoch <= last {
						t.Errorf("epoch %d comes after %d", epoch, last)
					}
					last = epoch
					mu.Lock()
					epochs = append(epochs, epoch)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.Sort(epochs)
		same(t, "different epochs", 40, len(slices.Compact(epochs)))
	},
	"status says that all is well": func(t *testing.T, s Store) {
		before := time.Now()
		s.Save(Call())
		Settled(t, s)
		got := s.Status()
		if got.Backend == "" || got.Since.IsZero() || got.Since.After(time.Now()) || before.Sub(got.Since) > time.Minute {
			t.Errorf("status: %+v", got)
		}
		want := store.Status{Backend: got.Backend, Reachable: true, Since: got.Since}
		same(t, "status", want, got)
	},
}
