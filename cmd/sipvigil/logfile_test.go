package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinesOfTheLogAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &logWriter{to: &out}
		check := func(want string) {
			t.Helper()
			l.mu.Lock() // a timer writes with it
			defer l.mu.Unlock()
			if got := out.String(); got != want {
				t.Errorf("written %q, want %q", got, want)
			}
			out.Reset()
		}
		for range 2 {
			_, _ = l.Write([]byte("a\n"))
			time.Sleep(logDelay - time.Nanosecond)
			_, _ = l.Write([]byte("b\n"))
			check("")
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			check("a\nb\n")
			time.Sleep(time.Hour)
		}
		many := strings.Repeat("x", logBytes-1)
		_, _ = l.Write([]byte(many))
		check("")
		_, _ = l.Write([]byte("\n"))
		check(many + "\n")
		_, _ = l.Write([]byte("last\n"))
		_ = l.Sync()
		check("last\n")
		time.Sleep(logDelay)
		synctest.Wait()
		check("")
	})
}

func TestALogThatCannotBeWrittenHoldsUpNobody(t *testing.T) {
	r, w := io.Pipe()
	_ = r.Close()
	l := &logWriter{to: w}
	if _, err := l.Write([]byte("lost\n")); err != nil {
		t.Error(err)
	}
	if err := l.Sync(); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if err := l.Sync(); err != nil {
		t.Error("again:", err)
	}
}
