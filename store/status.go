package store

import "time"

// Status is how the connection to a store fares.
type Status struct {
	Backend   string        // "embedded", "redis", …
	Reachable bool          // the last exchange succeeded
	Since     time.Time     // when Reachable last changed
	Pending   int           // calls with changes that are not written yet
	Behind    time.Duration // all changes are written that are older than this
	LastError string        // of the last failed exchange, empty while Reachable
}
