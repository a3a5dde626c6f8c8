package daemon

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/supervisor/maintenance"
)

func TestFaultsOfWhatTrunksAreCoupledTo(t *testing.T) {
	_, err := load(t, `trunks:
  - {name: pbx, sources: [192.0.2.1], coupled_to: carier}
  - {name: phones, sources: [192.0.2.2], coupled_to: pbx, refuse_with: "404"}
  - {name: carrier, targets: ["sip:192.0.2.3"], monitor: {}, coupled_to: carrier, refuse_with: dropped}
  - {name: other, targets: ["sip:192.0.2.4"], coupled_to: carrier, refuse_with: drop}
`, nil, nil)
	wantFaults(t, err,
		`sipvigil.yaml:2: trunks[0].coupled_to: there is no trunk "carier"`,
		`sipvigil.yaml:3: trunks[1].refuse_with: "404" is neither drop nor one of 480, 500, 502, 503, 504, 505, 603`,
		`sipvigil.yaml:3: trunks[1].coupled_to: trunk "pbx" has no monitor, so that nobody knows when it is down`,
		`sipvigil.yaml:4: trunks[2].refuse_with: "dropped" is neither drop nor one of 480, 500, 502, 503, 504, 505, 603`,
		`sipvigil.yaml:4: trunks[2].coupled_to: is the trunk itself`)
}

// Row 15 of the questions: the peer counts our OPTIONS and our answers as life,
// and is to know that the path behind us is broken.
func TestWhatNewCallsGet(t *testing.T) {
	trunks := []Trunk{
		{Name: "pbx", CoupledTo: "carrier"},
		{Name: "counter", CoupledTo: "carrier", RefuseWith: "drop"},
		{Name: "carrier", CoupledTo: "pbx", RefuseWith: "480"},
		{Name: "other"},
	}
	open := b2bua.Service{}
	coupled := b2bua.Service{Status: 503, RetryAfter: 30 * time.Second, Why: "coupled"}
	closed := b2bua.Service{Status: 503, RetryAfter: time.Minute, Why: "maintenance"}
	with := func(s b2bua.Service, status int, mute bool) b2bua.Service {
		s.Status, s.Mute = status, mute
		return s
	}
	type got struct {
		From  map[string]b2bua.Service
		Quiet []string // trunks that we do not ask
		Never []string // trunks that no call goes to
	}
	for _, c := range []struct {
		name string
		on   []store.Maintenance
		down []string
		want got
	}{
		{"all is well", nil, nil, got{From: map[string]b2bua.Service{"pbx": open, "counter": open, "carrier": open, "other": open, "_other": open}}},
		{"the carrier is down", nil, []string{"carrier"}, got{
			From:  map[string]b2bua.Service{"pbx": coupled, "counter": with(coupled, 503, true), "carrier": open, "other": open, "_other": open},
			Quiet: []string{"pbx", "counter"},
		}},
		{"both ends are down: each is asked, or nobody would ever know better", nil, []string{"carrier", "pbx"}, got{
			From:  map[string]b2bua.Service{"pbx": coupled, "counter": with(coupled, 503, true), "carrier": with(coupled, 480, false), "other": open, "_other": open},
			Quiet: []string{"counter"},
		}},
		{"the carrier is in maintenance", []store.Maintenance{{Scope: store.ScopeTrunk, Name: "carrier"}}, nil, got{
			From:  map[string]b2bua.Service{"pbx": coupled, "counter": with(coupled, 503, true), "carrier": with(closed, 480, false), "other": open, "_other": open},
			Quiet: []string{"pbx", "counter"},
			Never: []string{"carrier"},
		}},
		{"this node is in maintenance", []store.Maintenance{{Scope: store.ScopeNode, Name: "edge-1"}}, nil, got{
			From: map[string]b2bua.Service{"pbx": closed, "counter": with(closed, 503, true), "carrier": with(closed, 480, false), "other": closed, "_other": closed},
		}},
		{"another node is in maintenance, and a trunk of this node's name", []store.Maintenance{
			{Scope: store.ScopeNode, Name: "edge-2"}, {Scope: store.ScopeTrunk, Name: "edge-1"}}, nil,
			got{From: map[string]b2bua.Service{"pbx": open, "counter": open, "carrier": open, "other": open, "_other": open}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			board := maintenance.New(embedded.New(), zap.NewNop())
			for _, m := range c.on {
				if err := board.Start(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			s := newService(Config{Node: "edge-1", Trunks: trunks}, board, func(trunk string) bool {
				for _, name := range c.down {
					if name == trunk {
						return true
					}
				}
				return false
			})
			g := gate{allUp{}, s.maintained}
			have := got{From: make(map[string]b2bua.Service)}
			for _, trunk := range []string{"pbx", "counter", "carrier", "other", "_other"} {
				have.From[trunk] = s.from(trunk)
				if s.quiet(trunk) {
					have.Quiet = append(have.Quiet, trunk)
				}
				if g.Use(trunk, locate.Hop{}) == b2bua.UseNever {
					have.Never = append(have.Never, trunk)
				}
			}
			if diff := cmp.Diff(c.want, have); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// allUp are links that are all up.
type allUp struct{ b2bua.Links }

func (allUp) Use(string, locate.Hop) b2bua.Use { return b2bua.UseFirst }

func TestMaintenanceIsOfWhatThereIs(t *testing.T) {
	board := maintenance.New(embedded.New(), zap.NewNop())
	var broken error
	d := &desk{Board: board, service: newService(Config{Node: "edge-1", Trunks: []Trunk{{Name: "pbx"}}}, board, nil),
		nodes: func(context.Context) ([]store.Node, error) { return []store.Node{{Name: "edge-2"}}, broken }}
	look := func(scope store.Scope, name, want string) {
		t.Helper()
		m, err := d.Look(t.Context(), scope, name)
		switch {
		case want == "" && !errors.Is(err, store.ErrNotFound):
			t.Errorf("%s %s: %+v, %v", scope, name, m, err)
		case want != "" && (err != nil || m.Name != want):
			t.Errorf("%s %s: %+v, %v", scope, name, m, err)
		}
	}
	look(store.ScopeTrunk, "pbx", "pbx")
	look(store.ScopeTrunk, "edge-1", "")
	look(store.ScopeNode, "pbx", "")
	look(store.ScopeNode, "-", "edge-1")
	look(store.ScopeNode, "edge-1", "edge-1")
	look(store.ScopeNode, "edge-2", "edge-2")
	broken = store.ErrUnavailable
	look(store.ScopeNode, "edge-1", "edge-1")
	if _, err := d.Look(t.Context(), store.ScopeNode, "edge-3"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a node that may be there: %v", err)
	}
	// What is gone from the configuration can still be put back.
	if err := board.Start(t.Context(), store.Maintenance{Scope: store.ScopeTrunk, Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	look(store.ScopeTrunk, "gone", "gone")
}
