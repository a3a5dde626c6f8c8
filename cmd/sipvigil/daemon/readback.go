package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sipvigil/store"
)

// Times of reading back.
const (
	loadWait  = 3 * time.Second  // SIP is served without the earlier calls after that
	loadTry   = 30 * time.Second // bounds one attempt
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
	ctx, cancel := context.WithTimeout(ctx, loadTry)
	defer cancel()
	start := time.Now()
	key, err := d.store.TagKey(ctx)
	if err != nil {
		return fmt.Errorf("reading the key of tags: %w", err)
	}
	epoch, err := d.epoch(ctx)
	if err != nil {
		return fmt.Errorf("taking an epoch: %w", err)
	}
	d.agent.Identify(epoch, key)
	if err := d.board.Refresh(ctx); err != nil {
		return fmt.Errorf("reading what is in maintenance: %w", err)
	}
	count, err := d.readBack(ctx)
	if err != nil {
		return fmt.Errorf("reading back calls: %w", err)
	}
	d.agent.Loaded()
	if count > 0 {
		d.log.Info("calls read back", zap.Int("calls", count), zap.Duration("took", time.Since(start)))
	}
	return nil
}

// readBack goes on with the calls of this node, and returns how many they are.
// While a page of them waits for its reservations the next is read.
func (d *Daemon) readBack(ctx context.Context) (int, error) {
	pages, within := errgroup.WithContext(ctx)
	pages.SetLimit(loadPages)
	count := 0
	var page []store.Call
	restore := func() {
		calls := endingFirst(page)
		count, page = count+len(page), nil
		pages.Go(func() error { return d.agent.Restore(within, calls) })
	}
	err := d.store.Owned(ctx, d.cfg.Node, func(c store.Call) bool {
		if page = append(page, c); len(page) == loadPage {
			restore()
		}
		return within.Err() == nil
	})
	if err == nil {
		restore()
	}
	return count, errors.Join(err, pages.Wait())
}

// endingFirst puts the calls in front whose release had begun.
func endingFirst(calls []store.Call) []store.Call {
	slices.SortStableFunc(calls, func(a, b store.Call) int { return cmp.Compare(turn(&a), turn(&b)) })
	return calls
}

func turn(c *store.Call) int {
	if c.State == store.Ending {
		return 0
	}
	return 1
}
