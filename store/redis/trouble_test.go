package redis_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// follow makes a server a replica of another.
func follow(t *testing.T, admin *goredis.Client, master *storetest.Server) {
	t.Helper()
	do(t, admin, "REPLICAOF", "127.0.0.1", master.Port())
}

func do(t testing.TB, admin *goredis.Client, args ...any) {
	t.Helper()
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(args, err)
	}
}

// owner is a process with some calls, which it saves again when it is asked to.
type owner struct {
	*redis.Store
	calls map[string]store.Call // not changed while the store runs
}

func own(t *testing.T, url string, n int) *owner {
	o := &owner{calls: make(map[string]store.Call, n)}
	for range n {
		c := storetest.Call()
		o.calls[c.ID] = c
	}
	o.Store = open(t, redis.Config{URL: url, Lost: o.saveAll, Missing: func(id string) { o.Save(o.calls[id]) }})
	return o
}

func (o *owner) saveAll() {
	for _, c := range o.calls {
		o.Save(c)
	}
}

// hasAll demands that Redis comes to have every call.
func (o *owner) hasAll(t *testing.T) {
	t.Helper()
	storetest.Settled(t, o)
	for _, want := range o.calls {
		same(t, "call", want, get(t, o.Store, want.ID))
	}
}

// says waits until the status has some words.
func (o *owner) says(t *testing.T, words string) {
	t.Helper()
	storetest.Eventually(t, "the status says "+words, func() bool {
		st := o.Status()
		return !st.Reachable && strings.HasPrefix(st.LastError, words)
	})
}

// goesOn changes every call many times while the store is in trouble: nothing
// waits, and what is kept does not grow.
func (o *owner) goesOn(t *testing.T) {
	t.Helper()
	for range 20 {
		o.saveAll()
		for id := range o.calls {
			o.Reserve(id, store.Caller, 16, nil)
		}
	}
	if n := o.Status().Pending; n > 2*len(o.calls)+2 { // some are on their way
		t.Errorf("%d changes are kept for %d calls", n, len(o.calls))
	}
}

func (o *owner) isBack(t *testing.T) {
	t.Helper()
	storetest.Eventually(t, "the store is well again", func() bool { return o.Status().Reachable })
	same(t, "error", "", o.Status().LastError)
}

// A Redis that answers later than Run waits at first is written to as well, and
// what is written is told while other changes are under way.
func TestASlowRedisHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{400 * time.Millisecond, 700 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			_, server := storetest.Redis(t)
			o := own(t, "redis://"+storetest.NewRelay(t, server, delay).Addr, 600)
			storetest.Start(t, o)
			storetest.Eventually(t, "the store is connected", func() bool { return o.Status().Reachable })
			o.goesOn(t)
			storetest.Settled(t, o)
			direct := open(t, redis.Config{URL: server.URL()})
			for _, want := range o.calls {
				same(t, "call", want, get(t, direct, want.ID))
			}
			storetest.Eventually(t, "the store is well", func() bool { return o.Status().LastError == "" })

			last := storetest.Call()
			o.Save(last)
			saved := time.Now()
			storetest.Eventually(t, "what was saved last is written", func() bool {
				o.saveAll()
				asked := time.Now()
				st := o.Status()
				return st.Pending > 0 && asked.Add(-st.Behind).After(saved)
			})
			same(t, "call", last, get(t, direct, last.ID))
		})
	}
}

func TestAMasterThatBecomesAReplicaAndComesBack(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	_, other := storetest.Redis(t)
	o := own(t, url, 100)
	o.CheckEvery(10 * time.Millisecond)
	storetest.Start(t, o)
	o.saveAll()
	o.hasAll(t)
	admin := connect(t, server)
	follow(t, admin, other) // which empties it
	o.goesOn(t)
	o.says(t, "this Redis is a replica and takes no writes: READONLY")
	do(t, admin, "REPLICAOF", "NO", "ONE")
	o.hasAll(t)
	o.isBack(t)
}

