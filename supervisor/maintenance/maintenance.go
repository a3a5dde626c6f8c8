// Package maintenance knows which trunks and nodes take no new calls because an
// operator said so, on this node or on another one. The store remembers it; a
// Board asks again every two seconds, and goes by what it heard last while the
// store cannot be reached.
package maintenance

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// Store is where it is remembered.
type Store interface {
	StartMaintenance(ctx context.Context, m store.Maintenance) error
	EndMaintenance(ctx context.Context, scope store.Scope, name string) error
	Maintenance(ctx context.Context) ([]store.Maintenance, error)
}

const (
	askEvery = 2 * time.Second
	askTime  = time.Second // one look at the store
)

// Board is what is known now. Its look-ups return at once.
type Board struct {
	st  Store
	log *zap.Logger

	mu      sync.Mutex                // guards what is below
	on      map[key]store.Maintenance // is replaced, never changed
	changes int                       // made here
}

type key struct {
	scope store.Scope
	name  string
}

// New returns a Board on which nothing is in maintenance, until Refresh.
func New(st Store, log *zap.Logger) *Board {
	return &Board{st: st, log: log, on: make(map[key]store.Maintenance)}
}

// Run keeps up with what other nodes change, until ctx ends.
func (b *Board) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(askEvery - rand.N(askEvery/10)):
		}
		if err := b.Refresh(ctx); err != nil && ctx.Err() == nil {
			b.log.Debug("what is in maintenance cannot be read, what was known stays", zap.Error(err))
		}
	}
}

// Refresh asks the store. Its error wraps store.ErrUnavailable.
func (b *Board) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	b.mu.Lock()
	before := b.changes
	b.mu.Unlock()
	list, err := b.st.Maintenance(ctx)
	if err != nil {
		return err
	}
	on := make(map[key]store.Maintenance)
	for _, m := range list {
		on[key{m.Scope, m.Name}] = m
	}
	b.mu.Lock()
	if b.changes != before { // it may be what was there before
		b.mu.Unlock()
		return nil
	}
	was := b.on
	b.on = on
	b.mu.Unlock()
	b.tell(was, on)
	return nil
}

// Start takes a trunk or a node out of service, for every node once they have
// looked. Its error wraps store.ErrUnavailable; nothing has changed then, or
// the answer of the store was lost.
func (b *Board) Start(ctx context.Context, m store.Maintenance) error {
	if old, ok := b.In(m.Scope, m.Name); ok {
		m.Since = old.Since
	}
	if err := b.st.StartMaintenance(ctx, m); err != nil {
		return err
	}
	b.change(func(on map[key]store.Maintenance) { on[key{m.Scope, m.Name}] = m })
	return nil
}

// End puts it back. Errors are those of Start.
func (b *Board) End(ctx context.Context, scope store.Scope, name string) error {
	if err := b.st.EndMaintenance(ctx, scope, name); err != nil {
		return err
	}
	b.change(func(on map[key]store.Maintenance) { delete(on, key{scope, name}) })
	return nil
}

// In returns the maintenance that a trunk or a node is in, if it is.
func (b *Board) In(scope store.Scope, name string) (store.Maintenance, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.on[key{scope, name}]
	return m, ok
}

// change makes a change that the store has taken.
func (b *Board) change(f func(on map[key]store.Maintenance)) {
	b.mu.Lock()
	was, now := b.on, maps.Clone(b.on)
	f(now)
	b.on = now
	b.changes++
	b.mu.Unlock()
	b.tell(was, now)
}

// tell logs what is another than before.
func (b *Board) tell(was, now map[key]store.Maintenance) {
	for k, m := range now {
		if old, ok := was[k]; !ok || old.Drain != m.Drain {
			b.log.Info("maintenance begins, no new calls", zap.String(string(k.scope), k.name), zap.Bool("drain", m.Drain))
		}
	}
	for k := range was {
		if _, ok := now[k]; !ok {
			b.log.Info("maintenance ends", zap.String(string(k.scope), k.name))
		}
	}
}
