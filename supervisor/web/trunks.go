package web

import (
	"encoding/json"
	"net/http"
	"slices"

	"sipvigil/store"
	"sipvigil/supervisor/links"
)

// Trunks is the answer to a query for trunks.
type Trunks struct {
	Trunks  []Trunk `json:"trunks"`
	Partial bool    `json:"partial,omitempty"` // some other nodes have not said what their calls use
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

// listTrunks answers with the trunks as this node sees them, and with what the
// calls of all nodes use.
func (s *Server) listTrunks(w http.ResponseWriter, r *http.Request) {
	body := Trunks{Trunks: s.allTrunks()}
	for i := range body.Trunks {
		body.Trunks[i].Maintenance = s.maintenance(store.ScopeTrunk, body.Trunks[i].Name)
	}
	others, known := s.askOthers(r, "trunks", "")
	body.Partial = !known
	for _, o := range others {
		var there Trunks
		if o.err != nil || json.Unmarshal(o.body, &there) != nil {
			body.Partial = true
			continue
		}
		body.add(there.Trunks)
	}
	if _, here := passedOn(r); s.courier != nil && !here && !body.Partial {
		for i := range body.Trunks {
			body.Trunks[i].Usage.whole()
		}
	}
	reply(w, http.StatusOK, body)
}

// add counts what the calls of another node use. A trunk that is not known here
// was used there.
func (t *Trunks) add(there []Trunk) {
	for i := range there {
		if there[i].Usage == nil {
			continue
		}
		at := slices.IndexFunc(t.Trunks, func(have Trunk) bool { return have.Name == there[i].Name })
		switch {
		case at < 0:
			t.Trunks = append(t.Trunks, Trunk{Name: there[i].Name, State: "unwatched", Addresses: []Place{}, Usage: there[i].Usage})
		case t.Trunks[at].Usage == nil:
			t.Trunks[at].Usage = there[i].Usage
		default:
			t.Trunks[at].Usage.add(there[i].Usage)
		}
	}
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