func TestRedisOutOfMemory(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	o := own(t, url, 100)
	storetest.Start(t, o)
	admin := connect(t, server)
	early := storetest.Call() // whose change must not be torn
	if err := admin.HSet(t.Context(), callKey(early.ID), recordOfLayout1(&early)).Err(); err != nil {
		t.Fatal(err)
	}
	before := admin.HGetAll(t.Context(), callKey(early.ID)).Val()
	do(t, admin, "CONFIG", "SET", "maxmemory", "1")
	o.Save(early)
	o.goesOn(t)
	o.says(t, "Redis has used up its maxmemory and takes no writes: OOM")
	same(t, "a record that could not be changed", before, admin.HGetAll(t.Context(), callKey(early.ID)).Val())
	o.Finish(early, time.Hour)
	for i := range 60_000 { // more than are kept
		o.Record([]byte(strconv.Itoa(i)))
	}
	do(t, admin, "CONFIG", "SET", "maxmemory", "0")
	o.hasAll(t)
	o.isBack(t)
	same(t, "last CDR", "59999", last(stream(t, admin, 50_000)))
}

func last(lines []string) string { return lines[len(lines)-1] }

func TestARedisThatWasRestartedGetsCallsAtRestAgain(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	o := own(t, url, 300)
	o.CheckEvery(10 * time.Millisecond)
	storetest.Start(t, o)
	o.saveAll()
	o.hasAll(t)
	server.Kill()
	server.Start()                        // empty
	o.isBackWith(t, len(o.calls), server) // though nothing changed
	o.hasAll(t)
}

// isBackWith waits until a server holds so many calls.
func (o *owner) isBackWith(t *testing.T, n int, servers ...*storetest.Server) {
	t.Helper()
	storetest.Eventually(t, fmt.Sprintf("Redis has %d calls", n), func() bool {
		found := 0
		for _, server := range servers {
			k, _ := connect(t, server).Eval(t.Context(), "return #redis.call('KEYS', '*:call:*')", nil).Int()
			found += k
		}
		return found >= n
	})
}

func TestSentinelPromotesAReplica(t *testing.T) {
	t.Parallel()
	d := storetest.Deploy(t, "calls", time.Second)
	o := own(t, d.URL(), 100)
	o.CheckEvery(10 * time.Millisecond)
	storetest.Start(t, o)
	o.saveAll()
	o.hasAll(t)
	d.Master.Kill()
	o.goesOn(t)
	o.hasAll(t)
	o.isBack(t)
	masters := 0
	for _, replica := range d.Replicas {
		if replica.IsMaster() {
			masters++
		}
	}
	same(t, "replicas that were promoted", 1, masters)
}

// The address goes to a server that lacks the latest writes: some calls are not
// there, others are as they were before.
func TestAcknowledgedWritesThatAreLostAreWrittenAgain(t *testing.T) {
	t.Parallel()
	_, server := storetest.Redis(t)
	_, replica := storetest.Redis(t)
	r := storetest.NewRelay(t, server, 0)
	o := own(t, "redis://"+r.Addr, 100)
	o.CheckEvery(10 * time.Millisecond)
	storetest.Start(t, o)
	old, n := map[string]store.Call{}, 0
	for id, c := range o.calls {
		if n++; n <= 50 {
			c.Leg(store.Callee).Target = "sip:before@192.0.2.77"
			c.Leg(store.Callee).LocalMark, c.Leg(store.Callee).LocalCSeq = 3, 3
			c.State = store.Early
			old[id] = c
			o.Save(c)
		}
	}
	storetest.Settled(t, o)
	admin := connect(t, replica)
	follow(t, admin, server)
	storetest.Eventually(t, "the replica has the old calls", func() bool { return admin.DBSize(t.Context()).Val() >= 2*50 })
	do(t, admin, "REPLICAOF", "NO", "ONE")
	o.saveAll()
	o.hasAll(t)

	r.Move(replica)
	direct := open(t, redis.Config{URL: replica.URL()})
	storetest.Eventually(t, "the other server has all calls as they are", func() bool {
		for id, want := range o.calls {
			if got, err := direct.Get(t.Context(), id); err != nil || !cmp.Equal(want, got) {
				return false
			}
		}
		return true
	})
	o.isBack(t)
}

