package redis_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func TestConformanceOnCluster(t *testing.T) {
	servers, admins := startCluster(t)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		for _, admin := range admins {
			if err := admin.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		return open(t, redis.Config{URL: "redis-cluster://" + servers[0].Addr()})
	})
}

// slotsEach is how many slots of the cluster a master has; the last has one less.
const slotsEach = 5462

// startCluster starts three masters with a third of the slots each and returns them,
// and a client for each.
func startCluster(t *testing.T) (servers []*storetest.Server, admins []*goredis.Client) {
	t.Helper()
	var buses []string
	for range 3 {
		bus := strconv.Itoa(storetest.FreePort(t))
		_, server := storetest.Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus,
			"--cluster-config-file", filepath.Join(t.TempDir(), "nodes.conf"))
		servers, buses, admins = append(servers, server), append(buses, bus), append(admins, connect(t, server))
	}
	for i, admin := range admins {
		do(t, admin, "CLUSTER", "ADDSLOTSRANGE", i*slotsEach, min((i+1)*slotsEach, 16384)-1)
		do(t, admin, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i > 0 {
			do(t, admins[0], "CLUSTER", "MEET", "127.0.0.1", servers[i].Port(), buses[i])
		}
	}
	storetest.Eventually(t, "the cluster is complete", func() bool {
		for _, admin := range admins {
			info := admin.ClusterInfo(t.Context()).Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
		}
		return true
	})
	return servers, admins
}

func TestConformanceOnSentinel(t *testing.T) {
	_, server := storetest.Redis(t)
	admin := connect(t, server)
	sentinel := storetest.Sentinel(t, "calls", server)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		if err := admin.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return open(t, redis.Config{URL: "redis-sentinel://" + sentinel.Addr() + "/calls/0"})
	})
}
