package redis

import (
	"context"
	_ "embed" // the script
	"fmt"
	"slices"
	"strings"
	"time"

	"sipvigil/store"
)

const (
	overKept = time.Minute // a failover loses no older writes, as a rule
	mostOver = 1 << 16     // calls that are remembered
)

// over is a call of this node whose last record Redis has acknowledged.
type over struct {
	id      string
	reason  store.Reason
	ended   time.Time
	keep    time.Duration
	written time.Time
}

// mourn keeps for a while that the last record of a call is written. A server
// that takes another's place may lack it, and would have the call go on for ever:
// its owner does not know it any more. It belongs to Run.
func (s *Store) mourn(c *change, now time.Time) {
	old := max(0, len(s.over)-mostOver+1)
	for old < len(s.over) && now.Sub(s.over[old].written) > overKept {
		old++
	}
	s.over = append(s.over[old:], over{strings.Clone(c.id), c.call.End.Reason, c.call.End.At, c.keep, now})
}

//go:embed script/over.lua
var overSource string

// bury ends again what another server has that took the place of the one before.
func (s *Store) bury(ctx context.Context) error {
	for part := range slices.Chunk(s.over, batchSize) {
		pipe := s.client.Pipeline()
		for _, o := range part {
			shard := shardOf(o.id)
			keys := []string{s.keys.call(o.id), s.keys.active(shard), s.keys.node(shard, s.cfg.Node), s.keys.text(o.id)}
			pipe.Eval(ctx, overSource, keys, o.id, s.cfg.Node, o.keep.Milliseconds(), string(o.reason), o.ended.UTC().Format(instant))
		}
		err := s.limited(ctx, func(ctx context.Context) error {
			_, err := pipe.Exec(ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("end calls again: %w", err)
		}
	}
	return nil
}
