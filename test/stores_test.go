package test

import (
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// busySite starts three nodes with some calls each.
func busySite(t *testing.T, storeURL string) (nodes []*sipvigil, calls []*talk) {
	t.Helper()
	nodes = nodesAt(t, storeURL, 3)
	for _, d := range nodes {
		calls = append(calls, dialMany(t, d, 5)...)
	}
	eventually(t, "the calls are listed everywhere", func() bool {
		for _, d := range nodes {
			if len(d.calls()) != len(calls) {
				return false
			}
		}
		return true
	})
	numbers(calls)
	return nodes, calls
}

func TestSentinelReplacesTheMasterDuringCalls(t *testing.T) {
	t.Parallel()
	redis := storetest.Deploy(t, "calls", 2*time.Second)
	f := fleetOf(t, redis.URL(), 70, 70, 70)
	redis.Master.Kill()
	// A Sentinel that stood still for two seconds does nothing for thirty (TILT mode).
	within(t, 2*adoptTime, "a replica takes its place", func() bool {
		return slices.ContainsFunc(redis.Replicas, (*storetest.Server).IsMaster)
	})
	f.goesOn()
}

func TestClusterLosesAMasterDuringCalls(t *testing.T) {
	t.Parallel()
	masters := storetest.Cluster(t, "--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0")
	replica := follow(t, masters[0], masters)
	var urls []string
	for _, s := range masters[1:] {
		urls = append(urls, s.Addr())
	}
	f := fleetOf(t, "redis-cluster://"+strings.Join(urls, ","), 70, 70, 70)
	masters[0].Kill()
	within(t, adoptTime, "its replica takes its place", func() bool {
		return replica.IsMaster() && strings.Contains(replica.Do("CLUSTER", "INFO"), "cluster_state:ok")
	})
	f.goesOn()
}

// follow adds a replica of one master to a cluster.
func follow(t *testing.T, master *storetest.Server, masters []*storetest.Server) *storetest.Server {
	t.Helper()
	bus := strconv.Itoa(storetest.FreePort(t))
	_, replica := storetest.Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000",
		"--cluster-config-file", t.TempDir()+"/nodes.conf", "--cluster-replica-validity-factor", "0")
	for _, s := range masters {
		s.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(replica.Port()), bus)
	}
	known := func(s, other *storetest.Server) bool {
		return strings.Contains(s.Do("CLUSTER", "NODES"), other.Do("CLUSTER", "MYID"))
	}
	eventually(t, "all know the replica, and it knows all", func() bool {
		for _, s := range masters {
			if !known(s, replica) || !known(replica, s) {
				return false
			}
		}
		return true
	})
	replica.Do("CLUSTER", "REPLICATE", master.Do("CLUSTER", "MYID"))
	eventually(t, "the replica is in step", func() bool {
		return strings.Contains(master.Do("INFO", "replication"), "state=online")
	})
	return replica
}

// redisAway is how long Redis is away at least. What a minute is to leases of nine
// seconds, the time until all are over is to phones that are asked every three.
var redisAway = flag.Duration("outage", 0, "how long Redis is stopped, at least until all leases are over")

func TestRedisThatComesBackEmptyIsToldOfAllCallsOfAllNodes(t *testing.T) {
	t.Parallel()
	url, redis := storetest.Redis(t)
	f := fleetOf(t, url, 70, 70, 70)
	redis.Kill()
	stopped := time.Now()
	for _, d := range f.nodes {
		eventually(t, "the node watches no call", func() bool { return d.metric("sipvigil_node_lease") == 0 })
	}
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for i := 0; i < len(f.calls) || time.Since(stopped) < *redisAway; i++ {
		if i >= len(f.calls) {
			<-pace.C
		}
		c := f.calls[i%len(f.calls)]
		if res, err := c.callee.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
			t.Fatalf("INFO while Redis is away: %v, %v", res, err)
		}
	}
	pending := 0.
	for _, d := range f.nodes {
		pending += d.metric("sipvigil_store_pending_calls")
		if got := d.status("/readyz"); got != 200 {
			t.Errorf("/readyz of %s says %d while Redis is away", d.name, got)
		}
	}
	if pending > float64(len(f.calls)) {
		t.Errorf("%v changes are remembered of %d calls", pending, len(f.calls))
	}
	redis.Start()
	for _, c := range f.calls[:20] { // most of them owned by others, which may not have written them again
		moved(t, c.caller, f.nodes[1])
		served(t, c.caller, "INFO", "")
	}
	for _, d := range f.nodes {
		within(t, adoptTime, "the node has written its calls again", func() bool { return len(d.calls()) == len(f.calls) })
	}
	f.goesOn()
}

func TestPhonesAreToldWhereTheirCallIsNow(t *testing.T) {
	t.Parallel()
	url, _ := storetest.Redis(t)
	nodes := nodesAt(t, url, 2, "--config", file(t, "sipvigil.yaml", "sip: {takeover: refresh}"))
	var calls []*talk
	for range 4 {
		c := &talk{callerPhone: phone(t, "alice", "udp"), calleePhone: phone(t, "bob", "udp"), accept: []ua.Header{ua.H("Allow", "INVITE, ACK, BYE, UPDATE")}}
		c.connect(t, nodes[0])
		t.Cleanup(func() { c.check(t) })
		calls = append(calls, c)
	}
	eventually(t, "the other lists the calls", func() bool { return nodes[1].spread()["edge-1"] == len(calls) })
	before := numbers(calls)
	nodes[0].kill()
	for _, c := range calls {
		for _, leg := range []*ua.Dialog{c.caller, c.callee} {
			within(t, adoptTime, "the phone knows the survivor", func() bool { return strings.Contains(leg.RemoteTarget(), nodes[1].udp) })
			if n := len(requests(leg, "UPDATE")); n != 1 {
				t.Errorf("%d UPDATEs", n)
			}
		}
	}
	adopted(t, calls, before, nodes[1])
	for i, c := range calls {
		if i%2 == 0 {
			hangUp(t, c.caller, c.callee)
		} else {
			hangUp(t, c.callee, c.caller)
		}
	}
}
