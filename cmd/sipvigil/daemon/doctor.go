package daemon

import (
	"context"

	"sipvigil/store/redis"
)

// StoreAdvice asks every server of the configured store for its settings, and
// names what endangers calls, one line each. The embedded store has none.
func (c *Config) StoreAdvice(ctx context.Context) ([]string, error) {
	if c.Store.URL == "embedded" {
		return nil, nil
	}
	return redis.Advise(ctx, redis.Config{URL: c.Store.URL, Node: c.Node})
}
