package web

import (
	"cmp"
	"slices"
	"time"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// TrunkUsage is what the channels of one trunk are used for.
type TrunkUsage struct {
	Name  string
	Limit store.Limit
	// Used are its channels in use on all nodes, by side, if Counted: it has a
	// limit.
	Used    [2]int
	Counted bool
	supervisor.Usage
}

// Usage is what the channels of a trunk are used for. The lists of the calls
// behind its numbers are /api/v1/calls?trunk=NAME with liveness=suspect,
// liveness=silent or held=true.
type Usage struct {
	In       int      `json:"in"`        // channels in use by calls from it
	Out      int      `json:"out"`       // and by calls to it
	AllNodes bool     `json:"all_nodes"` // of all nodes that share the store, as those of a trunk with a capacity always are
	Capacity Capacity `json:"capacity"`

	Calls   int `json:"calls"`   // that go on
	Suspect int `json:"suspect"` // among them, by their worse leg
	Silent  int `json:"silent"`
	Held    int `json:"held"` // that go on although silent

	// Since the nodes started: channels given back because a far end was found
	// dead, and for how long they were held after its last sign of life.
	Reclaimed        int     `json:"reclaimed"`
	ReclaimedSeconds float64 `json:"reclaimed_seconds"`
	WorstPeers       []Worst `json:"worst_peers"`
	WorstAgents      []Worst `json:"worst_user_agents"`
}

// Capacity is how many channels a trunk has, and calls in a second; 0 is any
// number.
type Capacity struct {
	In    int `json:"in"`
	Out   int `json:"out"`
	Total int `json:"total"`
	CPS   int `json:"cps"`
}

// Worst is whose legs were found dead, and how many.
type Worst struct {
	Name string `json:"name"`
	Legs int    `json:"legs"`
}

func usageOf(u *TrunkUsage) *Usage {
	in, out := u.In, u.Out
	if u.Counted {
		in, out = u.Used[store.Caller], u.Used[store.Callee]
	}
	return &Usage{
		In: in, Out: out, AllNodes: u.Counted,
		Capacity: Capacity{In: u.Limit.In, Out: u.Limit.Out, Total: u.Limit.Total, CPS: u.Limit.PerSecond},
		Calls:    u.Calls, Suspect: u.Suspect, Silent: u.Silent, Held: u.Held,
		Reclaimed: u.Reclaimed, ReclaimedSeconds: u.Unproven.Round(time.Millisecond).Seconds(),
		WorstPeers: worst(u.Peers), WorstAgents: worst(u.Agents),
	}
}

// add counts what the calls of another node use.
func (u *Usage) add(more *Usage) {
	if !u.AllNodes {
		u.In += more.In
		u.Out += more.Out
	}
	u.Calls += more.Calls
	u.Suspect += more.Suspect
	u.Silent += more.Silent
	u.Held += more.Held
	u.Reclaimed += more.Reclaimed
	u.ReclaimedSeconds += more.ReclaimedSeconds
	u.WorstPeers = worstOf(u.WorstPeers, more.WorstPeers)
	u.WorstAgents = worstOf(u.WorstAgents, more.WorstAgents)
}

// whole says that nothing is missing.
func (u *Usage) whole() {
	if u != nil {
		u.AllNodes = true
	}
}

// mostWorst is how many are named, as of one node.
const mostWorst = 5

// worstOf joins what two nodes have found.
func worstOf(a, b []Worst) []Worst {
	legs := make(map[string]int)
	for _, w := range slices.Concat(a, b) {
		legs[w.Name] += w.Legs
	}
	all := make([]Worst, 0, len(legs))
	for name, n := range legs {
		all = append(all, Worst{name, n})
	}
	slices.SortFunc(all, func(a, b Worst) int { return cmp.Or(b.Legs-a.Legs, cmp.Compare(a.Name, b.Name)) })
	return all[:min(len(all), mostWorst)]
}

func worst(list []supervisor.Worst) []Worst {
	all := make([]Worst, len(list))
	for i, w := range list {
		all[i] = Worst(w)
	}
	return all
}
