package daemon

import (
	"context"
	"maps"
	"slices"
	"time"
)

// refreshTime is how long it takes to write the records of all calls again. One
// that began just after this was begun waits for twice as long, half a day.
const refreshTime = 6 * time.Hour

// refresh has the record of every call of this node written again now and then,
// evenly, until ctx ends: Redis forgets one that nobody writes for a day, and
// nothing may happen for as long in a call that is not asked.
func (m *member) refresh(ctx context.Context) {
	for {
		ids := slices.Collect(maps.Keys(m.calls.Held()))
		if len(ids) == 0 {
			ids = []string{""} // of no call: only time passes
		}
		every := refreshTime / time.Duration(len(ids))
		for _, id := range ids {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			if m.may() { // who is not sure to own a call brings none back
				m.calls.Resave(id)
			}
		}
	}
}
