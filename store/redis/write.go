package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	batchSize = 256                   // calls in a pipeline
	gather    = 20 * time.Millisecond // from one round to the next: what comes meanwhile is written together

	retryFirst = 50 * time.Millisecond // pause after the first failure, then doubled
	retryMost  = time.Second

	activeTTL = 24 * time.Hour // a call that nobody writes any more
	setTTL    = 25 * time.Hour
)

// Run writes what is queued until ctx ends, then what it can in two seconds,
// and closes the connections: the store is of no use after that.
func (s *Store) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(s.grace, cancel) })

	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		if s.round(work) {
			failures = 0
			s.await(ctx)
			if early := gather - time.Since(began); early > 0 {
				pause(ctx, early)
			}
			continue
		}
		failures++
		pause(ctx, backoff(failures))
	}
	last, done := context.WithTimeout(work, s.grace) // a deadline ends what waits for an answer, too
	defer done()
	for failures := 1; s.unwritten() && last.Err() == nil; failures++ {
		if !s.round(last) {
			pause(last, backoff(failures))
		}
	}
	if n := s.Status().Pending; n > 0 {
		s.log.Warn("stopped with calls that could not be written", zap.String("addr", s.addr), zap.Int("pending", n))
	}
	s.leave(last)
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close connections to %s: %w", s.addr, err)
	}
	return nil
}

