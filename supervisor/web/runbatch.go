package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// runBatch ends one call after the other.
func (s *Server) runBatch(ctx context.Context, b *batch) {
	ticks := time.NewTicker(time.Duration(float64(time.Second) / b.PerSecond))
	defer ticks.Stop()
	task := s.cfg.Progress.Begin(store.TaskHangup, b.ID, len(b.ids))
	defer task.End()
	state, told := "done", time.Now()
	for i, id := range b.ids {
		if i > 0 && !b.wait(ctx, ticks.C) {
			state = "stopped"
			break
		}
		s.batches.note(b, id, s.hangupOne(ctx, b, id))
		task.Add(1)
		if now := time.Now(); now.Sub(told) >= time.Second {
			told = now
			s.feed.tell("batch", s.batches.snapshot(b))
		}
	}
	end := s.batches.finish(b, state)
	s.feed.tell("batch", end)
	s.log.Info("batch of hang-ups is over", zap.String("batch", b.ID), zap.String("who", b.By), zap.String("reason", b.Reason),
		zap.String("state", state), zap.Int("calls", end.Total), zap.Int("ended", end.Ended), zap.Int("gone", end.Gone), zap.Int("failed", end.Failed))
}

// wait is false when the batch is to stop.
func (b *batch) wait(ctx context.Context, next <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-b.stop:
		return false
	case <-next:
		return true
	}
}

// hangupOne ends one call of a batch, at the node that has it by now. Of a call
// that changes its owner just then it asks the next one.
func (s *Server) hangupOne(ctx context.Context, b *batch, id string) (err error) {
	for range 2 {
		look, cancel := context.WithTimeout(ctx, lookTime)
		err = s.calls.Hangup(look, id, b.Reason)
		cancel()
		if at := (*supervisor.Elsewhere)(nil); errors.As(err, &at) && s.courier != nil {
			err = s.hangupThere(ctx, b, at)
		}
		if !errors.Is(err, supervisor.ErrElsewhere) {
			break
		}
	}
	return err
}

// hangupThere has another node end one call of a batch. One that cannot be told
// so is not asked for each call of it.
func (s *Server) hangupThere(ctx context.Context, b *batch, at *supervisor.Elsewhere) error {
	if d := b.deaf[at.Node]; time.Now().Before(d.until) {
		return d.err
	}
	c := b.end
	c.Target += because(callPath(at.ID), b.Reason)
	out, err := s.courier.ask(ctx, at.Node, c, soonTime)
	switch {
	case err != nil:
		b.deaf[at.Node] = deafness{err, time.Now().Add(deafTime)}
		return err
	case out.Status == http.StatusNotFound:
		return store.ErrNotFound
	case out.Status == http.StatusMisdirectedRequest:
		return fmt.Errorf("%w: %w", supervisor.ErrElsewhere, problemOf(out))
	case out.Status == http.StatusConflict:
		return fmt.Errorf("%w: %w", supervisor.ErrEnding, problemOf(out))
	case out.Status >= 400:
		return problemOf(out)
	}
	return nil
}

func (l *batches) note(b *batch, id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		b.Ended++
	case errors.Is(err, supervisor.ErrEnding), errors.Is(err, store.ErrNotFound):
		b.Gone++
	default:
		b.Failed++
		if len(b.Failures) < mostFailures {
			b.Failures = append(b.Failures, BatchFailure{id, err.Error()})
		}
	}
}

func (l *batches) finish(b *batch, state string) Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.State, b.Finished, b.ids = state, Time{time.Now()}, nil
	l.running--
	return b.copy()
}

func (l *batches) snapshot(b *batch) Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return b.copy()
}

// copy is called locked.
func (b *batch) copy() Batch {
	c := b.Batch
	c.Failures = slices.Clone(c.Failures)
	return c
}

// deafness is why a node is not told to end further calls for a while.
type deafness struct {
	err   error
	until time.Time
}

const deafTime = 5 * time.Second
