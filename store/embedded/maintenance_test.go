package embedded_test

import (
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/storetest"
)

func TestMaintenanceOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	since := time.Date(2026, 3, 1, 11, 0, 0, 123e6, time.UTC)
	pbx := store.Maintenance{Scope: store.ScopeTrunk, Name: "pbx", Since: since}
	node := store.Maintenance{Scope: store.ScopeNode, Name: "pbx", Since: since, Drain: true}
	listed := func(s *embedded.Store, want ...store.Maintenance) {
		t.Helper()
		got, err := s.Maintenance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(got)+len(want) > 0 {
			same(t, "in maintenance", want, got)
		}
	}
	run := func(f func(s *embedded.Store)) {
		t.Helper()
		s := open(t, dir)
		stop := storetest.Start(t, s)
		f(s)
		stop()
	}
	run(func(s *embedded.Store) {
		for _, m := range []store.Maintenance{pbx, node} {
			if err := s.StartMaintenance(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	})
	run(func(s *embedded.Store) {
		listed(s, node, pbx)
		if err := s.EndMaintenance(t.Context(), store.ScopeTrunk, "pbx"); err != nil {
			t.Fatal(err)
		}
	})
	s := open(t, dir)
	listed(s, node)
	closed(t, s)

	// A journal that is written anew has it, too.
	s.Rewrite()
	commit(t, s)
	closed(t, s)
	listed(open(t, dir), node)
}
