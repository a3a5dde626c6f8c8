package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// MostGone is mostGone.
const MostGone = mostGone

// CheckEvery sets how often an idle connection is tried. The store must not run
// yet.
func (s *Store) CheckEvery(d time.Duration) { s.check = d }

// Grace sets how long Run goes on writing when its context has ended. The store
// must not run yet.
func (s *Store) Grace(d time.Duration) { s.grace = d }

// Linger sets how long the health of legs is gathered. The store must not run
// yet.
func (s *Store) Linger(d time.Duration) { s.linger = d }

// Youth sets for how long after its start a server may lack leases.
func (s *Store) Youth(d time.Duration) { s.youth = d }

// Patient has Run take no Redis of a busy machine for lost. The store must not run
// yet.
func (s *Store) Patient() { s.patience, s.least = ioMost, ioMost }

// Empty deletes all that every master has.
func (s *Store) Empty(ctx context.Context) error {
	return s.masters(ctx, func(ctx context.Context, c goredis.UniversalClient) error { return c.FlushAll(ctx).Err() })
}
