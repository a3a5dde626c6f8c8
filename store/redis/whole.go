package redis

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
)

// Nowhere says whether it is certain that no other node has a call. That Redis
// does not know it is not enough: a server that started empty or was emptied, or a
// replica that took its master's place, may lack calls that go on until their
// owners have written them again. So each node says in its lease which lives of
// servers have all its calls, and that of the one that is asked must be among those
// of every node. What has just begun to live lacks leases too, until every node
// that runs has renewed its own, and what has just come back into reach lacks
// calls, see Settled. It returns store.ErrUnavailable.
func (s *Store) Nowhere(ctx context.Context, id string) (bool, error) {
	if !s.inTouch() {
		return false, nil
	}
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

// Settled says whether a lease that is missing is over. It may be that of a node
// that runs, and has not renewed it yet, while Redis has not been in reach for as
// long as a lease lasts, or began to live or was emptied less long ago. It returns
// store.ErrUnavailable.
func (s *Store) Settled(ctx context.Context) (bool, error) {
	if !s.inTouch() {
		return false, nil
	}
	var young atomic.Bool
	err := s.masters(ctx, func(ctx context.Context, master goredis.UniversalClient) error {
		pipe := master.Pipeline()
		answer := s.askLife(ctx, pipe, master)
		_, _ = pipe.Exec(ctx) // each reply has its own error
		l, err := answer()
		if err == nil && l.age < s.youth {
			young.Store(true)
		}
		return err
	})
	if err != nil {
		return false, s.unavailable("look how long servers have lived", err)
	}
	return !young.Load(), nil
}

// inTouch says whether Redis has been in reach for as long as a lease lasts: while
// it is not, leases run out and calls begin that it does not know.
func (s *Store) inTouch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Reachable && time.Since(s.status.Since) >= s.youth
}
