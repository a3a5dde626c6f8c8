package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"sipvigil/store"
)

const (
	readSize  = 256 // calls read in a pipeline
	shardSize = 32  // sets read in a pipeline
)

// Get returns a call as Redis has it, store.ErrNotFound, or
// store.ErrUnavailable.
func (s *Store) Get(ctx context.Context, id string) (store.Call, error) {
	pipe := s.client.Pipeline()
	r := s.ask(ctx, pipe, id)
	_, _ = pipe.Exec(ctx) // each reply has its own error
	hash, text, err := r.result()
	if err != nil {
		return store.Call{}, s.unavailable("get call "+id, err)
	}
	if len(hash) == 0 {
		return store.Call{}, fmt.Errorf("get call %s: %w", id, store.ErrNotFound)
	}
	c, _, err := s.texts.decodeCall(id, hash, text)
	return c, err
}

// reply is a record on its way from Redis. The text outlives the hash, so that
// a record that is written or expires between the two is not torn: at worst
// its text is newer.
type reply struct {
	hash *goredis.MapStringStringCmd
	text *goredis.StringCmd
}

func (s *Store) ask(ctx context.Context, pipe goredis.Pipeliner, id string) reply {
	return reply{pipe.HGetAll(ctx, s.keys.call(id)), pipe.Get(ctx, s.keys.text(id))}
}

// result is empty where there is nothing.
func (r reply) result() (hash map[string]string, text string, err error) {
	hash, err = r.hash.Result()
	if err != nil {
		return nil, "", err
	}
	text, err = r.text.Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		return nil, "", err
	}
	return hash, text, nil
}

// List returns a page of the calls that go on and match, in the order of their
// ids, or store.ErrUnavailable. Calls that come and go between two pages do not
// shift the others.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	set := s.keys.active
	if q.Node != "" {
		set = func(shard string) string { return s.keys.node(shard, q.Node) }
	}
	now, limit := time.Now(), q.PageLimit()
	var page store.Page
	take := func(r *record) bool {
		c := &r.Call
		switch {
		case c.State == store.Terminated || !q.Match(c, now):
			return true
		case len(page.Calls) == limit:
			page.Next = page.Calls[limit-1].ID
			return false
		default:
			page.Calls = append(page.Calls, *c)
			return true
		}
	}
	err := s.page(ctx, set, q.Cursor, func(ids []string) (bool, error) { return s.visit(ctx, set, ids, take) })
	if err != nil {
		return store.Page{}, s.unavailable("list calls", err)
	}
	return page, nil
}

// Owned yields each call of a node that goes on, those whose release has begun
// before all others, in the order of their ids, until yield returns false. It
// returns store.ErrUnavailable.
func (s *Store) Owned(ctx context.Context, node string, yield func(store.Call) bool) error {
	ending, others, err := s.sift(ctx, node)
	if err == nil {
		set := func(shard string) string { return s.keys.node(shard, node) }
		_, err = s.visit(ctx, set, append(ending, others...), func(r *record) bool {
			if r.State == store.Terminated || r.Node != node {
				return true
			}
			if node == s.cfg.Node {
				s.texts.learn(r.ID, r.sum)
			}
			return yield(r.Call)
		})
	}
	if err != nil {
		return s.unavailable("read the calls of "+node, err)
	}
	return nil
}

// Owns returns how many calls of a node go on, or store.ErrUnavailable.
func (s *Store) Owns(ctx context.Context, node string) (calls int, err error) {
	pipe := s.client.Pipeline()
	replies := make([]*goredis.IntCmd, shards)
	for i := range replies {
		replies[i] = pipe.SCard(ctx, s.keys.node(shard(i), node))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, s.unavailable("count the calls of "+node, err)
	}
	for _, reply := range replies {
		calls += int(reply.Val())
	}
	return calls, nil
}

// record is a call as Redis has it.
type record struct {
	store.Call
	sum uint64 // of the lines of its text, 0 where they are in the hash
}

// visit yields some calls of a set, and says whether yield had not enough. A
// record that cannot be read is logged and left out: it must not hide the
// others.
func (s *Store) visit(ctx context.Context, set func(shard string) string, ids []string, yield func(*record) bool) (more bool, err error) {
	for part := range slices.Chunk(ids, readSize) {
		calls, gone, err := s.read(ctx, part)
		if err != nil {
			return false, err
		}
		s.prune(ctx, set, gone)
		for i := range calls {
			if !yield(&calls[i]) {
				return false, nil
			}
		}
	}
	return true, nil
}

// read reads some calls, and returns the ids of those that are not there.
func (s *Store) read(ctx context.Context, ids []string) (calls []record, gone []string, err error) {
	pipe := s.client.Pipeline()
	replies := make([]reply, len(ids))
	for i, id := range ids {
		replies[i] = s.ask(ctx, pipe, id)
	}
	_, _ = pipe.Exec(ctx) // each reply has its own error
	calls = make([]record, 0, len(ids))
	for i, id := range ids {
		hash, text, err := replies[i].result()
		if err != nil && !goredis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, nil, err
		}
		if err == nil && len(hash) == 0 {
			gone = append(gone, id)
			continue
		}
		var r record
		if err == nil {
			r.Call, r.sum, err = s.texts.decodeCall(id, hash, text)
		}
		if err != nil {
			s.log.Warn("a call cannot be read from the store", zap.String("call", id), zap.Error(err))
			continue
		}
		calls = append(calls, r)
	}
	return calls, gone, nil
}

// prune takes ids of calls that are not there any more out of a set: their
// owner went away and nobody adopted them before they expired.
func (s *Store) prune(ctx context.Context, set func(shard string) string, ids []string) {
	if len(ids) == 0 {
		return
	}
	pipe := s.client.Pipeline()
	for _, id := range ids {
		pipe.EvalSha(ctx, pruneScript.Hash(), []string{s.keys.call(id), set(shardOf(id))}, id)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		s.log.Debug("calls that are gone stay in a set for now", zap.Error(err))
	}
}

// unavailable is what a read returns when Redis could not be asked. It has Run
// look too, for the status.
func (s *Store) unavailable(doing string, err error) error {
	s.poke()
	return fmt.Errorf("%s: %w: %w", doing, store.ErrUnavailable, err)
}
