package redis

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
)

// The channels of a trunk are two sorted sets, one for each direction: the ids of
// calls, by when they were last vouched for, in milliseconds of the server's
// clock. Their keys share a hash tag, so that one script can look at both.

//go:embed script/claim.lua
var claimSource string

//go:embed script/vouch.lua
var vouchSource string

var (
	claimScript = goredis.NewScript(claimSource)
	vouchScript = goredis.NewScript(vouchSource)
)

// vouchSize is for how many channels one script vouches: it holds up the server
// for about a millisecond.
const vouchSize = 500

// channels is the set of one direction of a trunk.
func (k keys) channels(trunk string, side store.Side) string {
	return "{" + k.prefix + ":trunk:" + trunk + "}:" + wayNames[side]
}

// starts is when the last calls of one direction of a trunk began.
func (k keys) starts(trunk string, side store.Side) string {
	return k.channels(trunk, side) + ":starts"
}

var wayNames = [2]string{store.Caller: "in", store.Callee: "out"}

// ClaimChannel grants a channel if there is one left, of all nodes together. A
// claim may be repeated. It returns store.ErrUnavailable; whether the channel
// was granted is not known then, and it comes back by itself if it was.
func (s *Store) ClaimChannel(ctx context.Context, c store.Claim) (store.Grant, error) {
	other := c.Side.Other()
	keys := []string{s.keys.channels(c.Trunk, c.Side), s.keys.channels(c.Trunk, other), s.keys.starts(c.Trunk, c.Side)}
	reply, err := claimScript.Run(ctx, s.client, keys,
		c.ID, c.Most(), c.Limit.Total, c.Limit.PerSecond, c.Lease.Milliseconds()).Slice()
	if err != nil {
		return store.Grant{}, s.unavailable("claim a channel", err)
	}
	var g store.Grant
	if word, _ := reply[0].(string); word != "ok" {
		g.Refused = store.Refusal(word)
	}
	mine, _ := reply[1].(int64)
	others, _ := reply[2].(int64)
	g.Used[c.Side], g.Used[other] = int(mine), int(others)
	return g, nil
}

// VouchChannels has channels last for another lease, and makes those that are
// not there. It returns how many each direction has after that, of all nodes
// together, or store.ErrUnavailable.
func (s *Store) VouchChannels(ctx context.Context, lease time.Duration, held []store.Held) ([]int, error) {
	used := make([]int, len(held))
	if len(held) == 0 {
		return used, nil
	}
	last := make([]*goredis.Cmd, len(held))
	err := s.scripted(ctx, func(pipe goredis.Pipeliner) {
		for i, h := range held {
			keys := []string{s.keys.channels(h.Trunk, h.Side)}
			parts := slices.Collect(slices.Chunk(h.IDs, vouchSize))
			if len(parts) == 0 {
				parts = [][]string{nil} // only to count
			}
			for _, ids := range parts {
				args := make([]any, 1, len(ids)+1)
				args[0] = lease.Milliseconds()
				for _, id := range ids {
					args = append(args, id)
				}
				last[i] = pipe.EvalSha(ctx, vouchScript.Hash(), keys, args...)
			}
		}
	})
	if err != nil {
		return nil, s.unavailable("vouch for channels", err)
	}
	for i := range last {
		if used[i], err = last[i].Int(); err != nil {
			return nil, fmt.Errorf("channels of %s: %w", held[i].Trunk, err)
		}
	}
	return used, nil
}

// FreeChannels gives channels back, or returns store.ErrUnavailable.
func (s *Store) FreeChannels(ctx context.Context, held []store.Held) error {
	pipe := s.client.Pipeline()
	for _, h := range held {
		for ids := range slices.Chunk(h.IDs, vouchSize) {
			members := make([]any, len(ids))
			for i, id := range ids {
				members[i] = id
			}
			pipe.ZRem(ctx, s.keys.channels(h.Trunk, h.Side), members...)
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return s.unavailable("give channels back", err)
	}
	return nil
}