// await waits until there is something to write or the connection is to be tried.
func (s *Store) await(ctx context.Context) {
	timer := time.NewTimer(s.check + rand.N(s.check/5))
	defer timer.Stop()
	select {
	case <-s.wake:
		return
	case <-s.later:
		timer.Reset(s.linger)
	case <-timer.C:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-s.wake: // what waits goes along
	case <-timer.C:
	case <-ctx.Done():
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// backoff is the pause after so many failures in a row.
func backoff(failures int) time.Duration {
	d := min(retryFirst<<min(failures-1, 10), retryMost)
	return d/2 + rand.N(d/2)
}

// limited does one exchange with Redis within Run's patience, which grows when
// that was too short and shrinks when Redis is quick again.
func (s *Store) limited(ctx context.Context, exchange func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	began := time.Now()
	err := exchange(limited)
	switch {
	case limited.Err() != nil:
		s.patience = min(2*s.patience, ioMost)
	case err == nil:
		s.patience = min(max(2*time.Since(began), s.least), ioMost)
	}
	return err
}

// round connects if need be, writes what was queued when it began, and says
// whether all went well.
func (s *Store) round(ctx context.Context) bool {
	s.mu.Lock()
	began, pending := time.Now(), s.pending()
	s.mu.Unlock()
	s.resaved = false
	err := s.exchange(ctx, pending)
	s.connected = err == nil
	s.note(err, began, pending)
	return err == nil
}

func (s *Store) exchange(ctx context.Context, due int) error {
	var failed error
	// A connection that broke is replaced without a word, so the server behind it
	// is looked at now and then: it may be another, or have lost its data.
	if !s.connected || due == 0 || time.Since(s.loaded) > s.check {
		if err := s.load(ctx); err != nil {
			return err
		}
		s.loaded = time.Now()
	}
	if !s.connected || s.changed {
		failed = s.restore(ctx)
	}
	for due > 0 {
		batch := s.take()
		due -= len(batch)
		written, err := s.write(ctx, batch)
		if err != nil {
			failed = err
		}
		if written == 0 {
			break // otherwise part of a cluster is well, and served
		}
	}
	if failed != nil {
		return failed
	}
	return s.writeRecords(ctx)
}

// note keeps the status after a round, and logs when the store goes and comes back.
func (s *Store) note(err error, began time.Time, pending int) {
	now := time.Now()
	s.mu.Lock()
	was := s.status
	if s.status.Reachable = err == nil; s.status.Reachable != was.Reachable {
		s.status.Since = now
	}
	s.status.LastError = ""
	if err == nil {
		s.written = began
		if !s.resaved {
			s.told = s.servers
		}
	} else {
		s.status.LastError = inWords(err)
	}
	s.mu.Unlock()
	switch {
	case err != nil && was.LastError == "":
		s.log.Warn("store is not reachable, calls go on without it", zap.String("addr", s.addr), zap.String("error", inWords(err)))
	case err == nil && was.LastError != "":
		s.log.Info("store is reachable again", zap.String("addr", s.addr),
			zap.Int("pending", pending), zap.Duration("took", now.Sub(was.Since)))
	case err == nil && !was.Reachable:
		s.log.Info("store is connected", zap.String("addr", s.addr))
	}
}

// take takes the next batch out of the queue.
func (s *Store) take() []*change {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.queue.take(batchSize)
	s.writing = len(batch)
	return batch
}

// write writes a batch and returns how many of its changes are dealt with. It
// queues the others again and returns an error.
func (s *Store) write(ctx context.Context, batch []*change) (int, error) {
	replies := s.send(ctx, batch)
	var failed error
	again, forgotten := s.refused(batch, replies)
	if forgotten {
		if s.load(ctx) != nil {
			again = nil
		} else {
			failed = s.restore(ctx) // the server may have started empty
		}
	}
	if len(again) > 0 {
		changes := make([]*change, len(again))
		for i, at := range again {
			changes[i] = batch[at]
		}
		for i, reply := range s.send(ctx, changes) {
			replies[again[i]] = reply
		}
	}
	written, err := s.settle(batch, replies)
	return written, errors.Join(failed, err)
}

// refused returns which changes of a batch are to be sent once more at once:
// where the server did not know the script, of which a pipeline does not recover
// by itself, or lacked a text.
func (s *Store) refused(batch []*change, replies []*goredis.Cmd) (again []int, forgotten bool) {
	for i, c := range batch {
		word, err := replies[i].Text()
		unknown := err != nil && goredis.HasErrorPrefix(err, "NOSCRIPT")
		if word == "textless" {
			s.texts.forget(c.id)
		} else if !unknown {
			continue
		}
		again, forgotten = append(again, i), forgotten || unknown
	}
	return again, forgotten
}

// send runs put.lua for each change in one pipeline, which takes along what fits
// of the call detail records.
func (s *Store) send(ctx context.Context, changes []*change) []*goredis.Cmd {
	s.mu.Lock()
	epoch := s.epoch
	s.mu.Unlock()
	pipe := s.client.Pipeline()
	replies := make([]*goredis.Cmd, len(changes))
	defer s.commands.reset()
	for i, c := range changes {
		replies[i] = pipe.Do(ctx, s.arguments(&s.commands, c, epoch)...)
	}
	written := s.addRecords(ctx, pipe)
	_ = s.limited(ctx, func(ctx context.Context) error {
		_, err := pipe.Exec(ctx)
		return err // each reply has its own
	})
	_ = written() // what failed is tried again
	return replies
}

// settle does what the replies to a batch ask for.
func (s *Store) settle(batch []*change, replies []*goredis.Cmd) (int, error) {
	var again, missing, fenced, done []*change
	var failed error
	for i, c := range batch {
		word, err := replies[i].Text()
		switch {
		case err != nil && goredis.HasErrorPrefix(err, "WRONGTYPE"):
			s.log.Error("a key of the store holds something else, the call is not written",
				zap.String("call", c.id), zap.Error(err))
		case err != nil, word == "textless":
			again, failed = append(again, c), err
		case word == "fenced":
			fenced = append(fenced, c)
		case word == "missing" && s.cfg.Missing != nil:
			missing = append(missing, c)
		case word == "ok" && !c.final:
			if c.text {
				s.texts.learn(c.id, c.sum)
			}
			done = append(done, c)
		default: // ok and final; or over or missing, and nobody will read the call back
			done = append(done, c)
		}
	}
	now := time.Now()
	s.mu.Lock()
	for _, c := range again {
		s.queue.putBack(c)
	}
	for _, c := range missing {
		s.queue.park(c, now)
	}
	s.writing -= len(again)
	s.mu.Unlock()

	for _, c := range done {
		if c.final {
			s.texts.forget(c.id)
			s.mourn(c, now)
		}
		c.release()
	}
	for _, c := range missing {
		s.cfg.Missing(c.id)
	}
	for _, c := range fenced {
		s.texts.forget(c.id)
		if s.cfg.Fenced != nil {
			s.cfg.Fenced(c.id)
		}
	}

	s.mu.Lock()
	s.writing = 0
	s.mu.Unlock()
	return len(batch) - len(again), failed
}
