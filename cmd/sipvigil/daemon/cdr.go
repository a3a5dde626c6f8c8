package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"go.uber.org/zap"
	"gopkg.in/natefinch/lumberjack.v2"
)

// cdrQueue is how many records wait for a disk that is slow.
const cdrQueue = 16384

// cdrFile writes call detail records, one line of JSON each, to a file that is
// rotated by size.
type cdrFile struct {
	out   *lumberjack.Logger
	lines chan []byte
	log   *zap.Logger

	mu   sync.Mutex
	lost int // records that were not written, since the last that was
}

func newCDRFile(cfg CDR, log *zap.Logger) *cdrFile {
	return &cdrFile{
		out:   &lumberjack.Logger{Filename: cfg.File, MaxSize: cfg.MaxMB, MaxBackups: cfg.Keep},
		lines: make(chan []byte, cdrQueue),
		log:   log.With(zap.String("file", cfg.File)),
	}
}

// check finds out whether the file can be written before the first record is lost.
func (f *cdrFile) check() error {
	err := os.MkdirAll(filepath.Dir(f.out.Filename), 0o755)
	var file *os.File
	if err == nil {
		file, err = os.OpenFile(f.out.Filename, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return fmt.Errorf("cdr.file: %w", err)
	}
	return nil
}

// record takes one line and returns at once.
func (f *cdrFile) record(line []byte) {
	select {
	case f.lines <- line:
	default:
		f.lose("the disk is too slow", nil)
	}
}

// run writes until ctx ends, and then what is left.
func (f *cdrFile) run(ctx context.Context) {
	for {
		select {
		case line := <-f.lines:
			f.write(line)
			continue
		default:
		}
		select {
		case line := <-f.lines:
			f.write(line)
		case <-ctx.Done():
			if len(f.lines) > 0 {
				continue
			}
			if err := f.out.Close(); err != nil {
				f.log.Error("closing the file of call detail records failed", zap.Error(err))
			}
			return
		}
	}
}

func (f *cdrFile) write(line []byte) {
	if _, err := f.out.Write(line); err != nil {
		f.lose("the file cannot be written", err)
		return
	}
	f.mu.Lock()
	lost := f.lost
	f.lost = 0
	f.mu.Unlock()
	if lost > 0 {
		f.log.Warn("call detail records are written again", zap.Int("lost", lost))
	}
}

// lose counts a record that is lost, and says so for the first of several.
func (f *cdrFile) lose(why string, err error) {
	f.mu.Lock()
	f.lost++
	first := f.lost == 1
	f.mu.Unlock()
	if first {
		f.log.Error("call detail records are lost: look at the disk, and at who may write to the directory",
			zap.String("reason", why), zap.Error(err))
	}
}
