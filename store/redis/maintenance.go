package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
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
	field := maintenanceField(m.Scope, m.Name)
	if err := s.client.HSet(ctx, s.keys.maintenance(), field, value).Err(); err != nil {
		return s.unavailable("start maintenance", err)
	}
	s.remember(func(m map[string]string) { m[field] = value })
	return nil
}

// EndMaintenance notes that it takes calls again. It returns
// store.ErrUnavailable.
func (s *Store) EndMaintenance(ctx context.Context, scope store.Scope, name string) error {
	field := maintenanceField(scope, name)
	if err := s.client.HDel(ctx, s.keys.maintenance(), field).Err(); err != nil {
		return s.unavailable("end maintenance", err)
	}
	s.remember(func(m map[string]string) { delete(m, field) })
	return nil
}

// Maintenance returns what takes no new calls, by scope and name, or
// store.ErrUnavailable. What an operator has written there and cannot be read
// counts, too: no calls is what was meant.
func (s *Store) Maintenance(ctx context.Context) ([]store.Maintenance, error) {
	hash, err := s.maintained(ctx)
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

// noted is what is in maintenance as it was last read, or changed here since.
type noted struct {
	life   string // of the server that had it, "" before the first look
	fields map[string]string
}

// remember changes what is known to be noted.
func (s *Store) remember(change func(map[string]string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noted.life != "" {
		change(s.noted.fields)
	}
}

// maintained reads what is noted. What a server has lost of that, because it was
// emptied, is written again: nobody has ended it.
func (s *Store) maintained(ctx context.Context) (map[string]string, error) {
	key := s.keys.maintenance()
	pipe := s.client.Pipeline()
	all, life := pipe.HGetAll(ctx, key), pipe.Eval(ctx, lifeSource, []string{"{" + key + "}:life"}, rand.Text())
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	reply, err := life.Slice()
	if err != nil {
		return nil, err
	}
	name, _ := reply[0].(string)
	hash := all.Val()
	s.mu.Lock()
	was := noted{s.noted.life, maps.Clone(s.noted.fields)}
	s.mu.Unlock()
	if was.life != "" && was.life != name {
		for field, value := range was.fields {
			if _, there := hash[field]; !there {
				hash[field] = value
				pipe.HSetNX(ctx, key, field, value)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = noted{name, maps.Clone(hash)}
	return hash, nil
}

func maintenanceField(scope store.Scope, name string) string {
	return fmt.Sprintf("%s:%s", scope, name)
}
