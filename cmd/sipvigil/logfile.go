package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// logDelay is how long a line may wait for others to be written with it.
	logDelay = 100 * time.Millisecond
	// logBytes are not waited with.
	logBytes = 256 << 10
	// mostLog is what waits for who does not read. Lines beyond that are lost.
	mostLog = 4 << 20
	// lastLog is how long the end of the process waits for the last lines.
	lastLog = time.Second
)

// logWriter writes lines together. Nothing runs while there are none, nobody
// who logs waits for who reads, and it does not ask for what is written to be
// on disk: that would hold up all others who write there.
type logWriter struct {
	to io.Writer

	mu      sync.Mutex // guards what is below
	waiting []byte
	spare   []byte // to be filled next
	lost    int    // lines that there was no room for
	timer   *time.Timer
	busy    chan struct{} // closed when nothing waits any more; nil while nobody writes
}

// Write implements io.Writer. What cannot be written is lost.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting)+len(line) > mostLog {
		l.lost++
		return len(line), nil
	}
	first := len(l.waiting) == 0
	l.waiting = append(l.waiting, line...)
	switch {
	case l.busy != nil: // and will write this, too
	case l.timer == nil:
		l.timer = time.AfterFunc(logDelay, func() { _ = l.Sync() })
	case first:
		l.timer.Reset(logDelay)
	case len(l.waiting) >= logBytes:
		l.timer.Reset(0)
	}
	return len(line), nil
}

// Sync implements zapcore.WriteSyncer: it writes what waits.
func (l *logWriter) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if busy := l.busy; busy != nil {
		l.mu.Unlock()
		<-busy
		l.mu.Lock()
		return nil
	}
	l.busy = make(chan struct{})
	var faults []error
	for len(l.waiting)+l.lost > 0 {
		lines, lost := l.waiting, l.lost
		l.waiting, l.spare, l.lost = l.spare[:0], nil, 0
		l.mu.Unlock()
		if lost > 0 {
			lines = fmt.Appendf(lines, `{"level":"warn","msg":"lines of the log are lost, nobody has read them for too long","lines":%d}`+"\n", lost)
		}
		_, err := l.to.Write(lines)
		faults = append(faults, err)
		l.mu.Lock()
		if cap(lines) <= 2*logBytes {
			l.spare = lines
		}
	}
	close(l.busy)
	l.busy = nil
	return errors.Join(faults...)
}

// end writes what waits, if somebody reads it.
func (l *logWriter) end() {
	written := make(chan error, 1)
	go func() { written <- l.Sync() }()
	select {
	case <-written:
	case <-time.After(lastLog):
	}
}
