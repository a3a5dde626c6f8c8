package redis

import (
	"context"
	"slices"

	goredis "github.com/redis/go-redis/v9"
)

// How many ids of each shard a page asks for first, and at most. Who reads on
// asks for more each time.
const (
	pageFirst = 4
	pageMost  = 1024
)

// page yields the ids of a set above a cursor in their order, some at a time,
// until yield returns false or an error. It takes no more of each shard than is
// needed to know which ids come next.
func (s *Store) page(ctx context.Context, set func(shard string) string, above string, yield func(ids []string) (bool, error)) error {
	for size := pageFirst; ; size = min(2*size, pageMost) {
		ids, above2, err := s.next(ctx, set, above, size)
		if err != nil {
			return err
		}
		if more, err := yield(ids); !more || err != nil || above2 == "" {
			return err
		}
		above = above2
	}
}

// next returns the ids above a cursor up to the one that a shard was cut off
// at, in their order, and the next cursor, which is empty at the end.
func (s *Store) next(ctx context.Context, set func(shard string) string, above string, size int) (ids []string, last string, err error) {
	for first := 0; first < shards; first += shardSize {
		pipe := s.client.Pipeline()
		replies := make([]*goredis.Cmd, shardSize)
		for i := range replies {
			// The source goes along, because a read must not depend on what Run has loaded.
			replies[i] = pipe.Eval(ctx, pageSource, []string{set(shard(first + i))}, above, size)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, "", err
		}
		for _, reply := range replies {
			part, err := reply.StringSlice()
			if err != nil {
				return nil, "", err
			}
			ids = append(ids, part...)
			if len(part) == size && (last == "" || part[size-1] < last) {
				last = part[size-1]
			}
		}
	}
	slices.Sort(ids)
	if last == "" {
		return ids, "", nil
	}
	end, _ := slices.BinarySearch(ids, last)
	return ids[:end+1], last, nil
}
