package redis

import "time"

// CheckEvery sets how often an idle connection is tried. The store must not run
// yet.
func (s *Store) CheckEvery(d time.Duration) { s.check = d }
