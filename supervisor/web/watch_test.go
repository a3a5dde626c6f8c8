package web

import (
	"testing"
	"time"

	"sipvigil/supervisor/links"
)

func TestTrunksThatChangeAreToldOnce(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		be := func(state links.State, rtt time.Duration) {
			s.trunks.Store(&[]links.Health{{Name: "carrier", State: state, Addresses: []links.Address{{Target: "sip:c", State: state, RTT: rtt}}}})
		}
		be(links.Up, time.Millisecond)
		l, hangUp := s.read("")
		defer hangUp()
		trunks := func() (list []string) {
			t.Helper()
			for _, e := range l.take(t) {
				if e.kind == "trunk" {
					list = append(list, e.data)
				}
			}
			return list
		}
		pass(3 * time.Second)
		be(links.Up, 2*time.Millisecond)
		pass(3 * time.Second)
		if got := trunks(); len(got) > 0 {
			t.Errorf("nothing happened: %q", got)
		}
		be(links.Down, 2*time.Millisecond)
		pass(3 * time.Second)
		if got := trunks(); len(got) != 1 {
			t.Errorf("one change: %q", got)
		}
	})
}
