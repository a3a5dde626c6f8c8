package redis

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
)

// keptWait bounds how long a replica may take to have what was written.
const keptWait = time.Second

// Kept returns once what this process has written so far of these calls would
// outlive a failover: every master of theirs that has replicas has seen one of
// them acknowledge it, unless they hang. Of these calls it returns those that Redis has otherwise than they are here,
// because a failover came before: under another owner or epoch, or with a lower
// mark. It returns store.ErrUnavailable.
//
// A new owner asks before it sends anything. If its adoption, or the jump of
// its numbers, could be lost once it has sent, the next owner would jump to the
// same numbers.
func (s *Store) Kept(ctx context.Context, calls []store.Call) (lost []string, err error) {
	err = s.replicated(ctx, func(yield func(string) bool) {
		for i := range calls {
			if !yield(s.keys.call(calls[i].ID)) {
				return
			}
		}
	})
	if err != nil {
		return nil, s.unavailable("wait for replicas", err)
	}
	for first := 0; first < len(calls); first += readSize {
		part := calls[first:min(first+readSize, len(calls))]
		pipe := s.client.Pipeline()
		replies := make([]*goredis.SliceCmd, len(part))
		for i := range part {
			replies[i] = pipe.HMGet(ctx, s.keys.call(part[i].ID), "node", "epoch", "caller.local_cseq", "callee.local_cseq")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, s.unavailable("look whether calls are kept", err)
		}
		for i := range part {
			if !isKept(replies[i].Val(), &part[i]) {
				lost = append(lost, part[i].ID)
			}
		}
	}
	return lost, nil
}

// isKept compares a call with its node, epoch and marks at Redis.
func isKept(values []any, c *store.Call) bool {
	var n [4]int64
	for i := 1; i < 4; i++ {
		text, _ := values[i].(string)
		n[i], _ = strconv.ParseInt(text, 10, 64)
	}
	return values[0] == c.Node && n[1] == c.Epoch &&
		n[2] >= int64(c.Leg(store.Caller).LocalAsked) && n[3] >= int64(c.Leg(store.Callee).LocalAsked)
}

// replicated waits until a replica, if there is any, has all that was written
// before to the masters that have these keys.
func (s *Store) replicated(ctx context.Context, keys iter.Seq[string]) error {
	masters := make(map[*goredis.Client]string) // each with a key of its own
	for key := range keys {
		master, err := s.masterOf(ctx, key)
		if err != nil {
			return err
		}
		masters[master] = beside(key)
	}
	for master, key := range masters {
		if err := waitOn(ctx, master, key); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) masterOf(ctx context.Context, key string) (*goredis.Client, error) {
	if c, ok := s.client.(*goredis.ClusterClient); ok {
		return c.MasterForKey(ctx, key)
	}
	return s.client.(*goredis.Client), nil
}

// beside is a key of our own in the same hash slot.
func beside(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	return "{" + key + "}:kept"
}

// waitOn has one replica acknowledge a write that comes after all others: what
// a replica has, it has in order.
func waitOn(ctx context.Context, master *goredis.Client, key string) error {
	conn := master.Conn() // WAIT is for what its own connection wrote
	defer func() { _ = conn.Close() }()
	pipe := conn.Pipeline()
	pipe.Set(ctx, key, 1, time.Minute)
	info := pipe.Info(ctx, "replication")
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	if !followed(info.Val()) {
		return nil
	}
	n, err := conn.Wait(ctx, 1, keptWait).Result()
	if err == nil && n == 0 {
		err = fmt.Errorf("no replica of %s has answered within %v", master.Options().Addr, keptWait)
	}
	return err
}

// mostSilent is how many seconds a replica may not have been heard of. One that
// hangs has lost more by itself than waiting for it could save.
const mostSilent = 2

// followed says whether the master has a replica that is in step.
func followed(info string) bool {
	for name, value := range pairs(info) {
		if !strings.HasPrefix(name, "slave") || !strings.Contains(value, "state=online") {
			continue
		}
		_, lag, _ := strings.Cut(value, ",lag=")
		if n, err := strconv.Atoi(lag); err == nil && n <= mostSilent {
			return true
		}
	}
	return false
}
