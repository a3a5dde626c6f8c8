package redis

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
)

// Nowhere says whether it is certain that no other node has a call. That Redis
// does not know it is not enough: a server that started empty or was emptied, or a
// replica that took its master's place, may lack calls that go on until their
// owners have written them again. So each node says in its lease which lives of
// servers have all its calls, and that of the one that is asked must be among those
// of every node. What has just begun to live lacks leases too, until every node
// that runs has renewed its own. It returns store.ErrUnavailable.
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
	owner, answer := pipe.HGet(ctx, s.keys.call(id), "node"), s.askLife(ctx, pipe, master)
	_, _ = pipe.Exec(ctx) // each reply has its own error
	here, err := answer()
	if err = cmp.Or(err, owner.Err()); err != nil && !errors.Is(err, goredis.Nil) {
		return false, s.unavailable("look for call "+id, err)
	}
	for _, has := range told {
		if !slices.Contains(has, here.id) {
			return false, nil
		}
	}
	return (owner.Val() == "" || owner.Val() == s.cfg.Node) && here.age >= s.youth, nil
}
