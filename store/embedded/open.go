package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// InDir returns a store that keeps a journal in a directory, so that its
// records outlive the process. It is to be opened first.
//
// What Reserve covers is on disk. The rest follows within milliseconds. Nobody
// waits for the disk but TagKey and NextEpoch.
func InDir(dir string, log *zap.Logger) *Store {
	s := New()
	s.journal = &journal{
		dir: dir, log: log, wake: make(chan struct{}, 1),
		disk:  disk{write: (*os.File).WriteAt, sync: syncData},
		dirty: make(map[string]parts),
	}
	s.journal.out.disk = &s.journal.disk
	return s
}

// Open locks the directory, which it makes if need be, and reads the journal.
// The error says what to do. A store without a journal needs no opening.
func (s *Store) Open() error {
	if s.journal == nil {
		return nil
	}
	err := s.open()
	if err != nil {
		_ = s.Close()
	}
	return err
}

func (s *Store) open() error {
	j := s.journal
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	if err := j.acquire(); err != nil {
		return err
	}
	j.status = store.Status{Reachable: true, Since: time.Now()}
	file, err := os.OpenFile(j.path(""), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s.rewrite()
	}
	if err != nil {
		return err
	}
	j.out.file = file
	return s.load()
}

// path is a file of the journal: the journal itself, or with what it is.
func (j *journal) path(what string) string {
	name := "journal"
	if what != "" {
		name += "." + what
	}
	return filepath.Join(j.dir, name)
}

// acquire locks the directory for this process. The system frees the lock when
// the process ends, however it ends.
func (j *journal) acquire() error {
	lock, err := os.OpenFile(j.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	j.lock = lock
	if err := lockFile(lock); err != nil {
		holder, _ := os.ReadFile(lock.Name()) // only to help
		return fmt.Errorf("%s is in use by another sipvigil (process %s): stop that one, or choose another directory: %w",
			j.dir, strings.TrimSpace(string(holder)), err)
	}
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// load reads the journal. What a crash left half written at its end is cut off:
// nobody was told that it was there. Of damage before that only the damaged
// frames are lost, and a copy of the file is kept: a mark that falls back is
// made good by the jump after a restart, and a call that ended meanwhile is
// found dead by its probes.
func (s *Store) load() error {
	j := s.journal
	w := &j.out
	path := j.path("")
	mark, err := readHead(w.file)
	if err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	end, damaged, size, err := readFrames(w.file, mark, func(payload []byte) error { return s.replay(payload, now) })
	if err != nil {
		return fmt.Errorf("read %s: %w (move it away to start without the calls in it)", path, err)
	}
	for _, d := range damaged {
		j.log.Error("the journal is damaged, calls that changed there may be lost: check the disk",
			zap.String("file", path), zap.Int64("from", d.from), zap.Int64("to", d.to))
	}
	if len(damaged) > 0 {
		aside := j.path("damaged")
		_ = os.Remove(aside)
		if err := os.Link(path, aside); err != nil {
			return fmt.Errorf("keep the damaged journal: %w", err)
		}
		j.abandon()
		j.stir() // the first commit writes a new one
		return nil
	}
	if size > end {
		j.log.Warn("cut off what a crash left half written at the end of the journal",
			zap.String("file", path), zap.Int64("at", end), zap.Int64("bytes", size-end))
		if err := w.file.Truncate(end); err != nil {
			return err
		}
		if err := j.disk.sync(w.file); err != nil {
			return err
		}
	}
	w.mark, w.at = mark, end
	return nil
}

// errEntry is an entry that is whole, but none that this version writes.
var errEntry = errors.New("it holds what this sipvigil does not know")

// replay does again what a frame says was done. Called locked.
func (s *Store) replay(payload []byte, now time.Time) error {
	meta := codec{reading: true, left: string(payload[:min(len(payload), 256)])}
	size := len(meta.left)
	epoch, key := int64(0), ""
	number(&meta, &epoch)
	text(&meta, &key)
	if meta.broken {
		return errEntry
	}
	s.epoch = max(s.epoch, epoch)
	if key != "" {
		s.tagKey = []byte(key)
	}
	for rest := payload[size-len(meta.left):]; len(rest) > 0; {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return errEntry
		}
		c := codec{reading: true, left: string(rest[n:][:length])}
		var e entry
		c.entry(&e)
		if c.broken || c.left != "" {
			return errEntry
		}
		s.again(&e, now)
		rest = rest[n:][length:]
	}
	return nil
}

// again does what an entry says. Called locked.
func (s *Store) again(e *entry, now time.Time) {
	if e.parts&maintenance != 0 {
		s.maintain(e)
		return
	}
	if s.over[e.id] != nil {
		return
	}
	c := s.active[e.id]
	if e.parts&whole != 0 {
		c = s.update(*e.call)
	}
	if c == nil {
		return // of a call that is over, or was lost to damage
	}
	for _, side := range store.Sides {
		if e.parts&healthOf(side) != 0 {
			c.SetHealth(side, e.call.Leg(side).Health)
		}
		if e.parts&markOf(side) != 0 {
			c.Reserve(side, e.call.Leg(side).LocalMark)
		}
	}
	if e.parts&final != 0 {
		delete(s.active, e.id)
		if now.Before(e.expires) {
			s.retain(&finished{id: e.id, call: c, expires: e.expires})
		}
	}
}
