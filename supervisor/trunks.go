package supervisor

import (
	"cmp"
	"net"
	"slices"
	"time"

	"sipvigil/store"
)

// Usage is what the calls of a trunk are to this node: those that go on, and
// what was won back since it started.
type Usage struct {
	Calls   int // that go on
	In, Out int // channels in use, by calls from the trunk and to it

	// Calls among them that may be lost already: their worse leg is suspect or
	// silent, or they are held for that.
	Suspect, Silent, Held int

	Reclaimed int           // channels given back because a far end was found dead
	Unproven  time.Duration // for which these were held after its last sign of life
	Peers     []Worst       // of the far ends that were found dead, most first
	Agents    []Worst       // their User-Agents, most first
}

// Worst is who was found dead how often.
type Worst struct {
	Name string
	Legs int
}

const (
	worstShown = 5
	worstKept  = 1000 // names of each kind that are counted for a trunk, then "other": far ends choose some
)

// wonBack counts what was won back at one trunk.
type wonBack struct {
	channels      int
	unproven      time.Duration
	peers, agents map[string]int
}

// Trunks returns the usage of each trunk that has calls of this node, or had.
func (s *Supervisor) Trunks() map[string]Usage {
	usage := make(map[string]Usage)
	s.legs.Calls(func(c store.Call) bool {
		s.overlay(&c)
		for _, name := range trunksOf(&c) {
			u := usage[name]
			u.add(&c, name)
			usage[name] = u
		}
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.wonBack {
		u := usage[name]
		u.Reclaimed, u.Unproven = r.channels, r.unproven
		u.Peers, u.Agents = worst(r.peers), worst(r.agents)
		usage[name] = u
	}
	return usage
}

// trunksOf are the trunks of a call, each once.
func trunksOf(c *store.Call) []string {
	var names []string
	for _, name := range []string{c.TrunkIn, c.TrunkOut} {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (u *Usage) add(c *store.Call, trunk string) {
	u.Calls++
	if c.TrunkIn == trunk {
		u.In++
	}
	if c.TrunkOut == trunk {
		u.Out++
	}
	switch c.Liveness() {
	case store.Suspect:
		u.Suspect++
	case store.Silent:
		u.Silent++
	}
	if c.Legs[store.Caller].Held != "" || c.Legs[store.Callee].Held != "" {
		u.Held++
	}
}

// reclaim counts what the end of a call gave back to its trunks. Called locked.
func (s *Supervisor) reclaim(c *store.Call) {
	side, dead := foundDead(c.End.Reason)
	if !dead {
		return
	}
	billed, proven := lifetimes(c)
	for i, trunk := range [2]string{store.Caller: c.TrunkIn, store.Callee: c.TrunkOut} {
		r := s.wonBack[trunk]
		if r == nil {
			r = &wonBack{peers: make(map[string]int), agents: make(map[string]int)}
			s.wonBack[trunk] = r
		}
		r.channels++
		r.unproven += billed - proven
		if store.Side(i) == side {
			peer := c.Legs[side].Peer
			if host, _, err := net.SplitHostPort(peer); err == nil {
				peer = host
			}
			tally(r.peers, peer)
			tally(r.agents, c.Legs[side].UserAgent)
		}
	}
}

// foundDead is whose far end was found dead, if that ended the call.
func foundDead(reason store.Reason) (store.Side, bool) {
	for _, side := range store.Sides {
		if reason == side.Gone() || reason == side.Silent() {
			return side, true
		}
	}
	return 0, false
}

func tally(count map[string]int, name string) {
	if _, known := count[name]; !known && len(count) >= worstKept {
		name = other
	}
	count[name]++
}

// worst are the names with the highest counts.
func worst(count map[string]int) []Worst {
	list := make([]Worst, 0, len(count))
	for name, n := range count {
		list = append(list, Worst{name, n})
	}
	slices.SortFunc(list, func(a, b Worst) int {
		return cmp.Or(b.Legs-a.Legs, cmp.Compare(a.Name, b.Name))
	})
	return list[:min(len(list), worstShown)]
}