// The address goes to a server that has calls whose end it never heard of.
func TestCallsWhoseEndIsLostDoNotStay(t *testing.T) {
	t.Parallel()
	_, server := storetest.Redis(t)
	_, replica := storetest.Redis(t)
	r := storetest.NewRelay(t, server, 0)
	o := own(t, "redis://"+r.Addr, 20)
	o.CheckEvery(10 * time.Millisecond)
	storetest.Start(t, o)
	o.saveAll()
	o.hasAll(t)
	admin := connect(t, replica)
	follow(t, admin, server)
	storetest.Eventually(t, "the replica has the calls", func() bool { return admin.DBSize(t.Context()).Val() >= 2*20 })
	do(t, admin, "REPLICAOF", "NO", "ONE")
	ended, left := map[string]store.Call{}, 0
	for id, c := range o.calls {
		if left++; left > 10 {
			c.End = store.End{Reason: store.Operator, At: time.Now().UTC().Truncate(time.Millisecond)}
			o.Finish(c, time.Hour)
			ended[id] = c
			delete(o.calls, id)
		}
	}
	storetest.Settled(t, o)

	r.Move(replica)
	direct := open(t, redis.Config{URL: replica.URL()})
	storetest.Eventually(t, "the other server has those that go on", func() bool {
		page, err := direct.List(t.Context(), store.Query{Limit: 100})
		return err == nil && len(page.Calls) == len(o.calls)
	})
	for id, want := range ended {
		if got := get(t, direct, id); got.State != store.Terminated || got.End.Reason != want.End.Reason || !got.End.At.Equal(want.End.At) {
			t.Errorf("%s: %s, ended by %q at %v, want %q at %v", id, got.State, got.End.Reason, got.End.At, want.End.Reason, want.End.At)
		}
	}
}

func TestAMasterOfAClusterIsLostAndComesBack(t *testing.T) {
	t.Parallel()
	servers, admins := startCluster(t)
	for _, admin := range admins {
		do(t, admin, "CONFIG", "SET", "cluster-require-full-coverage", "no")
		do(t, admin, "CONFIG", "SET", "cluster-node-timeout", "500")
	}
	o := own(t, "redis-cluster://"+servers[0].Addr(), 200)
	o.CheckEvery(10 * time.Millisecond)
	storetest.Start(t, o)
	o.saveAll()
	o.hasAll(t)
	servers[1].Kill()
	for id, c := range o.calls { // not in use by the store just now
		c.State = store.Ending
		o.calls[id] = c
	}
	o.goesOn(t)
	storetest.Eventually(t, "the status tells", func() bool { st := o.Status(); return !st.Reachable && st.LastError != "" })
	storetest.Eventually(t, "calls of the other master are written", func() bool {
		n := 0
		for id := range o.calls {
			if admins[0].HGet(t.Context(), callKey(id), "state").Val() == "ending" {
				n++
			}
		}
		return n > 0 && n == int(admins[0].Eval(t.Context(), "return #redis.call('KEYS', '*:call:*')", nil).Val().(int64))
	})
	servers[1].Start() // empty
	o.hasAll(t)
	o.isBack(t)
}

func TestSlotsOfAClusterMove(t *testing.T) {
	t.Parallel()
	servers, admins := startCluster(t)
	o := own(t, "redis-cluster://"+servers[0].Addr(), 100)
	storetest.Start(t, o)
	o.saveAll()
	o.hasAll(t)
	var id string
	for id = range o.calls {
		break
	}
	slot := admins[0].ClusterKeySlot(t.Context(), callKey(id)).Val()
	from := int(slot) / storetest.SlotsEach
	to := (from + 1) % 3
	name := func(n int) string { return admins[n].Do(t.Context(), "CLUSTER", "MYID").Val().(string) }
	move := func(key string) {
		t.Helper()
		do(t, admins[from], "MIGRATE", "127.0.0.1", servers[to].Port(), key, 0, 5000)
	}
	do(t, admins[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", name(from))
	do(t, admins[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", name(to))
	move(callKey(id)) // its text and its sets stay behind for now
	o.goesOn(t)
	o.says(t, "slots of the cluster are moving")
	for _, key := range admins[from].ClusterGetKeysInSlot(t.Context(), int(slot), 100).Val() {
		move(key)
	}
	for _, n := range []int{to, from} {
		do(t, admins[n], "CLUSTER", "SETSLOT", slot, "NODE", name(to))
	}
	o.hasAll(t)
	o.isBack(t)
	same(t, "keys that stayed behind", int64(0), admins[from].ClusterCountKeysInSlot(t.Context(), int(slot)).Val())
}
