package daemon

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/store/redis"
)

// TestOneOfTwoNodesAdoptsACallOnTheSpot has two survivors asked for a call at
// the same moment. Who comes second must not say that there is no such call.
func TestOneOfTwoNodesAdoptsACallOnTheSpot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(1)
		dead := s.start("edge-1", 0)
		time.Sleep(5 * time.Second)
		dead.stop()
		survivors := []*host{s.host("edge-2", 1), s.host("edge-3", 2)}
		look := func() {
			for _, h := range survivors {
				if err := h.renew(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, _, err := h.survey(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, h := range survivors {
			if _, err := h.join(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(redis.LeaseTime)
		look()
		look()
		places, errs := make([]b2bua.Place, 2), make([]error, 2)
		var both sync.WaitGroup
		for i, h := range survivors {
			h.slow = time.Millisecond // so that both have looked before one adopts
			both.Go(func() { places[i], errs[i] = h.find(t.Context(), "call-0") })
		}
		both.Wait()
		for i, h := range survivors {
			_, has := h.Held()["call-0"]
			if places[i].Here != has || has == errors.Is(errs[i], errUnsettled) {
				t.Errorf("%s: has it: %t, says %v, %v", h.name, has, places[i], errs[i])
			}
		}
		if a, b := places[0].Here, places[1].Here; a == b {
			t.Errorf("edge-2 has it: %t, edge-3 has it: %t", a, b)
		}
	})
}

// TestACallOfADeadNodeIsAdoptedOnTheSpot asks a survivor for one call before it
// adopts what the dead node had.
func TestACallOfADeadNodeIsAdoptedOnTheSpot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(4)
		dead, h := s.start("edge-1", 0), s.start("edge-2", 0)
		time.Sleep(5 * time.Second)
		if place, err := h.find(t.Context(), "call-0"); err != nil || place != (b2bua.Place{Addr: "edge-1:5060"}) {
			t.Errorf("while its owner lives: %v, %v", place, err)
		}
		dead.stop()
		h.stop() // and what follows is done by hand
		h = s.host("edge-2", 1)
		if _, err := h.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		look := func() {
			if err := h.renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := h.survey(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		look()
		if place, err := h.find(t.Context(), "call-0"); err != nil || place.Addr == "" {
			t.Errorf("while its lease stands: %v, %v", place, err)
		}
		time.Sleep(redis.LeaseTime)
		look()
		if place, err := h.find(t.Context(), "call-0"); !errors.Is(err, errUnsettled) {
			t.Errorf("when its lease is missing for the first time: %v, %v", place, err)
		}
		look()
		if place, err := h.find(t.Context(), "call-0"); err != nil || !place.Here {
			t.Errorf("when it is dead: %v, %v", place, err)
		}
		if got := slices.Collect(maps.Keys(h.Held())); !slices.Equal(got, []string{"call-0"}) {
			t.Errorf("adopted: %v", got)
		}
		if place, err := h.find(t.Context(), "call-0"); err != nil || !place.Here {
			t.Errorf("once more: %v, %v", place, err)
		}
		over := s.records["call-1"]
		over.State, over.End.At = store.Terminated, time.Now()
		s.records["call-1"] = over
		if place, err := h.find(t.Context(), "call-1"); err != nil || place != (b2bua.Place{Ended: over.End.At}) {
			t.Errorf("a call that has ended: %v, %v", place, err)
		}
		if place, err := h.find(t.Context(), "nobody's"); err != nil || place != (b2bua.Place{}) {
			t.Errorf("a call that there never was: %v, %v", place, err)
		}
	})
}
