package redis

import (
	"context"
	"crypto/rand"
	_ "embed" // the script
	"slices"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed script/life.lua
var lifeSource string

// life is how long a server has had what it has: it begins with each start, and
// when all is deleted, as by FLUSHALL.
type life struct {
	id  string // no other is called so
	age time.Duration
}

// askLife adds to a pipeline to a master what tells its life.
func (s *Store) askLife(ctx context.Context, pipe goredis.Pipeliner, master goredis.UniversalClient) (answer func() (life, error)) {
	about, key := pipe.Info(ctx, "server"), s.lifeKey(ctx, master)
	if key == "" {
		return func() (life, error) { return started(about.Val()), nil }
	}
	// The source goes along, because a read must not depend on what Run has loaded.
	named := pipe.Eval(ctx, lifeSource, []string{key}, rand.Text())
	return func() (life, error) {
		reply, err := named.Slice()
		if err != nil {
			return life{}, err
		}
		l := started(about.Val())
		name, _ := reply[0].(string)
		seconds, _ := reply[1].(int64)
		l.id += "/" + name
		l.age = min(l.age, time.Duration(seconds)*time.Second)
		return l, nil
	}
}

// started is the life of a server since it was started, by what it says of
// itself. One that does not tell is taken for the one it was.
func started(info string) life {
	about := pairs(info)
	l := life{about["run_id"], time.Duration(1<<63 - 1)}
	if l.id == "" {
		l.id = "unknown"
	}
	if up, err := strconv.Atoi(about["uptime_in_seconds"]); err == nil {
		l.age = time.Duration(up) * time.Second
	}
	return l
}

// lifeKey is where a master has the name of what it has: in the first shard that
// is there, "" where none is.
func (s *Store) lifeKey(ctx context.Context, master goredis.UniversalClient) string {
	c, ok := s.client.(*goredis.ClusterClient)
	if !ok {
		return s.keys.life(shard(0))
	}
	for n := range shards {
		key := s.keys.life(shard(n))
		if at, err := c.MasterForKey(ctx, key); err == nil && at == master {
			return key
		}
	}
	return ""
}

// lives are those of all masters.
type lives struct {
	mu  sync.Mutex
	ids []string
}

func (a *lives) add(l life) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, l.id)
}

// differ says whether any of them was not among the ones before, if there were
// any.
func (a *lives) differ(before []string) bool {
	return len(before) > 0 && slices.ContainsFunc(a.ids, func(id string) bool { return !slices.Contains(before, id) })
}
