package redis_test

import (
	"fmt"
	"strings"
	"testing"

	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func advised(t *testing.T, url string) []string {
	t.Helper()
	advice, err := redis.Advise(t.Context(), redis.Config{URL: url, Node: storetest.Node})
	if err != nil {
		t.Fatal(err)
	}
	return advice
}

func TestAServerThatIsSetUpWellGetsNoAdvice(t *testing.T) {
	t.Parallel()
	url, _ := storetest.Redis(t, "--appendonly", "yes")
	same(t, "advice", []string(nil), advised(t, url))
}

func TestAdviceOnOneServer(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t, "--maxmemory-policy", "allkeys-lru")
	who := "redis " + server.Addr()
	noAOF := ": appendonly is no: a Redis that restarts has lost calls; set it to yes"
	same(t, "advice", []string{
		who + noAOF,
		who + ": maxmemory-policy is allkeys-lru: Redis may throw calls away when its memory is full; set it to noeviction",
	}, advised(t, url))

	replicaURL, replica := storetest.Redis(t)
	follow(t, connect(t, replica), server)
	admin := connect(t, server)
	storetest.Eventually(t, "the replica is connected", func() bool {
		return strings.Contains(admin.Info(t.Context(), "replication").Val(), "state=online")
	})
	same(t, "advice on a master", []string{
		who + noAOF,
		who + ": maxmemory-policy is allkeys-lru: Redis may throw calls away when its memory is full; set it to noeviction",
		who + ": min-replicas-max-lag is 10: a master that is cut off takes writes for as many seconds, and they are lost in the failover; set it to 2",
		who + ": min-replicas-to-write is 0: a master that is cut off goes on taking writes, and they are lost in the failover; set it to 1",
	}, advised(t, url))
	same(t, "advice on a replica", []string{
		"redis " + replica.Addr() + noAOF,
		"redis " + replica.Addr() + ": is a replica and takes no writes: name its master, or use redis-sentinel://",
	}, advised(t, replicaURL))
	for setting, value := range map[string]string{
		"min-replicas-max-lag": "2", "min-replicas-to-write": "1", "maxmemory-policy": "noeviction", "appendonly": "yes",
	} {
		if err := admin.ConfigSet(t.Context(), setting, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "advice on a master that is set up well", []string(nil), advised(t, url))

	if err := admin.Do(t.Context(), "ACL", "SETUSER", "default", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	got := advised(t, url)
	if len(got) != 2 || !strings.Contains(got[0], "min-replicas-max-lag cannot be read, see to it yourself") {
		t.Errorf("advice without the right to read settings: %q", got)
	}
}

func TestAdviceOnSentinel(t *testing.T) {
	t.Parallel()
	_, server := storetest.Redis(t, "--appendonly", "yes")
	watcher := storetest.Sentinel(t, "calls", server)
	lost := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	got := advised(t, "redis-sentinel://"+watcher.Addr()+","+lost+"/calls")
	want := []string{
		"master calls: has no replica: nothing takes over when it fails",
		"sentinel " + watcher.Addr() + ": down-after-milliseconds is 30000: a lost master is noticed as late, and changes wait meanwhile; set it to 2000",
		"sentinel " + watcher.Addr() + ": failover-timeout is 180000: a failover that went wrong is tried again as late; set it to 10000",
		"sentinel " + watcher.Addr() + ": knows 1 Sentinels, itself included: a failover that can be trusted takes 3",
	}
	for i, line := range got {
		if strings.HasPrefix(line, "sentinel "+lost+": cannot be asked for calls: ") {
			got = append(got[:i:i], got[i+1:]...)
			same(t, "advice", want, got)
			return
		}
	}
	t.Errorf("the Sentinel that is away is not named: %q", got)
}

func TestAdviceOnCluster(t *testing.T) {
	servers, admins := startCluster(t)
	for _, admin := range admins {
		if err := admin.ConfigSet(t.Context(), "appendonly", "yes").Err(); err != nil {
			t.Fatal(err)
		}
	}
	got := advised(t, "redis-cluster://"+servers[0].Addr())
	if len(got) != 6 {
		t.Errorf("advice on three masters: %q", got)
	}
	for _, admin := range admins {
		who := "redis " + admin.Options().Addr
		for _, want := range []string{
			who + ": has no replica: nothing takes over when it fails",
			who + ": cluster-require-full-coverage is yes: when one master is lost, the others refuse their calls, too; set it to no",
		} {
			if !strings.Contains(strings.Join(got, "\n"), want) {
				t.Errorf("no line %q in %q", want, got)
			}
		}
	}
}

func TestNoAdviceWithoutAServer(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	server.Stop()
	advice, err := redis.Advise(t.Context(), redis.Config{URL: url, Node: storetest.Node})
	if err == nil || !strings.Contains(err.Error(), server.Addr()) {
		t.Errorf("%q, %v", advice, err)
	}
}
