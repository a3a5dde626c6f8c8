package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sipvigil/store"
	"sipvigil/supervisor/progress"
)

// Times of reading back.
const (
	loadWait  = 3 * time.Second  // SIP is served without the earlier calls after that
	loadTry   = 30 * time.Second // bounds what comes before, and each page of calls; many take their time
	loadAgain = time.Second
	loadPage  = 1000 // calls whose numbers are reserved together
	loadPages = 4    // that wait for their reservations while more is read
)

// load learns from the store who this node is and which calls it had, until
// that succeeds or ctx ends.
func (d *Daemon) load(ctx context.Context) {
	for {
		err := d.tryLoad(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		d.log.Debug("reading back calls failed, trying again", zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(loadAgain):
		}
	}
}

// epoch is that of what this process finds to be its own.
func (d *Daemon) epoch(ctx context.Context) (int64, error) {
	if d.member != nil {
		return d.member.join(ctx)
	}
	return d.store.NextEpoch(ctx)
}

func (d *Daemon) tryLoad(ctx context.Context) error {
	start := time.Now()
	total, err := d.introduce(ctx)
	if err != nil {
		return err
	}
	to := counted{restorer: d.agent}
	if total > 0 {
		to.task = d.progress.Begin(store.TaskStart, d.cfg.Node, total)
		defer to.task.End()
	}
	count, err := readBack(ctx, d.store, d.cfg.Node, to)
	if err != nil {
		return fmt.Errorf("reading back calls: %w", err)
	}
	d.agent.Loaded()
	if count > 0 {
		d.log.Info("calls read back", zap.Int("calls", count), zap.Duration("took", time.Since(start)))
	}
	return nil
}

// introduce learns from the store who this node is, and how many calls it had.
func (d *Daemon) introduce(ctx context.Context) (calls int, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadTry)
	defer cancel()
	key, err := d.store.TagKey(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the key of tags: %w", err)
	}
	d.agent.Rekey(key) // with the lease come requests that others pass on
	epoch, err := d.epoch(ctx)
	if err != nil {
		return 0, fmt.Errorf("taking an epoch: %w", err)
	}
	d.agent.Identify(epoch, key)
	if err := d.board.Refresh(ctx); err != nil {
		return 0, fmt.Errorf("reading what is in maintenance: %w", err)
	}
	if calls, err = d.store.Owns(ctx, d.cfg.Node); err != nil {
		return 0, fmt.Errorf("counting calls: %w", err)
	}
	return calls, nil
}

// restorer goes on with calls that were read back; b2bua has it.
type restorer interface {
	Restore(ctx context.Context, calls []store.Call) error
}

// counted shows how far it is with them.
type counted struct {
	restorer
	task *progress.Task
}

// Restore is that of the restorer.
func (c counted) Restore(ctx context.Context, calls []store.Call) error {
	ctx, cancel := context.WithTimeout(ctx, loadTry)
	defer cancel()
	err := c.restorer.Restore(ctx, calls)
	if err == nil {
		c.task.Add(len(calls))
	}
	return err
}

// readBack goes on with the calls of a node, and returns how many they are.
// While a page of them waits for its reservations the next is read, but calls
// whose release has begun are under way before any other is taken up.
func readBack(ctx context.Context, from keeper, node string, to restorer) (int, error) {
	pages, within := errgroup.WithContext(ctx)
	pages.SetLimit(loadPages)
	count := 0
	var page []store.Call
	var failed error
	restore := func() {
		calls := page
		count, page = count+len(calls), nil
		if len(calls) > 0 && calls[0].State == store.Ending {
			failed = to.Restore(ctx, calls)
			return
		}
		pages.Go(func() error { return to.Restore(within, calls) })
	}
	err := from.Owned(ctx, node, func(c store.Call) bool {
		if n := len(page); n == loadPage || n > 0 && (page[0].State == store.Ending) != (c.State == store.Ending) {
			restore()
		}
		page = append(page, c)
		return failed == nil && within.Err() == nil
	})
	if err == nil && failed == nil {
		restore()
	}
	return count, errors.Join(err, failed, pages.Wait())
}
