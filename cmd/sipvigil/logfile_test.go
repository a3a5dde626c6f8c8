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
		synctest.Wait()
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

func TestALogThatNobodyReadsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l := &logWriter{to: w}
		line := []byte(strings.Repeat("x", 1023) + "\n")
		_, _ = l.Write(line)
		time.Sleep(logDelay)
		synctest.Wait()
		for range mostLog/len(line) + 900 {
			_, _ = l.Write(line) // while the first one is on its way
		}
		began := time.Now()
		l.end()
		if took := time.Since(began); took != lastLog {
			t.Errorf("the end waited for %v, want %v", took, lastLog)
		}
		var got []byte
		go func() { got, _ = io.ReadAll(r) }()
		l.end()
		w.Close()
		synctest.Wait()
		want := strings.Repeat(string(line), 1+mostLog/len(line)) +
			`{"level":"warn","msg":"lines of the log are lost, nobody has read them for too long","lines":900}` + "\n"
		if string(got) != want {
			t.Errorf("%d bytes came, want %d; the last are %q", len(got), len(want), got[max(0, len(got)-200):])
		}
	})
}
