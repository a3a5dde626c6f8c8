package redis

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"slices"
	"sync"

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
// before; it belongs to Run. One that is away does not keep the others from being
// used.
func (s *Store) load(ctx context.Context) error {
	var servers runs
	err := s.limited(ctx, func(ctx context.Context) error {
		return s.masters(ctx, func(ctx context.Context, c goredis.UniversalClient) error {
			text, err := loadAsking(ctx, c)
			if err == nil {
				servers.add(text)
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

// runs are the lives of servers: each has an id, new with every start.
type runs struct {
	mu  sync.Mutex
	ids []string
}

// add takes what a server says of itself. One that does not tell is taken for
// the one it was.
func (r *runs) add(info string) {
	id := pairs(info)["run_id"]
	if id == "" {
		id = "unknown"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, id)
}

// differ says whether any of them was not among the ones before, if there were
// any.
func (r *runs) differ(before []string) bool {
	return len(before) > 0 && slices.ContainsFunc(r.ids, func(id string) bool { return !slices.Contains(before, id) })
}

func loadInto(ctx context.Context, c goredis.UniversalClient) error {
	_, err := loadAsking(ctx, c)
	return err
}

// loadAsking hands the scripts to a server and returns what it says of itself,
// nothing where it may not be asked.
func loadAsking(ctx context.Context, c goredis.UniversalClient) (info string, err error) {
	pipe := c.Pipeline()
	var loaded []*goredis.StringCmd
	for _, source := range []string{putSource, pruneSource, epochSource, leaseSource, leaveSource, fenceSource, adoptSource,
		claimSource, vouchSource} {
		loaded = append(loaded, pipe.ScriptLoad(ctx, source))
	}
	about := pipe.Info(ctx, "server")
	_, _ = pipe.Exec(ctx) // each reply has its own error
	for _, reply := range loaded {
		if err := reply.Err(); err != nil {
			return "", fmt.Errorf("load scripts: %w", err)
		}
	}
	return about.Val(), nil
}
