package storetest

import (
	"testing"
	"time"

	"sipvigil/store"
)

var maintenanceTests = map[string]func(*testing.T, Store){
	"what is in maintenance is listed until it ends": func(t *testing.T, s Store) {
		since := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
		kept := time.Date(2026, 3, 1, 11, 0, 0, 123e6, time.UTC)
		listed := func(want ...store.Maintenance) {
			t.Helper()
			got, err := s.Maintenance(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(got)+len(want) > 0 {
				same(t, "in maintenance", want, got)
			}
		}
		start := func(m store.Maintenance) {
			t.Helper()
			if err := s.StartMaintenance(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		end := func(scope store.Scope, name string) {
			t.Helper()
			if err := s.EndMaintenance(t.Context(), scope, name); err != nil {
				t.Fatal(err)
			}
		}
		listed()
		start(store.Maintenance{Scope: store.ScopeTrunk, Name: "pbx", Since: since})
		start(store.Maintenance{Scope: store.ScopeNode, Name: "pbx", Since: since, Drain: true})
		start(store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier.a", Since: since, Drain: true})
		node := store.Maintenance{Scope: store.ScopeNode, Name: "pbx", Since: kept, Drain: true}
		pbx := store.Maintenance{Scope: store.ScopeTrunk, Name: "pbx", Since: kept}
		listed(node, store.Maintenance{Scope: store.ScopeTrunk, Name: "carrier.a", Since: kept, Drain: true}, pbx)

		end(store.ScopeTrunk, "carrier.a")
		end(store.ScopeTrunk, "carrier.a")
		end(store.ScopeTrunk, "nobody")
		listed(node, pbx)

		pbx.Drain, pbx.Since = true, kept.Add(time.Hour)
		start(pbx)
		listed(node, pbx)
		Settled(t, s)
	},
}
