package main

import (
	"io"
	"sync"
	"time"
)

const (
	// logDelay is how long a line may wait for others to be written with it.
	logDelay = 100 * time.Millisecond
	// logBytes are never waited with.
	logBytes = 256 << 10
)

// logWriter writes lines together. Nothing runs while there are none, and it
// does not ask for what is written to be on disk: that would hold up all others
// who write there.
type logWriter struct {
	to io.Writer

	mu      sync.Mutex // guards what is below
	waiting []byte
	timer   *time.Timer
}

// Write implements io.Writer. What cannot be written is lost.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := len(l.waiting) == 0
	l.waiting = append(l.waiting, line...)
	switch {
	case len(l.waiting) >= logBytes:
		l.flush()
	case !first:
	case l.timer == nil:
		l.timer = time.AfterFunc(logDelay, func() { _ = l.Sync() })
	default:
		l.timer.Reset(logDelay)
	}
	return len(line), nil
}

// Sync implements zapcore.WriteSyncer: it writes what waits.
func (l *logWriter) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

// flush is called locked.
func (l *logWriter) flush() error {
	if len(l.waiting) == 0 {
		return nil
	}
	_, err := l.to.Write(l.waiting)
	l.waiting = l.waiting[:0]
	return err
}
