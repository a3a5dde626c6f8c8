package redis

import (
	"context"
	_ "embed" // the script
	"slices"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed script/sift.lua
var siftSource string

// sift returns the ids of a node's calls in their order: those whose release has
// begun, and the others. It costs no command for a call and reads no record.
func (s *Store) sift(ctx context.Context, node string) (ending, others []string, err error) {
	for first := 0; first < shards; first += shardSize {
		pipe := s.client.Pipeline()
		replies := make([]*goredis.Cmd, shardSize)
		for i := range replies {
			name := shard(first + i)
			// The source goes along, because a read must not depend on what Run has loaded.
			replies[i] = pipe.Eval(ctx, siftSource, []string{s.keys.node(name, node)}, s.keys.callIn(name, ""))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, nil, err
		}
		for _, reply := range replies {
			parts, err := reply.Slice()
			if err != nil {
				return nil, nil, err
			}
			ending, others = appendTexts(ending, parts[0]), appendTexts(others, parts[1])
		}
	}
	slices.Sort(ending)
	slices.Sort(others)
	return ending, others, nil
}

// appendTexts appends the texts of an array as Redis has sent it.
func appendTexts(list []string, array any) []string {
	texts, _ := array.([]any)
	for _, v := range texts {
		if text, ok := v.(string); ok {
			list = append(list, text)
		}
	}
	return list
}
