package web

import (
	"net/http"
	"slices"

	"sipvigil/store"
	"sipvigil/supervisor/links"
)

// Trunks is the answer to a query for trunks.
type Trunks struct {
	Trunks []Trunk `json:"trunks"`
}

// Trunk is a group of peers. The addresses of one with a monitor are watched by
// this node.
type Trunk struct {
	Name        string  `json:"name"`
	State       string  `json:"state"`                 // up, partial, down or unknown; unwatched without a monitor
	Maintenance string  `json:"maintenance,omitempty"` // maintenance or draining: it takes no new calls
	Since       Time    `json:"since,omitzero"`        // of the state
	Preset      string  `json:"preset"`                // that it is watched by, "" for none
	Probe       string  `json:"probe"`                 // what its addresses are asked with
	Addresses   []Place `json:"addresses"`
	Usage       *Usage  `json:"usage,omitempty"` // of its channels
}

// Place is one address of a trunk.
type Place struct {
	Target    string  `json:"target"` // the URI that leads there
	Transport string  `json:"transport"`
	Address   string  `json:"address"`        // "" when the target has none
	State     string  `json:"state"`          // up, down or unknown
	Use       string  `json:"use"`            // first, last or never: for new calls
	Since     Time    `json:"since,omitzero"` // of the state
	RTT       float64 `json:"rtt_ms"`         // of the last answer to a question, 0 without
	Last      string  `json:"last"`           // what was seen last
	LastAt    Time    `json:"last_at,omitzero"`
	Next      Time    `json:"next,omitzero"` // when it is asked, or tried, next
}

var uses = map[links.Use]string{links.UseFirst: "first", links.UseLast: "last", links.UseNever: "never"}

func (s *Server) listTrunks(w http.ResponseWriter, _ *http.Request) {
	all := s.allTrunks()
	for i := range all {
		all[i].Maintenance = s.maintenance(store.ScopeTrunk, all[i].Name)
	}
	reply(w, http.StatusOK, Trunks{Trunks: all})
}

// allTrunks are those that are used, in the order of the configuration, and any
// other that is watched.
func (s *Server) allTrunks() []Trunk {
	watched := []Trunk{}
	if s.cfg.Trunks != nil {
		for _, h := range s.cfg.Trunks() {
			watched = append(watched, trunkOf(&h))
		}
	}
	if s.cfg.Usage == nil {
		return watched
	}
	var all []Trunk
	for _, u := range s.cfg.Usage() {
		t := Trunk{Name: u.Name, State: "unwatched", Addresses: []Place{}}
		if i := slices.IndexFunc(watched, func(t Trunk) bool { return t.Name == u.Name }); i >= 0 {
			t = watched[i]
			watched = slices.Delete(watched, i, i+1)
		}
		t.Usage = usageOf(&u)
		all = append(all, t)
	}
	return append(all, watched...)
}

func trunkOf(h *links.Health) Trunk {
	t := Trunk{Name: h.Name, State: string(h.State), Since: Time{h.Since}, Preset: h.Preset, Probe: string(h.Probe), Addresses: []Place{}}
	for i := range h.Addresses {
		a := &h.Addresses[i]
		p := Place{
			Target: a.Target, Transport: a.Place.Transport, State: string(a.State), Use: uses[a.Use], Since: Time{a.Since},
			RTT: millis(a.RTT), Last: a.Last, LastAt: Time{a.LastAt}, Next: Time{a.Next},
		}
		if a.Place.Addr.IsValid() {
			p.Address = a.Place.Addr.String()
		}
		t.Addresses = append(t.Addresses, p)
	}
	return t
}
