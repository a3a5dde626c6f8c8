package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
)

// Nowhere says whether it is certain that no other node has a call. That Redis
// does not know it is not enough: a server that started empty, or a replica that
// took its master's place, may lack calls that go on until their owners have
// written them again. So each node says in its lease which runs of servers have
// all its calls, and the one that is asked must be among those of every node. A
// server that has just started lacks leases too, until every node that runs has
// renewed its own. It returns store.ErrUnavailable.
func (s *Store) Nowhere(ctx context.Context, id string) (bool, error) {
	var told [][]string // before the call is looked for: what is written later counts for nothing
	err := s.leases(ctx, func(n store.Node, lease map[string]string) {
		if n.Live() {
			told = append(told, strings.Fields(lease["told"]))
		}
	})
	if err != nil {
		return false, s.unavailable("look what nodes have written", err)
	}
	master, err := s.masterOf(ctx, s.keys.call(id))
	if err != nil {
		return false, s.unavailable("look for call "+id, err)
	}
	pipe := master.Pipeline() // one connection: the server that describes itself is the one that has the call or not
	owner, about := pipe.HGet(ctx, s.keys.call(id), "node"), pipe.Info(ctx, "server")
	_, _ = pipe.Exec(ctx) // each reply has its own error
	if err := owner.Err(); err != nil && !errors.Is(err, goredis.Nil) {
		return false, s.unavailable("look for call "+id, err)
	}
	var here runs
	here.add(about.Val())
	for _, has := range told {
		if !slices.Contains(has, here.ids[0]) {
			return false, nil
		}
	}
	return (owner.Val() == "" || owner.Val() == s.cfg.Node) && !s.young(about.Val()), nil
}

// young says whether a server, by what it says of itself, started so lately that
// nodes may still have to renew their leases.
func (s *Store) young(info string) bool {
	up, err := strconv.Atoi(pairs(info)["uptime_in_seconds"])
	return err == nil && time.Duration(up)*time.Second < s.youth
}
