package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sipvigil/store"
)

// draining is the word that says that somebody waits for the calls to end.
const draining = "drain"

// StartMaintenance notes that a trunk or a node takes no new calls, in the place
// of what was noted of it before. It returns store.ErrUnavailable.
func (s *Store) StartMaintenance(ctx context.Context, m store.Maintenance) error {
	value := m.Since.UTC().Format(instant)
	if m.Drain {
		value += " " + draining
	}
	if err := s.client.HSet(ctx, s.keys.maintenance(), maintenanceField(m.Scope, m.Name), value).Err(); err != nil {
		return s.unavailable("start maintenance", err)
	}
	return nil
}

// EndMaintenance notes that it takes calls again. It returns
// store.ErrUnavailable.
func (s *Store) EndMaintenance(ctx context.Context, scope store.Scope, name string) error {
	if err := s.client.HDel(ctx, s.keys.maintenance(), maintenanceField(scope, name)).Err(); err != nil {
		return s.unavailable("end maintenance", err)
	}
	return nil
}

// Maintenance returns what takes no new calls, by scope and name, or
// store.ErrUnavailable. What an operator has written there and cannot be read
// counts, too: no calls is what was meant.
func (s *Store) Maintenance(ctx context.Context) ([]store.Maintenance, error) {
	hash, err := s.client.HGetAll(ctx, s.keys.maintenance()).Result()
	if err != nil {
		return nil, s.unavailable("read what is in maintenance", err)
	}
	list := make([]store.Maintenance, 0, len(hash))
	for field, value := range hash {
		scope, name, _ := strings.Cut(field, ":")
		since, word, _ := strings.Cut(value, " ")
		m := store.Maintenance{Scope: store.Scope(scope), Name: name, Drain: word == draining}
		m.Since, _ = time.Parse(instant, since)
		list = append(list, m)
	}
	slices.SortFunc(list, store.CompareMaintenance)
	return list, nil
}

func maintenanceField(scope store.Scope, name string) string {
	return fmt.Sprintf("%s:%s", scope, name)
}
