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

// startCluster starts two masters with half the slots each and returns them,
// and a client for each.
func startCluster(t *testing.T) (servers []*storetest.Server, admins []*goredis.Client) {
	t.Helper()
	var buses []string
	for range 2 {
		bus := strconv.Itoa(storetest.FreePort(t))
		_, server := storetest.Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus,
			"--cluster-config-file", filepath.Join(t.TempDir(), "nodes.conf"))
		servers, buses, admins = append(servers, server), append(buses, bus), append(admins, connect(t, server))
	}
	do(t, admins[0], "CLUSTER", "ADDSLOTSRANGE", 0, 8191)
	do(t, admins[1], "CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
	do(t, admins[0], "CLUSTER", "SET-CONFIG-EPOCH", 1)
	do(t, admins[1], "CLUSTER", "SET-CONFIG-EPOCH", 2)
	do(t, admins[0], "CLUSTER", "MEET", "127.0.0.1", servers[1].Port(), buses[1])
	storetest.Eventually(t, "the cluster is complete", func() bool {
		for _, admin := range admins {
			info := admin.ClusterInfo(t.Context()).Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:2") {
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
