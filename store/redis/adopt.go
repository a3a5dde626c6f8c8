package redis

import (
	"cmp"
	"context"
	_ "embed" // the script
	"iter"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
)

//go:embed script/adopt.lua
var adoptSource string

var adoptScript = goredis.NewScript(adoptSource)

// Stranded returns the ids of the calls of a node, those whose release has begun
// apart, or store.ErrUnavailable.
func (s *Store) Stranded(ctx context.Context, node string) (ending, others []string, err error) {
	ending, others, err = s.sift(ctx, node)
	if err != nil {
		return nil, nil, s.unavailable("list the calls of "+node, err)
	}
	return ending, others, nil
}

// Adopt makes these calls of a node that is gone this node's, under an epoch
// that must have been taken before its lease was found to be gone. It returns
// those that this node has now. On store.ErrUnavailable
// some of them may have been adopted: it is to be asked again for the same ids
// with the same epoch. No call goes to two nodes that ask for it.
func (s *Store) Adopt(ctx context.Context, from string, epoch int64, ids []string) ([]store.Call, error) {
	var adopted []string
	for part := range slices.Chunk(ids, readSize) {
		replies := make([]*goredis.Cmd, len(part))
		err := s.scripted(ctx, func(pipe goredis.Pipeliner) {
			for i, id := range part {
				shard := shardOf(id)
				keys := []string{s.keys.call(id), s.keys.node(shard, from), s.keys.node(shard, s.cfg.Node), s.keys.fence(shard, from)}
				replies[i] = pipe.EvalSha(ctx, adoptScript.Hash(), keys, id, from, s.cfg.Node, epoch,
					setTTL.Milliseconds())
			}
		})
		if err != nil {
			return nil, s.unavailable("adopt calls of "+from, err)
		}
		for i, id := range part {
			if word, _ := replies[i].Text(); word == "adopted" {
				adopted = append(adopted, id)
			}
		}
	}
	var calls []store.Call
	for part := range slices.Chunk(adopted, readSize) {
		read, _, err := s.read(ctx, part)
		if err != nil {
			return nil, s.unavailable("read adopted calls", err)
		}
		for i := range read {
			s.texts.learn(read[i].ID, read[i].sum)
			calls = append(calls, read[i].Call)
		}
	}
	return calls, nil
}

func sorted(nodes []store.Node) []store.Node {
	slices.SortFunc(nodes, func(a, b store.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}

// chunks yields the keys of a map in parts of up to n.
func chunks(m map[string]int64, n int) iter.Seq[[]string] {
	all := make([]string, 0, len(m))
	for id := range m {
		all = append(all, id)
	}
	return slices.Chunk(all, n)
}
