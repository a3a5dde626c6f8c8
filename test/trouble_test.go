package test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// trouble is something that happens to Redis: it begins, and goes by.
type trouble struct {
	begin, end func()
	shows      bool // the node takes Redis for unreachable meanwhile
}

func TestNoTroubleOfRedisEndsACall(t *testing.T) {
	t.Parallel()
	test := func(name string, start func(t *testing.T) (storeURL string, of func(*fleet) trouble)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, of := start(t)
			f := fleetOf(t, url, 40)
			f.endures(of(f))
		})
	}
	one := func(of func(server, other *storetest.Server) trouble) func(*testing.T) (string, func(*fleet) trouble) {
		return func(t *testing.T) (string, func(*fleet) trouble) {
			url, server := storetest.Redis(t)
			_, other := storetest.Redis(t)
			return url, func(*fleet) trouble { return of(server, other) }
		}
	}
	test("it takes 400 ms to answer", func(t *testing.T) (string, func(*fleet) trouble) {
		_, server := storetest.Redis(t)
		url := "redis://" + storetest.NewRelay(t, server, 400*time.Millisecond).Addr
		return url, func(*fleet) trouble { return trouble{begin: func() {}, end: func() {}} }
	})
	test("it takes no writes", one(func(server, other *storetest.Server) trouble {
		return trouble{
			begin: func() { server.Do("REPLICAOF", "127.0.0.1", strconv.Itoa(other.Port())) }, // which empties it
			end:   func() { server.Do("REPLICAOF", "NO", "ONE") },
			shows: true,
		}
	}))
	test("it is out of memory", one(func(server, _ *storetest.Server) trouble {
		return trouble{
			begin: func() { server.Do("CONFIG", "SET", "maxmemory", "1") },
			end:   func() { server.Do("CONFIG", "SET", "maxmemory", "0") },
			shows: true,
		}
	}))
	test("it does not answer", one(func(server, _ *storetest.Server) trouble {
		return trouble{begin: server.Pause, end: server.Resume, shows: true}
	}))
	test("another one takes over that lacks acknowledged writes", func(t *testing.T) (string, func(*fleet) trouble) {
		_, server := storetest.Redis(t)
		_, replica := storetest.Redis(t)
		relay := storetest.NewRelay(t, server, 0)
		return "redis://" + relay.Addr, func(f *fleet) trouble {
			replica.Do("REPLICAOF", "127.0.0.1", strconv.Itoa(server.Port()))
			eventually(t, "the replica is in step", func() bool { return strings.Contains(server.Do("INFO", "replication"), "state=online") })
			replica.Do("REPLICAOF", "NO", "ONE") // it has the calls as they are now
			f.asked(2)
			return trouble{begin: func() { relay.Move(replica) }, end: func() {}}
		}
	})
	test("slots of its cluster move", func(t *testing.T) (string, func(*fleet) trouble) {
		masters := storetest.Cluster(t)
		return "redis-cluster://" + masters[0].Addr(), func(f *fleet) trouble { return moving(t, masters, f.calls[0].id) }
	})
}

// moving moves the slot of a call from one master to the next one; when it
// begins, half of the call's keys are there.
func moving(t *testing.T, masters []*storetest.Server, id string) trouble {
	t.Helper()
	ctx := t.Context()
	admins := make([]*goredis.Client, len(masters))
	for i, s := range masters {
		admins[i] = look(t, s).client
	}
	slot := admins[0].ClusterKeySlot(ctx, shard(id)).Val()
	from := int(slot) / storetest.SlotsEach
	to := (from + 1) % len(masters)
	move := func(key string) {
		masters[from].Do("MIGRATE", "127.0.0.1", strconv.Itoa(masters[to].Port()), key, "0", "5000")
	}
	name := func(n int) string { return masters[n].Do("CLUSTER", "MYID") }
	number := strconv.FormatInt(slot, 10)
	return trouble{
		begin: func() {
			masters[to].Do("CLUSTER", "SETSLOT", number, "IMPORTING", name(from))
			masters[from].Do("CLUSTER", "SETSLOT", number, "MIGRATING", name(to))
			move(shard(id) + ":call:" + id)
		},
		end: func() {
			for _, key := range admins[from].ClusterGetKeysInSlot(ctx, int(slot), 1000).Val() {
				move(key)
			}
			for _, n := range []int{to, from} {
				masters[n].Do("CLUSTER", "SETSLOT", number, "NODE", name(to))
			}
		},
		shows: true,
	}
}

// asked waits until both far ends of every call have been asked so many times more.
func (f *fleet) asked(times int) {
	f.t.Helper()
	before := make(map[*ua.Dialog]int)
	for _, c := range f.calls {
		before[c.caller], before[c.callee] = options(c.caller), options(c.callee)
	}
	within(f.t, adoptTime, "all far ends are asked again", func() bool {
		for leg, n := range before {
			if options(leg) < n+times {
				return false
			}
			delete(before, leg)
		}
		return true
	})
}

// endures has one node live through a trouble of its store: calls go on, begin and
// end as always, and in the end the store has them all as they are.
func (f *fleet) endures(what trouble) {
	f.t.Helper()
	t, d := f.t, f.nodes[0]
	what.begin()
	if what.shows {
		eventually(t, "the trouble shows", func() bool { return d.metric("sipvigil_store_reachable") == 0 })
	}
	for _, c := range f.calls { // what the phones send passes
		if res, err := c.callee.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
			t.Fatalf("INFO: %v, %v", res, err)
		}
	}
	f.asked(2)
	hungUp := f.calls[len(f.calls)-5:]
	for _, c := range hungUp {
		hangUp(t, c.caller, c.callee)
	}
	f.calls = f.calls[:len(f.calls)-5]
	f.calls = append(f.calls, connectMany(t, f.pbx, f.carrier, []*sipvigil{d, d})...)
	if got := d.status("/readyz"); got != 200 {
		t.Errorf("/readyz says %d", got)
	}
	if n := d.metric("sipvigil_store_pending_calls"); n > 47 {
		t.Errorf("changes of %v calls are remembered, of 42 and 5 that ended", n)
	}
	what.end()
	ended := time.Now()
	eventually(t, "the trouble is over", func() bool { return d.metric("sipvigil_store_reachable") == 1 })
	within(t, adoptTime, "everything is written up to then", func() bool {
		asked := time.Now()
		return asked.Add(-time.Duration(d.metric("sipvigil_store_behind_seconds") * float64(time.Second))).After(ended)
	})
	eventually(t, "the end of the calls is logged", func() bool { return len(d.entries("call ended")) >= len(hungUp) })
	if n := len(d.entries("call ended")); n != len(hungUp) {
		t.Errorf("%d calls have ended, of which phones hung up %d", n, len(hungUp))
	}

	d.kill() // what it has written is all that is left
	numbers(f.calls)
	d = f.again(0)
	f.nodes[0] = d
	eventually(t, "the calls are read back", func() bool { return len(d.calls()) == len(f.calls) })
	wantListed(t, d, f.calls)
	f.hangUp(d)
}
