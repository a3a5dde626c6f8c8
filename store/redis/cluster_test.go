package redis_test

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func TestConformanceOnCluster(t *testing.T) {
	t.Parallel()
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

// startCluster starts three masters and a client for each.
func startCluster(t *testing.T) (servers []*storetest.Server, admins []*goredis.Client) {
	t.Helper()
	servers = storetest.Cluster(t)
	for _, server := range servers {
		admins = append(admins, connect(t, server))
	}
	return servers, admins
}

func TestConformanceOnSentinel(t *testing.T) {
	t.Parallel()
	d := storetest.Deploy(t, "calls", time.Minute)
	admin := connect(t, d.Master)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		if err := admin.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return open(t, redis.Config{URL: d.URL() + "/0"})
	})
}
