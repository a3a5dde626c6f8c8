package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// Times and sizes of the journal.
const (
	gather     = 5 * time.Millisecond // what comes meanwhile is written and synced together
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
	lastTry    = 2 * time.Second // for what is unwritten when Run ends

	// A journal is written anew when it is larger than each of these.
	sizeLeast   = 16 << 20
	sizePerCall = 8 << 10
	sizeGrowth  = 4 // times what it was when it was written anew
)

// journal is what the store has of its directory. It knows which calls have
// changed, not how: what is written is what they are when their turn comes, so
// that a disk that fails for long costs no memory.
type journal struct {
	dir  string
	log  *zap.Logger
	disk disk
	wake chan struct{} // capacity 1: something has changed

	// Guarded by the store's mutex.
	dirty   map[string]parts // of calls, since the last commit began
	writing int              // calls in the commit that goes on
	written time.Time        // all changes before are on disk
	waiting []func()         // called when what has changed so far is on disk
	status  store.Status
	entry   store.Call // of the entry that is being written

	// Of Open and then of Run alone.
	lock  *os.File
	out   writer // file is nil while there is none that can be written to
	first int64  // size when it was written anew, 0 if it was not
}

// touch notes that a call has changed. Called locked.
func (j *journal) touch(id string, p parts) {
	if j != nil {
		if j.pending() == 0 {
			j.written = time.Now()
		}
		j.dirty[id] |= p
		j.stir()
	}
}

// pending is how many calls have changes that are not on disk. Called locked.
func (j *journal) pending() int { return len(j.dirty) + j.writing }

// after calls done when all that has changed so far is on disk. Called locked.
func (j *journal) after(done func()) {
	j.waiting = append(j.waiting, done)
	j.stir()
}

func (j *journal) stir() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// durable waits until all that has changed so far is on disk.
func (s *Store) durable(ctx context.Context) error {
	if s.journal == nil {
		return nil
	}
	done := make(chan struct{})
	s.mu.Lock()
	s.journal.after(func() { close(done) })
	s.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write the journal: %w: %w", store.ErrUnavailable, ctx.Err())
	}
}

// keep writes what changes until ctx ends, and then what is left if the disk
// takes it.
func (s *Store) keep(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; {
		select {
		case <-s.journal.wake:
		case <-ctx.Done():
		}
		sleep(ctx, gather)
		if s.commit() {
			failures = 0
			continue
		}
		sleep(ctx, min(retryFirst<<min(failures, 10), retryMost))
		failures++
		s.journal.stir()
	}
	for until := time.Now().Add(lastTry); !s.commit() && time.Now().Before(until); {
		sleep(context.WithoutCancel(ctx), retryFirst)
	}
	return s.Close()
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// commit writes and syncs all that has changed when it begins, tells those who
// wait for it, and says whether all went well.
func (s *Store) commit() bool {
	j := s.journal
	s.mu.Lock()
	began, dirty, waiting := time.Now(), j.dirty, j.waiting
	j.dirty, j.waiting, j.writing = make(map[string]parts), nil, len(dirty)
	kept := len(s.active) + len(s.over)
	s.mu.Unlock()

	var err error
	if len(dirty) > 0 || len(waiting) > 0 || j.out.file == nil {
		most := max(sizeLeast, int64(kept)*sizePerCall, j.first*sizeGrowth)
		if j.out.file == nil || j.out.at > most {
			err = s.rewrite()
		} else {
			err = s.append(dirty)
		}
	}
	if err != nil && j.out.file != nil {
		j.abandon() // nobody knows what a file holds whose write or sync failed
	}
	if err == nil {
		for _, done := range waiting {
			done()
		}
	}
	s.settle(err, began, dirty, waiting)
	return err == nil
}

// settle notes how a commit went that began then. What it could not write is
// written later.
func (s *Store) settle(err error, began time.Time, dirty map[string]parts, waiting []func()) {
	j, now := s.journal, time.Now()
	s.mu.Lock()
	was := j.status
	j.writing = 0
	j.status.LastError = ""
	if err == nil {
		j.written = began
	} else {
		j.status.LastError = err.Error()
		j.waiting = append(waiting, j.waiting...)
		for id, p := range dirty {
			j.dirty[id] |= p
		}
		for id := range j.dirty { // the new journal has nothing of what is forgotten
			if s.active[id] == nil && s.over[id] == nil {
				delete(j.dirty, id)
			}
		}
	}
	if j.status.Reachable = err == nil; j.status.Reachable != was.Reachable {
		j.status.Since = now
	}
	pending := len(j.dirty)
	s.mu.Unlock()
	switch {
	case err != nil && was.Reachable:
		j.log.Error("the journal cannot be written, calls go on without it: check the disk, what changes is written when it takes it",
			zap.String("dir", j.dir), zap.Error(err))
	case err == nil && !was.Reachable:
		j.log.Info("the journal is written again", zap.String("dir", j.dir), zap.Int("pending", pending),
			zap.Duration("took", now.Sub(was.Since)))
	}
}

// append writes what has changed to the end of the journal.
func (s *Store) append(dirty map[string]parts) error {
	w := &s.journal.out
	w.meta = s.meta()
	w.begin()
	if err := s.write(w, dirty); err != nil {
		return err
	}
	return s.journal.disk.sync(w.file)
}

// abandon gives up the file, so that a new one is written.
func (j *journal) abandon() {
	_ = j.out.file.Close()
	j.out.file = nil
}

// rewrite writes a new journal of all that is there now, and puts it in the
// place of the old one.
func (s *Store) rewrite() (err error) {
	j := s.journal
	file, err := os.OpenFile(j.path("new"), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(j.path("new"))
		}
	}()
	head, mark := newHead()
	if _, err := j.disk.write(file, head, 0); err != nil {
		return err
	}
	w := &writer{disk: &j.disk, file: file, mark: mark, at: int64(len(head)), meta: s.meta()}
	w.begin()
	all := make(map[string]parts)
	s.mu.Lock()
	for id := range s.active {
		all[id] = everything
	}
	for id := range s.over {
		all[id] = everything
	}
	for id := range s.maintained {
		all[id] = maintenance
	}
	s.mu.Unlock()
	if err := s.write(w, all); err != nil {
		return err
	}
	if err := j.disk.sync(file); err != nil {
		return err
	}
	if err := os.Rename(j.path("new"), j.path("")); err != nil {
		return err
	}
	if j.out.file != nil {
		j.abandon()
	}
	if err := syncDir(j.dir); err != nil {
		return err
	}
	j.out, j.first = *w, w.at
	return nil
}

