package web

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/links"
)

func TestTrunksAreListedWithWhatTheirChannelsAreUsedFor(t *testing.T) {
	s := &Server{cfg: Config{
		Trunks: func() []links.Health {
			return []links.Health{{Name: "carrier", State: "partial"}, {Name: "old", State: "up"}}
		},
		Usage: func() []TrunkUsage {
			return []TrunkUsage{
				{Name: "pbx", Usage: supervisor.Usage{Calls: 3, In: 2, Out: 1, Suspect: 1}},
				{Name: "carrier", Limit: store.Limit{Out: 50, PerSecond: 7}, Used: [2]int{3, 40}, Counted: true,
					Usage: supervisor.Usage{Calls: 9, In: 1, Out: 8, Silent: 2, Held: 1, Reclaimed: 4, Unproven: 90500 * time.Millisecond,
						Peers: []supervisor.Worst{{Name: "192.0.2.1", Legs: 4}}}},
			}
		},
	}}
	w := httptest.NewRecorder()
	s.listTrunks(w, httptest.NewRequest("GET", "/api/v1/trunks", nil))
	var got Trunks
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	none := []Worst{}
	want := []Trunk{
		{Name: "pbx", State: "unwatched", Addresses: []Place{}, Usage: &Usage{In: 2, Out: 1, Calls: 3, Suspect: 1, WorstPeers: none, WorstAgents: none}},
		{Name: "carrier", State: "partial", Addresses: []Place{}, Usage: &Usage{In: 3, Out: 40, AllNodes: true, Capacity: Capacity{Out: 50, CPS: 7},
			Calls: 9, Silent: 2, Held: 1, Reclaimed: 4, ReclaimedSeconds: 90.5, WorstPeers: []Worst{{"192.0.2.1", 4}}, WorstAgents: none}},
		{Name: "old", State: "up", Addresses: []Place{}},
	}
	if d := cmp.Diff(want, got.Trunks); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
