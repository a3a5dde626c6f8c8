package redis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// onEach runs a test on one server and on a cluster.
func onEach(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("one server", func(t *testing.T) {
		url, _ := storetest.Redis(t)
		f(t, url)
	})
	t.Run("cluster", func(t *testing.T) {
		first, _ := startCluster(t)
		f(t, "redis-cluster://"+first[0].Addr())
	})
}

func node(name string, epoch int64) store.Node {
	return store.Node{Name: name, State: store.NodeUp, Epoch: epoch, Since: time.UnixMilli(1_750_000_000_000).UTC(),
		Seen: time.Now().UTC().Truncate(time.Millisecond), Calls: 3, Addr: "192.0.2.5:5060",
		Tally: store.Tally{PerSecond: 0.6, Live: 1, Suspect: 2, Unproven: 3, Held: 4, Reclaimed: 5}}
}

func member(t *testing.T, url, name string) *redis.Store {
	t.Helper()
	s, _ := fenced(t, url, name)
	return s
}

func renew(t *testing.T, s *redis.Store, n store.Node, want redis.Leased) {
	t.Helper()
	got, err := s.Renew(t.Context(), n)
	if err != nil || got != want {
		t.Errorf("renewal under epoch %d: %q, %v, want %q", n.Epoch, got, err, want)
	}
}

func epochOf(t *testing.T, s *redis.Store) int64 {
	t.Helper()
	epoch, err := s.NextEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

func TestALeaseBelongsToTheLatestRunOfItsNode(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		one, two := member(t, url, "edge-1"), member(t, url, "edge-2")
		renew(t, one, node("edge-1", 5), redis.LeaseNew)
		renew(t, one, node("edge-1", 5), redis.LeaseKept)
		renew(t, two, node("edge-2", 6), redis.LeaseNew)
		later := node("edge-1", 7)
		renew(t, one, later, redis.LeaseNew)
		renew(t, one, node("edge-1", 5), redis.LeaseTaken)

		nodes, err := two.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		later.Seen, nodes[0].Seen = time.Time{}, time.Time{}
		same(t, "node", later, nodes[0])
		same(t, "nodes", []string{"edge-1 up", "edge-2 up"}, states(nodes))
	})
}

func states(nodes []store.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Name+" "+string(n.State))
	}
	return list
}

func TestALeaseThatIsNotRenewedExpires(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	one, two := member(t, url, "edge-1"), member(t, url, "edge-2")
	renew(t, one, node("edge-1", 5), redis.LeaseNew)
	renew(t, two, node("edge-2", 6), redis.LeaseNew)
	admin := connect(t, server)
	if left := admin.PTTL(t.Context(), "sv:node:edge-1").Val(); left <= redis.LeaseUse || left > redis.LeaseTime {
		t.Errorf("the lease lasts for %v", left)
	}
	admin.Del(t.Context(), "sv:node:edge-1")
	nodes, err := two.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "nodes", []string{"edge-1 dead", "edge-2 up"}, states(nodes))
	renew(t, one, node("edge-1", 5), redis.LeaseNew)
}

// owning saves n calls of a node and returns their ids.
func owning(t *testing.T, s *redis.Store, name string, epoch int64, n int) []string {
	t.Helper()
	var ids []string
	for i := range n {
		c := storetest.Call()
		c.ID = fmt.Sprintf("019579a0-0000-7000-8000-%012x", i*7)
		c.Node, c.Epoch = name, epoch
		if i == n-1 {
			c.State = store.Ending
		}
		s.Save(c)
		ids = append(ids, c.ID)
	}
	storetest.Settled(t, s)
	return ids
}

