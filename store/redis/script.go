package redis

import (
	"context"
	_ "embed" // the scripts
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed script/put.lua
var putSource string

//go:embed script/prune.lua
var pruneSource string

//go:embed script/page.lua
var pageSource string

//go:embed script/epoch.lua
var epochSource string

var (
	putScript   = goredis.NewScript(putSource)
	pruneScript = goredis.NewScript(pruneSource)
	epochScript = goredis.NewScript(epochSource)
)

// load hands the scripts to every master, and notices when they are others than
// before, or have been emptied; it belongs to Run. One that is away does not keep
// the others from being used.
func (s *Store) load(ctx context.Context) error {
	var servers lives
	err := s.limited(ctx, func(ctx context.Context) error {
		return s.masters(ctx, func(ctx context.Context, c goredis.UniversalClient) error {
			l, err := s.loadAsking(ctx, c)
			if err == nil {
				servers.add(l)
			}
			return err
		})
	})
	if len(servers.ids) == 0 {
		return err
	}
	if servers.differ(s.servers) {
		s.changed = true
		s.texts.forgetAll()
	}
	s.servers = servers.ids
	return nil
}

// masters visits every master, those of a cluster side by side.
func (s *Store) masters(ctx context.Context, visit func(context.Context, goredis.UniversalClient) error) error {
	if c, ok := s.client.(*goredis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, master *goredis.Client) error { return visit(ctx, master) })
	}
	return visit(ctx, s.client)
}

func (s *Store) loadInto(ctx context.Context, c goredis.UniversalClient) error {
	_, err := s.loadAsking(ctx, c)
	return err
}

// loadAsking hands the scripts to a server and returns its life.
func (s *Store) loadAsking(ctx context.Context, c goredis.UniversalClient) (life, error) {
	pipe := c.Pipeline()
	var loaded []*goredis.StringCmd
	for _, source := range []string{putSource, pruneSource, epochSource, leaseSource, leaveSource, fenceSource, adoptSource,
		claimSource, vouchSource} {
		loaded = append(loaded, pipe.ScriptLoad(ctx, source))
	}
	answer := s.askLife(ctx, pipe, c)
	_, _ = pipe.Exec(ctx) // each reply has its own error
	for _, reply := range loaded {
		if err := reply.Err(); err != nil {
			return life{}, fmt.Errorf("load scripts: %w", err)
		}
	}
	return answer()
}
