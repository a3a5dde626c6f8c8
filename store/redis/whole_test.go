package redis_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

const nobody = "019579a0-0000-7000-8000-ffffffffffff"

func nowhere(t *testing.T, s *redis.Store, id string) bool {
	t.Helper()
	certain, err := s.Nowhere(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return certain
}

// newcomer is a store that looks at its server all the time, which may be young.
func newcomer(t *testing.T, cfg redis.Config) *redis.Store {
	t.Helper()
	s := open(t, cfg)
	s.CheckEvery(10 * time.Millisecond)
	s.Youth(0)
	return s
}

func connected(t *testing.T, stores ...*redis.Store) {
	t.Helper()
	for _, s := range stores {
		storetest.Eventually(t, "the store is connected", func() bool { return s.Status().Reachable })
	}
}

func TestACallIsNowhereWhenAllNodesHaveWrittenTheirsToTheServer(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		one, two := newcomer(t, redis.Config{URL: url, Node: "edge-1"}), newcomer(t, redis.Config{URL: url, Node: "edge-2"})
		c := storetest.Call()
		c.Node = "edge-2"
		storetest.Start(t, one)
		connected(t, one)
		renew(t, one, node("edge-1", 5), redis.LeaseNew)
		same(t, "one node, which has written all", true, nowhere(t, one, nobody))
		two.Save(c)
		renew(t, two, node("edge-2", 6), redis.LeaseNew)
		same(t, "another has not written yet", false, nowhere(t, one, nobody))
		storetest.Start(t, two)
		storetest.Settled(t, two)
		connected(t, two)
		same(t, "it has, but its lease does not say so yet", false, nowhere(t, one, nobody))
		renew(t, two, node("edge-2", 6), redis.LeaseKept)
		same(t, "it has", true, nowhere(t, one, nobody))
		same(t, "a call that the other has", false, nowhere(t, one, c.ID))
		same(t, "a call of its own", true, nowhere(t, two, c.ID))
		one.Youth(time.Hour)
		same(t, "leases may be missing", false, nowhere(t, one, nobody))
	})
}

func TestALeaseThatIsMissingIsOverOnceAllCanHaveRenewedTheirs(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		s := newcomer(t, redis.Config{URL: url, Node: "edge-1"})
		settled := func(what string, want bool) {
			t.Helper()
			got, err := s.Settled(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			same(t, what, want, got)
		}
		settled("what was not in reach before", false)
		same(t, "any call is nowhere", false, nowhere(t, s, nobody))
		storetest.Start(t, s)
		connected(t, s)
		settled("what was in reach for long enough", true)
		s.Youth(time.Hour)
		settled("what has just begun", false)
	})
}

func TestAServerThatWasEmptiedLacksCallsUntilTheirOwnersHaveWrittenThem(t *testing.T) {
	t.Parallel()
	t.Run("by a restart", func(t *testing.T) {
		t.Parallel()
		lacksCalls(t, func(server *storetest.Server, nodes ...*redis.Store) {
			server.Kill()
			for _, s := range nodes {
				away(t, s)
			}
			server.Start()
		})
	})
	t.Run("by a command", func(t *testing.T) {
		t.Parallel()
		lacksCalls(t, func(server *storetest.Server, _ ...*redis.Store) { do(t, connect(t, server), "FLUSHALL") })
	})
}

func lacksCalls(t *testing.T, empty func(*storetest.Server, ...*redis.Store)) {
	url, server := storetest.Redis(t)
	c := storetest.Call()
	c.Node = "edge-2"
	var two *redis.Store
	noticed, write := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(write) })
	defer goOn()
	two = newcomer(t, redis.Config{URL: url, Node: "edge-2", Lost: func() {
		close(noticed)
		<-write // many calls take their time
		two.Save(c)
	}})
	one := newcomer(t, redis.Config{URL: url, Node: "edge-1"})
	storetest.Start(t, one)
	storetest.Start(t, two)
	two.Save(c)
	storetest.Settled(t, two)
	connected(t, one, two)

	empty(server, one, two)
	connected(t, one)
	if err := storetest.Receive(t, "the other has noticed", noticed); err != struct{}{} {
		t.Fatal(err)
	}
	certain := func(s *redis.Store, n store.Node) {
		t.Helper()
		storetest.Eventually(t, "leases say that all is written", func() bool {
			if _, err := s.Renew(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			return nowhere(t, one, nobody)
		})
	}
	certain(one, node("edge-1", 5)) // of itself
	renew(t, two, node("edge-2", 6), redis.LeaseNew)
	same(t, "any call is nowhere", false, nowhere(t, one, nobody))
	if _, err := one.Get(t.Context(), c.ID); err == nil {
		t.Fatal("the call was not lost")
	}
	same(t, "the call that was lost is nowhere", false, nowhere(t, one, c.ID))
	goOn()
	certain(two, node("edge-2", 6))
	if _, err := one.Get(t.Context(), c.ID); err != nil {
		t.Errorf("all is written, but not the call: %v", err)
	}
	same(t, "the call that was lost is nowhere", false, nowhere(t, one, c.ID))
}

func TestWhatIsDeletedOfARedisThatRunsIsWrittenAgain(t *testing.T) {
	t.Parallel()
	test := func(name string, start func(*testing.T) (url string, one *storetest.Server)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, server := start(t)
			o := own(t, url, 100)
			o.CheckEvery(10 * time.Millisecond)
			storetest.Start(t, o)
			o.saveAll()
			o.hasAll(t)
			key, err := o.TagKey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			epoch := epochOf(t, o.Store)
			connected(t, o.Store)

			do(t, connect(t, server), "FLUSHALL")
			newcomer := open(t, redis.Config{URL: url})
			storetest.Eventually(t, "all calls are there again", func() bool {
				for id, want := range o.calls {
					if got, err := newcomer.Get(t.Context(), id); err != nil || !cmp.Equal(want, got) {
						return false
					}
				}
				return true
			})
			if got, err := newcomer.TagKey(t.Context()); err != nil || !bytes.Equal(got, key) {
				t.Errorf("another process gets the tag key %x, %v, want %x", got, err, key)
			}
			if got := epochOf(t, newcomer); got <= epoch {
				t.Errorf("another process gets epoch %d after %d", got, epoch)
			}
		})
	}
	test("one server", func(t *testing.T) (string, *storetest.Server) { return storetest.Redis(t) })
	test("a master of a cluster", func(t *testing.T) (string, *storetest.Server) {
		servers, _ := startCluster(t)
		return "redis-cluster://" + servers[0].Addr(), servers[1]
	})
}

func TestATagKeyThatAnotherProcessHasMadeMeanwhileIsThatOfAll(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	old := newcomer(t, redis.Config{URL: url, Node: "edge-1"})
	if _, err := old.TagKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(t, connect(t, server), "FLUSHALL")
	want, err := open(t, redis.Config{URL: url, Node: "edge-2"}).TagKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	storetest.Start(t, old)
	connected(t, old)
	got, err := old.TagKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the key", want, got)
}
