package embedded

import (
	"context"
	"maps"
	"slices"
	"strings"

	"sipvigil/store"
)

// StartMaintenance notes that a trunk or a node takes no new calls, in the place
// of what was noted of it before.
func (s *Store) StartMaintenance(ctx context.Context, m store.Maintenance) error {
	m.Since = toMilli(m.Since)
	s.mu.Lock()
	s.maintained[maintenanceID(m.Scope, m.Name)] = m
	s.journal.touch(maintenanceID(m.Scope, m.Name), maintenance)
	s.mu.Unlock()
	return s.durable(ctx)
}

// EndMaintenance notes that it takes calls again.
func (s *Store) EndMaintenance(ctx context.Context, scope store.Scope, name string) error {
	s.mu.Lock()
	delete(s.maintained, maintenanceID(scope, name))
	s.journal.touch(maintenanceID(scope, name), maintenance)
	s.mu.Unlock()
	return s.durable(ctx)
}

// Maintenance returns what takes no new calls, by scope and name.
func (s *Store) Maintenance(context.Context) ([]store.Maintenance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.maintained), store.CompareMaintenance), nil
}

// maintenanceID is the journal's id of an entry that is no call's. The id of a
// call has no colon.
func maintenanceID(scope store.Scope, name string) string { return string(scope) + ":" + name }

// maintenance is the layout of the rest of such an entry. Without a time it is
// over.
func (c *codec) maintenance(e *entry) {
	c.moment(&e.maintained.Since)
	c.flag(&e.maintained.Drain)
	if c.reading {
		scope, name, _ := strings.Cut(e.id, ":")
		e.maintained.Scope, e.maintained.Name = store.Scope(scope), name
	}
}

// maintain does what such an entry says. Called locked.
func (s *Store) maintain(e *entry) {
	if e.maintained.Since.IsZero() {
		delete(s.maintained, e.id)
		return
	}
	s.maintained[e.id] = e.maintained
}
