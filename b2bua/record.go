package b2bua

import (
	"time"

	"sipvigil/store"
)

// record is a store.Call without the health of its legs, which is no matter of
// the agent. It is most of what a call at rest takes.
type record struct {
	ID       string
	State    store.State
	Node     string
	Epoch    int64
	TrunkIn  string
	TrunkOut string
	Started  time.Time
	Answered time.Time
	End      store.End
	Legs     [2]leg
	Text     string
}

// leg is a store.Leg without its health.
type leg struct{ store.Dialog }

func recordOf(c *store.Call) record {
	return record{
		ID: c.ID, State: c.State, Node: c.Node, Epoch: c.Epoch, TrunkIn: c.TrunkIn, TrunkOut: c.TrunkOut,
		Started: c.Started, Answered: c.Answered, End: c.End, Text: c.Text,
		Legs: [2]leg{{c.Legs[store.Caller].Dialog}, {c.Legs[store.Callee].Dialog}},
	}
}

func (r *record) call() store.Call {
	return store.Call{
		ID: r.ID, State: r.State, Node: r.Node, Epoch: r.Epoch, TrunkIn: r.TrunkIn, TrunkOut: r.TrunkOut,
		Started: r.Started, Answered: r.Answered, End: r.End, Text: r.Text,
		Legs: [2]store.Leg{{Dialog: r.Legs[store.Caller].Dialog}, {Dialog: r.Legs[store.Callee].Dialog}},
	}
}

// compact makes one piece of the record's texts. The id stays the one that all
// tables have, which is found there at a glance.
func (r *record) compact() {
	c := r.call()
	c.Compact()
	c.ID = r.ID
	*r = recordOf(&c)
}
