package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"sipvigil/store"
)

// model is what the records of a store must be, in its simplest form.
type model map[string]store.Call

func (m model) save(c store.Call) {
	old := m[c.ID]
	if old.State == store.Terminated {
		return
	}
	for i := range c.Legs {
		leg := &c.Legs[i]
		leg.Health = old.Legs[i].Health
		leg.LocalMark = max(leg.LocalMark, old.Legs[i].LocalMark)
		leg.LocalCSeq, leg.LocalAsked = leg.LocalMark, 0
	}
	m[c.ID] = c
}

func (m model) change(id string, side store.Side, change func(*store.Leg)) {
	if c, ok := m[id]; ok && c.State != store.Terminated {
		change(c.Leg(side))
		m[id] = c
	}
}

func (m model) finish(c store.Call) {
	c.State = store.Terminated
	m.save(c)
}

var modelTests = map[string]func(*testing.T, Store){
	"whatever is changed reads as the model says": func(t *testing.T, s Store) {
		rapid.Check(t, func(rt *rapid.T) { followsModel(t, rt, s) })
	},
}

// followsModel changes a few calls at random and compares. A call is saved
// before anything else is changed on it.
func followsModel(t *testing.T, rt *rapid.T, s Store) {
	want := model{}
	ids := make([]string, 3)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7()).String()
	}
	id := rapid.SampledFrom(ids)
	side := rapid.SampledFrom(store.Sides[:])
	mark := rapid.Uint32Range(0, 100)
	known := func(rt *rapid.T) string {
		id := id.Draw(rt, "id")
		if _, ok := want[id]; !ok {
			rt.Skip("not saved yet")
		}
		return id
	}
	call := func(rt *rapid.T, id string) store.Call {
		c := anyCall(rt)
		c.ID = id
		return c
	}
	rt.Repeat(map[string]func(*rapid.T){
		"save": func(rt *rapid.T) {
			c := call(rt, id.Draw(rt, "id"))
			s.Save(c)
			want.save(c)
		},
		"health": func(rt *rapid.T) {
			id, side, h := known(rt), side.Draw(rt, "side"), anyHealth(rt)
			s.SaveHealth(store.LegHealth{ID: id, Side: side, Health: h})
			want.change(id, side, func(l *store.Leg) { l.Health = h })
		},
		"reserve": func(rt *rapid.T) {
			id, side, mark := known(rt), side.Draw(rt, "side"), mark.Draw(rt, "mark")
			s.Reserve(id, side, mark, nil)
			want.change(id, side, func(l *store.Leg) {
				l.LocalMark = max(l.LocalMark, mark)
				l.LocalCSeq = l.LocalMark
			})
		},
		"finish": func(rt *rapid.T) {
			c := call(rt, known(rt))
			s.Finish(c, time.Hour)
			want.finish(c)
		},
		"settle": func(*rapid.T) { Settled(t, s) },
	})
	Settled(t, s)
	for _, id := range ids {
		got, err := s.Get(t.Context(), id)
		if _, ok := want[id]; !ok && errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			rt.Fatalf("get: %v", err)
		}
		same(t, "call", want[id], got)
		if t.Failed() {
			rt.FailNow()
		}
	}
}

func anyCall(rt *rapid.T) store.Call {
	text := rapid.SampledFrom([]string{"", "a", odd, "<sip:a@192.0.2.1;lr>"})
	state := rapid.SampledFrom([]store.State{store.Trying, store.Early, store.Confirmed, store.Ending})
	c := store.Call{
		State:   state.Draw(rt, "state"),
		Node:    Node,
		Epoch:   1,
		TrunkIn: text.Draw(rt, "trunk"),
		Started: anyTime(rt),
		End:     store.End{Status: rapid.IntRange(0, 699).Draw(rt, "status"), Text: text.Draw(rt, "text")},
	}
	for i := range c.Legs {
		leg := &c.Legs[i]
		leg.CallID, leg.Target = text.Draw(rt, "Call-ID"), text.Draw(rt, "target")
		if routes := rapid.SliceOfN(text, 0, 3).Draw(rt, "routes"); len(routes) > 0 {
			leg.RouteSet = routes
		}
		leg.LocalMark = rapid.Uint32Range(0, 100).Draw(rt, "mark")
		leg.LocalCSeq, leg.LocalAsked = leg.LocalMark-1, leg.LocalMark+1
		leg.RemoteCSeq = rapid.Uint32().Draw(rt, "remote CSeq")
	}
	return c
}

func anyHealth(rt *rapid.T) store.Health {
	return store.Health{
		Liveness:  rapid.SampledFrom([]store.Liveness{"", store.Alive, store.Silent}).Draw(rt, "liveness"),
		LastAlive: anyTime(rt),
		Misses:    rapid.IntRange(0, 3).Draw(rt, "misses"),
		RTT:       time.Duration(rapid.Int64Range(0, 1e11).Draw(rt, "rtt")),
		Answers:   rapid.Bool().Draw(rt, "answers"),
	}
}

func anyTime(rt *rapid.T) time.Time {
	if ms := rapid.Int64Range(0, 1<<41).Draw(rt, "time"); ms > 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}
