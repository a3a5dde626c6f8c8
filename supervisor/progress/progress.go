// Package progress keeps how far those things are that take a while: a start
// with many calls, an adoption, a batch of hang-ups, a drain. Who does such a
// thing begins a Task on the Board and tells it of each step; the Board logs
// what goes on for long, and lists all for who wants to show it.
package progress

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

const (
	keep      = time.Minute // what has ended is listed for so long
	most      = 64          // what is listed at all
	logFirst  = 5 * time.Second
	logSeldom = 10 * time.Minute // between two lines at the most
	rest      = time.Hour        // of Run, when nothing is under way
)

// Board lists what a node does. A nil Board keeps nothing.
type Board struct {
	node  string
	log   *zap.Logger
	begun chan struct{} // tells Run that there is something to watch

	mu    sync.Mutex
	tasks []*Task // in the order in which they began
}

// Task is one thing that takes a while. A nil Task takes note of nothing.
type Task struct {
	board *Board

	now  store.Progress // guarded by the lock of the board, and so is
	next time.Time      // when it is logged
}

// New returns a Board of this node with nothing on it.
func New(node string, log *zap.Logger) *Board {
	return &Board{node: node, log: log, begun: make(chan struct{}, 1)}
}

// Node is whose Board this is.
func (b *Board) Node() string {
	if b == nil {
		return ""
	}
	return b.node
}

// Begin takes note that something begins. total is how many calls it is about,
// 0 if that is not known. Whoever begins a Task ends it.
func (b *Board) Begin(what store.Task, of string, total int) *Task {
	if b == nil {
		return nil
	}
	now := time.Now()
	t := &Task{board: b, next: now.Add(logFirst), now: store.Progress{
		ID: rand.Text()[:12], Node: b.node, What: what, Of: of, Total: total, Began: now.UTC(),
	}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tasks = append(b.tasks, t)
	b.forget(now)
	select {
	case b.begun <- struct{}{}:
	default:
	}
	return t
}

// Add takes note that n more calls are done.
func (t *Task) Add(n int) {
	t.change(func(p *store.Progress) { p.Done += n })
}

// Left takes note that n calls are not done yet. There may be more of them than
// before.
func (t *Task) Left(n int) {
	t.change(func(p *store.Progress) {
		p.Total = max(p.Total, n)
		p.Done = p.Total - n
	})
}

// End takes note that nothing more is done.
func (t *Task) End() {
	t.change(func(p *store.Progress) { p.Ended = time.Now().UTC() })
}

func (t *Task) change(do func(*store.Progress)) {
	if t == nil {
		return
	}
	t.board.mu.Lock()
	defer t.board.mu.Unlock()
	if t.now.Ended.IsZero() {
		do(&t.now)
	}
}

// List returns what goes on, and what has ended within the last minute, in the
// order in which it began.
func (b *Board) List() []store.Progress {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(time.Now())
	var list []store.Progress
	for _, t := range b.tasks {
		list = append(list, t.now)
	}
	return list
}

// forget takes off the Board what ended a while ago, and sooner where there is
// too much. Called locked.
func (b *Board) forget(now time.Time) {
	over := len(b.tasks) - most
	b.tasks = slices.DeleteFunc(b.tasks, func(t *Task) bool {
		if t.now.Ended.IsZero() || over <= 0 && now.Sub(t.now.Ended) < keep {
			return false
		}
		over--
		return true
	})
}

// Run logs what goes on for long, more and more seldom, until ctx ends.
func (b *Board) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.begun:
		case <-timer.C:
		}
		now := time.Now()
		list, next := b.due(now)
		for _, p := range list {
			b.log.Info("under way", zap.String("what", string(p.What)), zap.String("of", p.Of), zap.Int("done", p.Done), zap.Int("total", p.Total),
				zap.Duration("took", time.Since(p.Began)))
		}
		timer.Reset(next.Sub(now))
	}
}

// due are those that are to be logged now, and when the next one is.
func (b *Board) due(now time.Time) (list []store.Progress, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next = now.Add(rest)
	for _, t := range b.tasks {
		if !t.now.Ended.IsZero() {
			continue
		}
		if !now.Before(t.next) {
			t.next = now.Add(min(now.Sub(t.now.Began), logSeldom))
			list = append(list, t.now)
		}
		if t.next.Before(next) {
			next = t.next
		}
	}
	return list, next
}
