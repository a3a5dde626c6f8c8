package supervisor

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// ended is a call between two trunks that lasted an hour, of which the last sign
// of life came after this many minutes.
func ended(reason store.Reason, minutes [2]int, peer, agent string) store.Call {
	c := store.Call{ID: "x", State: store.Terminated, TrunkIn: "pbx", TrunkOut: "carrier", Answered: time.Now().Add(-time.Hour),
		End: store.End{Reason: reason, At: time.Now()}}
	for i := range c.Legs {
		c.Legs[i].Peer, c.Legs[i].UserAgent = peer, agent
		c.Legs[i].LastAlive = c.Answered.Add(time.Duration(minutes[i]) * time.Minute)
	}
	return c
}

func TestWhatWasWonBackIsCountedByTrunk(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, c := range []store.Call{
			ended(store.Callee.Silent(), [2]int{60, 50}, "192.0.2.1:5060", "Old PBX"),
			ended(store.Callee.Gone(), [2]int{60, 40}, "192.0.2.1:5070", "Older PBX"),
			ended(store.Caller.Gone(), [2]int{59, 60}, "[2001:db8::1]:5060", ""),
			ended(store.Caller.Bye(), [2]int{10, 10}, "192.0.2.9:5060", "fine"),
		} {
			w.sup.Ended(c)
		}
		want := map[string]Usage{
			"pbx": {Reclaimed: 3, Unproven: 31 * time.Minute, Peers: []Worst{{"2001:db8::1", 1}}, Agents: []Worst{{"", 1}}},
			"carrier": {Reclaimed: 3, Unproven: 31 * time.Minute, Peers: []Worst{{"192.0.2.1", 2}},
				Agents: []Worst{{"Old PBX", 1}, {"Older PBX", 1}}},
		}
		if d := cmp.Diff(want, w.sup.Trunks()); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	})
}

func TestTheWorstAreFewAndTheirNamesAreBounded(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for i := range worstKept + 50 {
			w.sup.Ended(ended(store.Callee.Gone(), [2]int{}, "192.0.2.1:5060", fmt.Sprintf("agent %04d", i)))
		}
		got := w.sup.Trunks()["carrier"]
		if len(got.Agents) != worstShown || got.Agents[0] != (Worst{other, 50}) || got.Agents[1] != (Worst{"agent 0000", 1}) {
			t.Errorf("agents: %v", got.Agents)
		}
	})
}

func TestCallsThatMayBeLostAreCountedByTrunk(t *testing.T) {
	inWorld(t, func(c *Config) { c.Action = Observe }, func(t *testing.T, w *world) {
		for _, id := range []string{"fine", "dead", "same"} {
			w.call(id)
			w.legs.change(id, func(c *store.Call) {
				c.TrunkIn, c.TrunkOut = "pbx", "carrier"
				if id == "same" {
					c.TrunkIn = "carrier"
				}
			})
		}
		sleep(40 * time.Second) // each has answered once
		w.legs.mu.Lock()
		w.legs.reply = func(id string, side store.Side) (reply, bool) { return nothing(), id == "dead" && side == store.Callee }
		w.legs.mu.Unlock()
		sleep(57 * time.Second)
		got := w.sup.Trunks()
		want := map[string]Usage{
			"pbx":     {Calls: 2, In: 2, Suspect: 1},
			"carrier": {Calls: 3, In: 1, Out: 3, Suspect: 1},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("after one miss (-want +got):\n%s", d)
		}
		sleep(time.Minute)
		got = w.sup.Trunks()
		want = map[string]Usage{
			"pbx":     {Calls: 2, In: 2, Silent: 1, Held: 1},
			"carrier": {Calls: 3, In: 1, Out: 3, Silent: 1, Held: 1},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("after two (-want +got):\n%s", d)
		}
		p, err := w.sup.Calls(t.Context(), store.Query{Trunk: "carrier", Held: true})
		if err != nil || fmt.Sprint(ids(p)) != "[dead]" {
			t.Errorf("held calls: %v, %v", ids(p), err)
		}
	})
}
