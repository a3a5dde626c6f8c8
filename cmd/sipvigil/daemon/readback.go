package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// Times of reading back.
const (
	loadWait  = 3 * time.Second  // SIP is served without the earlier calls after that
	loadTry   = 30 * time.Second // bounds one attempt
	loadAgain = time.Second
	loadPage  = 1000 // calls whose numbers are reserved together
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
	var page []store.Call
	count := 0
	restore := func() error {
		count += len(page)
		err := d.agent.Restore(ctx, page)
		page = page[:0]
		return err
	}
	var restoring error
	err = d.store.Owned(ctx, d.cfg.Node, func(c store.Call) bool {
		page = append(page, c)
		if len(page) == loadPage {
			restoring = restore()
		}
		return restoring == nil
	})
	if err = errors.Join(err, restoring); err != nil {
		return fmt.Errorf("reading back calls: %w", err)
	}
	if err := restore(); err != nil {
		return err
	}
	d.agent.Loaded()
	if count > 0 {
		d.log.Info("calls read back", zap.Int("calls", count), zap.Duration("took", time.Since(start)))
	}
	return nil
}
