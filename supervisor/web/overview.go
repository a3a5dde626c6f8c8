package web

import (
	"context"
	"math"
	"net/http"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// Overview is how everything fares, on one line for the head of a page. Calls
// are those of the node that answers, but for Others.
type Overview struct {
	Active         int        `json:"active"`
	PerSecond      float64    `json:"calls_per_second"` // that began, over the last 5 seconds
	Live           int        `json:"live"`             // confirmed, and both far ends answer
	Suspect        int        `json:"suspect"`          // one does not, or does not know the call
	Unproven       int        `json:"unproven"`         // one was not asked yet, or never answers
	Held           int        `json:"held"`             // would have ended, but for the brake
	ReclaimedToday int        `json:"reclaimed_today"`  // channels of trunks, since midnight UTC
	Store          StoreState `json:"store"`
	Nodes          NodeCounts `json:"nodes"`
	Brake          []Braking  `json:"brake"`          // why calls are held, empty while it is off
	Idle           string     `json:"idle,omitempty"` // why calls are not watched
	Others         []Tally    `json:"others"`         // how calls fare on the other nodes that are there
}

// Tally is how the calls of another node fared when it was last seen, in the
// words of Overview.
type Tally struct {
	Node           string  `json:"node"`
	Active         int     `json:"active"`
	PerSecond      float64 `json:"calls_per_second"`
	Live           int     `json:"live"`
	Suspect        int     `json:"suspect"`
	Unproven       int     `json:"unproven"`
	Held           int     `json:"held"`
	ReclaimedToday int     `json:"reclaimed_today"`
}

// StoreState is how the store fares.
type StoreState struct {
	State   string `json:"state"` // ok or degraded
	Backend string `json:"backend"`
	Since   Time   `json:"since,omitzero"`
	Pending int    `json:"pending"` // calls with changes that are not written yet
	Error   string `json:"error"`
}

// NodeCounts is how many nodes there are in each state.
type NodeCounts struct {
	Up       int `json:"up"`
	Draining int `json:"draining"`
	Left     int `json:"left"`
	Dead     int `json:"dead"`
}

// Braking is why the brake holds calls: stall (this process could not hear
// them), trunk (it does not answer either), peer (too many behind one trunk or
// peer, or behind all that is no trunk, are silent), rate (silence has ended too
// many in a minute).
type Braking struct {
	Reason string `json:"reason"`
	Trunk  string `json:"trunk"`
	Peer   string `json:"peer"`
	Ill    int    `json:"ill"`  // legs that do not answer
	Legs   int    `json:"legs"` // of so many
	Text   string `json:"text"`
}

// BrakeChange is that the brake begins to hold calls for a reason, or lets go.
type BrakeChange struct {
	Engaged bool `json:"engaged"`
	Braking
}

func (s *Server) showOverview(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, s.overview(s.glance(r.Context())))
}

// glance returns the nodes, none if that takes a while: the rest of an overview
// is worth showing without them.
func (s *Server) glance(ctx context.Context) []store.Node {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	nodes, err := s.nodes(ctx)
	if err != nil {
		s.log.Debug("nodes cannot be listed", zap.Error(err))
	}
	return nodes
}

func (s *Server) overview(nodes []store.Node) Overview {
	o := s.calls.Overview()
	v := Overview{
		Active:         o.Active,
		PerSecond:      tenths(o.PerSecond),
		Live:           o.Live,
		Suspect:        o.Suspect,
		Unproven:       o.Unproven,
		Held:           o.Held,
		ReclaimedToday: o.Reclaimed,
		Store:          storeState(s.status()),
		Brake:          make([]Braking, len(o.Brake)),
		Others:         []Tally{},
	}
	for i, b := range o.Brake {
		v.Brake[i] = braking(b)
	}
	for _, n := range nodes {
		if n.Live() && n.Name != s.cfg.Node {
			t := n.Tally
			v.Others = append(v.Others, Tally{n.Name, n.Calls, tenths(t.PerSecond), t.Live, t.Suspect, t.Unproven, t.Held, t.Reclaimed})
		}
		switch n.State {
		case store.NodeUp:
			v.Nodes.Up++
		case store.NodeDraining:
			v.Nodes.Draining++
		case store.NodeLeft:
			v.Nodes.Left++
		case store.NodeDead:
			v.Nodes.Dead++
		}
	}
	if s.cfg.Idle != nil {
		v.Idle = s.cfg.Idle()
	}
	return v
}

func tenths(x float64) float64 { return math.Round(x*10) / 10 }

func braking(b supervisor.Braking) Braking { return Braking(b) }

func storeState(st store.Status) StoreState {
	v := StoreState{State: "ok", Backend: st.Backend, Since: Time{st.Since}, Pending: st.Pending}
	if !st.Reachable {
		v.State, v.Error = "degraded", st.LastError
	}
	return v
}
