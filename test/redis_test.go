package test

import (
	"context"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store/storetest"
)

// records looks into Redis as an operator would.
type records struct {
	t      testing.TB
	client *goredis.Client
}

func look(t testing.TB, server *storetest.Server) records {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	return records{t, c}
}

// shard is the hash tag of a call's keys.
func shard(id string) string { return "{sv:" + id[len(id)-2:] + "}" }

// hash is HGETALL of a call, empty when there is none or Redis is away.
func (r records) hash(id string) map[string]string {
	hash, err := r.client.HGetAll(context.Background(), shard(id)+":call:"+id).Result()
	if err != nil {
		return nil
	}
	return hash
}

// listed says whether a call is among the active ones and among those of its
// node.
func (r records) listed(id string) (active, owned bool) {
	r.t.Helper()
	ctx := context.Background()
	active, err := r.client.SIsMember(ctx, shard(id)+":active", id).Result()
	if err != nil {
		r.t.Fatalf("read the active calls: %v", err)
	}
	if owned, err = r.client.SIsMember(ctx, shard(id)+":node:edge-1", id).Result(); err != nil {
		r.t.Fatalf("read the node's calls: %v", err)
	}
	return active, owned
}

// over demands that Redis shows a call as over: taken out of the lists, and
// about to be forgotten.
func (r records) over(id string) {
	r.t.Helper()
	eventually(r.t, "Redis has the end of the call", func() bool { return r.hash(id)["state"] == "terminated" })
	if active, owned := r.listed(id); active || owned {
		r.t.Errorf("the ended call is among the active ones: %v, among its node's: %v", active, owned)
	}
	if ttl, err := r.client.TTL(context.Background(), shard(id)+":call:"+id).Result(); err != nil || ttl <= 0 {
		r.t.Errorf("the ended call is kept for %v, %v", ttl, err)
	}
}

// stream is what the entries of a stream hold, each the value of its one field.
func (r records) stream(key string) []string {
	r.t.Helper()
	entries, err := r.client.XRange(context.Background(), key, "-", "+").Result()
	if err != nil {
		r.t.Fatalf("read the stream %s: %v", key, err)
	}
	var values []string
	for _, e := range entries {
		for _, v := range e.Values {
			values = append(values, v.(string))
		}
	}
	return values
}