func TestTwoNodesNeverAdoptTheSameCall(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		gone, one, two := member(t, url, "edge-1"), member(t, url, "edge-2"), member(t, url, "edge-3")
		ids := owning(t, gone, "edge-1", epochOf(t, gone), 600)
		ending, others, err := one.Stranded(t.Context(), "edge-1")
		if err != nil {
			t.Fatal(err)
		}
		same(t, "stranded while ending", ids[len(ids)-1:], ending)
		same(t, "stranded", ids[:len(ids)-1], others)

		var mu sync.Mutex
		owner := make(map[string]string)
		var all sync.WaitGroup
		for name, s := range map[string]*redis.Store{"edge-2": one, "edge-3": two} {
			epoch := epochOf(t, s)
			all.Go(func() {
				for range 2 { // whose answer was lost asks again
					calls, err := s.Adopt(t.Context(), "edge-1", epoch, ids)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					for _, c := range calls {
						if by := owner[c.ID]; by != "" && by != name || c.Node != name || c.Epoch != epoch {
							t.Errorf("call %s of %s under %d went to %s and %s", c.ID, c.Node, c.Epoch, by, name)
						}
						owner[c.ID] = name
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(owner) != len(ids) {
			t.Errorf("%d of %d calls were adopted", len(owner), len(ids))
		}
		if ending, others, _ := one.Stranded(t.Context(), "edge-1"); len(ending)+len(others) > 0 {
			t.Errorf("%d calls are left", len(ending)+len(others))
		}
	})
}

func TestAnAdoptionBegunBeforeTheOwnerCameBackFails(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		gone, other := member(t, url, "edge-1"), member(t, url, "edge-2")
		epoch := epochOf(t, gone)
		ids := owning(t, gone, "edge-1", epoch, 20)
		late := epochOf(t, other)
		if err := gone.Fence(t.Context(), epochOf(t, gone)); err != nil {
			t.Fatal(err)
		}
		adopt := func(epoch int64) int {
			calls, err := other.Adopt(t.Context(), "edge-1", epoch, ids)
			if err != nil {
				t.Fatal(err)
			}
			return len(calls)
		}
		if n := adopt(late); n > 0 {
			t.Errorf("%d calls were adopted from a node that had come back", n)
		}
		held := make(map[string]int64)
		for _, id := range ids {
			held[id] = epoch
		}
		lost, behind, err := gone.Lost(t.Context(), held)
		if err != nil || len(lost)+len(behind) > 0 {
			t.Errorf("lost %v, behind %v, %v", lost, behind, err)
		}
		if n := adopt(epochOf(t, other)); n != len(ids) { // gone again
			t.Errorf("%d of %d calls were adopted", n, len(ids))
		}
		if lost, _, err = gone.Lost(t.Context(), held); err != nil || len(lost) != len(ids) {
			t.Errorf("%d of %d calls are known to be lost, %v", len(lost), len(ids), err)
		}
		held = map[string]int64{ids[0]: 1 << 40, "019579a0-0000-7000-8000-ffffffffffff": 1}
		_, behind, err = other.Lost(t.Context(), held)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "behind", ids[:1], behind)
	})
}

func TestAKeyThatHoldsSomethingElseHoldsUpNoOwner(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	gone, other := member(t, url, "edge-1"), member(t, url, "edge-2")
	epoch := epochOf(t, gone)
	ids := owning(t, gone, "edge-1", epoch, 20)
	admin := connect(t, server)
	if err := admin.Set(t.Context(), callKey(ids[7]), "no hash", 0).Err(); err != nil {
		t.Fatal(err)
	}
	held := make(map[string]int64)
	for _, id := range ids {
		held[id] = epoch
	}
	lost, behind, err := gone.Lost(t.Context(), held)
	if err != nil || len(lost)+len(behind) > 0 {
		t.Errorf("lost %v, behind %v, %v", lost, behind, err)
	}
	calls, err := other.Adopt(t.Context(), "edge-1", epochOf(t, other), ids)
	if err != nil || len(calls) != len(ids)-1 {
		t.Errorf("%d of %d calls were adopted, %v", len(calls), len(ids), err)
	}
}

func TestANodeThatLeavesFreesItsCallsWhenAllIsWritten(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		one := open(t, redis.Config{URL: url, Node: "edge-1"})
		stop := storetest.Start(t, one)
		two := member(t, url, "edge-2")
		renew(t, one, node("edge-1", 5), redis.LeaseNew)
		one.Leave(5)
		nodes, err := two.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, "before", []string{"edge-1 up"}, states(nodes))
		stop()
		if nodes, err = two.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, "after", []string{"edge-1 left"}, states(nodes))
	})
}