// write writes the parts of calls as they are now, a chunk at a time so that
// others may use the store meanwhile.
func (s *Store) write(w *writer, calls map[string]parts) error {
	now, count := time.Now(), 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range calls {
		e := s.entry(id, p, now)
		if !w.add(&e) {
			s.journal.log.Error("the record of a call is too large for the journal", zap.String("call", id))
		}
		if count++; count%chunk != 0 && !w.full() {
			continue
		}
		s.mu.Unlock()
		var err error
		if w.full() {
			err = w.flush()
		}
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	s.mu.Unlock()
	err := w.flush()
	s.mu.Lock()
	return err
}

// entry is what is to be written of a call. Called locked.
func (s *Store) entry(id string, p parts, now time.Time) entry {
	if p == maintenance {
		return entry{parts: p, id: id, maintained: s.maintained[id]}
	}
	if c := s.active[id]; c != nil {
		return entry{parts: p &^ final, id: id, call: s.journal.unpack(c, p)}
	}
	if f := s.over[id]; f != nil && now.Before(f.expires) {
		return entry{parts: everything | final, id: id, call: s.journal.unpack(f.call, everything), expires: f.expires}
	}
	return entry{parts: final, id: id, call: new(store.Call), expires: now}
}

// unpack returns what an entry of these parts holds of a call, until it is called
// again. Called locked.
func (j *journal) unpack(c *store.Packed, p parts) *store.Call {
	if p&whole != 0 {
		j.entry = c.Call()
		return &j.entry
	}
	for _, side := range store.Sides {
		leg := j.entry.Leg(side)
		leg.Health, leg.LocalMark = c.Health(side), c.Mark(side)
	}
	return &j.entry
}

// meta is how each frame begins.
func (s *Store) meta() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c codec
	key := string(s.tagKey)
	number(&c, &s.epoch)
	text(&c, &key)
	return c.out
}

// Close ends the use of the directory. Run does it at its end.
func (s *Store) Close() error {
	j := s.journal
	if j == nil {
		return nil
	}
	var errs []error
	for _, f := range []*os.File{j.out.file, j.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	j.out.file, j.lock = nil, nil
	return errors.Join(errs...)
}
