package redis_test

import (
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
)

func TestMaintenanceOutlivesARedisThatWasEmptied(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		one, two := open(t, redis.Config{URL: url}), open(t, redis.Config{URL: url, Node: "edge-2"})
		carrier := store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier", Since: time.UnixMilli(1_750_000_000_000).UTC(), Drain: true}
		pbx := store.Maintenance{Scope: store.ScopeTrunk, Name: "pbx", Since: carrier.Since}
		lists := func(what string, want ...store.Maintenance) {
			t.Helper()
			for _, s := range []*redis.Store{one, two} {
				got, err := s.Maintenance(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				same(t, what, append([]store.Maintenance{}, want...), got)
			}
		}
		start := func(s *redis.Store, m store.Maintenance) {
			t.Helper()
			if err := s.StartMaintenance(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		end := func(s *redis.Store, m store.Maintenance) {
			t.Helper()
			if err := s.EndMaintenance(t.Context(), m.Scope, m.Name); err != nil {
				t.Fatal(err)
			}
		}
		empty := func() {
			t.Helper()
			if err := one.Empty(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		lists("nothing")
		empty()
		lists("nothing, and emptied")
		start(one, carrier)
		lists("one trunk", carrier)
		empty()
		lists("one trunk, and emptied", carrier)
		empty()
		start(two, pbx)
		lists("another, just after it was emptied", carrier, pbx)
		end(one, carrier)
		lists("the first is over", pbx)
		empty()
		lists("the first is over, and emptied", pbx)
		end(two, pbx)
		lists("both are over")
		empty()
		lists("both are over, and emptied")
	})
}
