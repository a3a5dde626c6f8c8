package storetest

import (
	"testing"
	"time"

	"sipvigil/store"
)

var listTests = map[string]func(*testing.T, Store){
	"a list holds whole calls": func(t *testing.T, s Store) {
		want := several(2)
		for i := range want {
			s.Save(want[i])
			s.SaveHealth(store.LegHealth{ID: want[i].ID, Side: store.Caller, Health: Health()})
			want[i].Leg(store.Caller).Health = Health()
		}
		Settled(t, s)
		got, err := s.List(t.Context(), store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "page", store.Page{Calls: want}, got)
	},
	"an empty store lists nothing": func(t *testing.T, s Store) {
		got, err := s.List(t.Context(), store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "page", store.Page{}, got)
		same(t, "owned", []string(nil), owned(t, s, Node))
	},
	"pages hold every call once, in the order of ids": func(t *testing.T, s Store) {
		calls := several(600)
		var want []string
		for i := range calls {
			s.Save(calls[len(calls)-1-i])
			want = append(want, calls[i].ID)
		}
		for _, limit := range []int{0, 299, 300, 600, 1000, 5000} {
			same(t, "ids", want, list(t, s, store.Query{Limit: limit}))
		}
		Settled(t, s)
		page, err := s.List(t.Context(), store.Query{Limit: 1, Cursor: want[41]})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "page of one", store.Page{Calls: calls[42:43], Next: want[42]}, page)
		same(t, "owned", want, owned(t, s, Node))
	},
	"pages are stable while calls come and go": func(t *testing.T, s Store) {
		calls := several(9)
		for _, c := range calls[1:8] {
			s.Save(c)
		}
		Settled(t, s)
		first, err := s.List(t.Context(), store.Query{Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "first page", store.Page{Calls: calls[1:4], Next: calls[3].ID}, first)
		s.Save(calls[0]) // before the cursor: not seen
		s.Finish(calls[3], time.Hour)
		s.Finish(calls[5], time.Hour)
		s.Save(calls[8])
		Settled(t, s)
		rest, err := s.List(t.Context(), store.Query{Cursor: first.Next})
		if err != nil {
			t.Fatal(err)
		}
		want := []store.Call{calls[4], calls[6], calls[7], calls[8]}
		same(t, "second page", store.Page{Calls: want}, rest)
	},
	"a query selects": selects,
	"a node owns its calls that go on": func(t *testing.T, s Store) {
		calls := several(5)
		calls[0].Node, calls[3].Node = "edge-2", "edge-2"
		calls[2].State = store.Trying
		for _, c := range calls {
			s.Save(c)
		}
		same(t, "owned", []string{calls[1].ID, calls[2].ID, calls[4].ID}, owned(t, s, Node))
		same(t, "owned by another", []string{calls[0].ID, calls[3].ID}, owned(t, s, "edge-2"))
		same(t, "owned by nobody", []string(nil), owned(t, s, "edge-3"))
	},
	"calls whose release has begun are read back before all others": func(t *testing.T, s Store) {
		calls := several(600)
		var first, others []string
		for i, c := range calls {
			if i%2 == 0 && i > 500 {
				c.State = store.Ending
				first = append(first, c.ID)
			} else {
				others = append(others, c.ID)
			}
			s.Save(c)
		}
		same(t, "owned", append(first, others...), owned(t, s, Node))
	},
	"whole calls are read back until yield has enough": func(t *testing.T, s Store) {
		calls := several(5)
		for i := range calls {
			s.Save(calls[i])
			s.SaveHealth(store.LegHealth{ID: calls[i].ID, Side: store.Callee, Health: Health()})
			calls[i].Leg(store.Callee).Health = Health()
		}
		Settled(t, s)
		var got []store.Call
		err := s.Owned(t.Context(), Node, func(c store.Call) bool {
			got = append(got, c)
			return len(got) < 3
		})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "calls", calls[:3], got)
	},
	"a call that changes its node is owned by the new one only": func(t *testing.T, s Store) {
		c := Call()
		c.Node = "edge-2"
		s.Save(c)
		Settled(t, s)
		c.Node, c.Epoch = Node, 2
		s.Save(c)
		same(t, "owned", []string{c.ID}, owned(t, s, Node))
		same(t, "owned by the old node", []string(nil), owned(t, s, "edge-2"))
		same(t, "list", []string{c.ID}, list(t, s, store.Query{}))
	},
}

func selects(t *testing.T, s Store) {
	c := several(6)
	c[0].State = store.Early
	c[1].Node = "edge-2"
	c[2].TrunkIn, c[2].TrunkOut = "carrier-b", "pbx"
	c[3].Leg(store.Callee).RemoteURI = "<sip:+442079460000@192.0.2.20>"
	c[4].Started = time.Now().Add(-time.Minute)
	for i := range c {
		s.Save(c[i])
	}
	s.SaveHealth(store.LegHealth{ID: c[5].ID, Side: store.Callee, Health: store.Health{Liveness: store.Silent}})
	ids := func(index ...int) (ids []string) {
		for _, i := range index {
			ids = append(ids, c[i].ID)
		}
		return ids
	}
	test := func(what string, q store.Query, want ...int) {
		t.Helper()
		same(t, what, ids(want...), list(t, s, q))
	}
	test("all", store.Query{}, 0, 1, 2, 3, 4, 5)
	test("state", store.Query{State: store.Early}, 0)
	test("liveness", store.Query{Liveness: store.Silent}, 5)
	test("trunk, in or out", store.Query{Trunk: "pbx"}, 0, 1, 2, 3, 4, 5)
	test("trunk", store.Query{Trunk: "carrier-b"}, 2)
	test("number", store.Query{Number: "+4420"}, 3)
	test("Call-ID", store.Query{Number: c[2].Leg(store.Caller).CallID}, 2)
	test("node", store.Query{Node: "edge-2"}, 1)
	test("other nodes", store.Query{NotNode: "edge-2"}, 0, 2, 3, 4, 5)
	test("older", store.Query{Older: time.Hour}, 0, 1, 2, 3, 5)
	test("several at once", store.Query{State: store.Confirmed, Node: Node, Older: time.Hour}, 2, 3, 5)
	test("in pages", store.Query{State: store.Confirmed, Limit: 2}, 1, 2, 3, 4, 5)
	test("in pages that just fit", store.Query{NotNode: "edge-2", Limit: 5}, 0, 2, 3, 4, 5)
	test("none", store.Query{Trunk: "no-such"})
}
