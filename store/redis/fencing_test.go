package redis_test

import (
	"sync"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// fenced opens a store of a node and returns how often it was told that a call
// is not its own any more.
func fenced(t *testing.T, url, node string) (*redis.Store, func() map[string]int) {
	var mu sync.Mutex
	told := map[string]int{}
	s := open(t, redis.Config{URL: url, Node: node, Fenced: func(id string) {
		mu.Lock()
		defer mu.Unlock()
		told[id]++
	}})
	storetest.Start(t, s)
	return s, func() map[string]int {
		storetest.Settled(t, s)
		mu.Lock()
		defer mu.Unlock()
		was := told
		told = map[string]int{}
		return was
	}
}

func TestAnOwnerIsRefusedWhenALaterOneHasTheCall(t *testing.T) {
	t.Parallel()
	url, _ := storetest.Redis(t)
	early, told := fenced(t, url, "edge-1")
	late, toldLate := fenced(t, url, "edge-2")
	c := storetest.Call()
	early.Save(c)
	storetest.Settled(t, early)
	want := c
	want.Node, want.Epoch = "edge-2", 2
	late.Save(want)
	storetest.Settled(t, late)
	same(t, "told", map[string]int{}, told())

	refused := func(what string, change func()) {
		t.Helper()
		change()
		same(t, what+" is told", map[string]int{c.ID: 1}, told())
		same(t, what+" changes nothing", want, get(t, late, c.ID))
	}
	refused("save", func() { early.Save(c) })
	refused("health", func() { early.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()}) })
	refused("finish", func() { early.Finish(c, time.Hour) })
	refused("reserve", func() {
		early.Reserve(c.ID, store.Caller, 1000, func(uint32) { t.Error("a mark is covered that was refused") })
	})
	other := storetest.Call() // a higher epoch of the process does not help
	other.Epoch = 3
	early.Save(other)
	refused("health under a higher epoch", func() { early.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()}) })

	late.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()})
	want.Leg(store.Caller).Health = storetest.Health()
	same(t, "call", want, get(t, late, c.ID))
	late.Finish(want, time.Hour)
	want.State = store.Terminated
	refused("save of a finished call", func() { early.Save(c) })
	same(t, "told the owner", map[string]int{}, toldLate())
}

func TestAnEarlierLifeOfTheSameNodeIsRefused(t *testing.T) {
	t.Parallel()
	url, _ := storetest.Redis(t)
	early, told := fenced(t, url, "edge-1")
	late, _ := fenced(t, url, "edge-1")
	c := storetest.Call()
	early.Save(c)
	storetest.Settled(t, early)
	want := c
	want.Epoch = 2
	late.Save(want)
	storetest.Settled(t, late)
	early.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()})
	same(t, "told", map[string]int{c.ID: 1}, told())
	same(t, "call", want, get(t, late, c.ID))
}

func TestACallCanComeBackToItsFirstOwner(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	first, told := fenced(t, url, "edge-1")
	second, _ := fenced(t, url, "edge-2")
	c := storetest.Call()
	for _, s := range []*redis.Store{first, second, first} {
		s.Save(c)
		storetest.Settled(t, s)
		c.Epoch++
		c.Node = map[string]string{"edge-1": "edge-2", "edge-2": "edge-1"}[c.Node]
	}
	c.Node, c.Epoch = "edge-1", 3
	nodes := connect(t, server).Keys(t.Context(), "{*:node:*").Val()
	same(t, "nodes that own calls", []string{"{sv:" + c.ID[len(c.ID)-2:] + "}:node:edge-1"}, nodes)
	same(t, "call", c, get(t, first, c.ID))
	same(t, "told", map[string]int{}, told())
}
