package redis

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed script/put.lua
var putSource string

//go:embed script/prune.lua
var pruneSource string

//go:embed script/epoch.lua
var epochSource string

var (
	putScript   = goredis.NewScript(putSource)
	pruneScript = goredis.NewScript(pruneSource)
	epochScript = goredis.NewScript(epochSource)
)

// load hands the scripts to every master. One that is away does not keep the
// others from being used.
func (s *Store) load(ctx context.Context) error {
	c, ok := s.client.(*goredis.ClusterClient)
	if !ok {
		return loadInto(ctx, s.client)
	}
	var loaded atomic.Bool
	err := c.ForEachMaster(ctx, func(ctx context.Context, master *goredis.Client) error {
		err := loadInto(ctx, master)
		if err == nil {
			loaded.Store(true)
		}
		return err
	})
	if loaded.Load() {
		return nil
	}
	return err
}

func loadInto(ctx context.Context, c goredis.Scripter) error {
	for _, script := range []*goredis.Script{putScript, pruneScript, epochScript} {
		if err := script.Load(ctx, c).Err(); err != nil {
			return fmt.Errorf("load scripts: %w", err)
		}
	}
	return nil
}
