package daemon

import (
	"context"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sipvigil/store/embedded"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func TestADataDirectoryOfAnotherProcessIsAnError(t *testing.T) {
	dir := t.TempDir()
	other := embedded.InDir(dir, zap.NewNop())
	if err := other.Open(); err != nil {
		t.Fatal(err)
	}
	d := withStore(t, Store{URL: "embedded", Data: dir}, zap.NewNop())
	wantPrefix := "store.data: " + dir + " is in use by another sipvigil"
	if err := d.Run(t.Context()); err == nil || err.Error()[:min(len(err.Error()), len(wantPrefix))] != wantPrefix {
		t.Errorf("%v, want %s", err, wantPrefix)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Listen(); err != nil {
		t.Fatal(err)
	}
	d.close()
	if err := other.Open(); err != nil {
		t.Errorf("after the sockets were closed: %v", err)
	}
	_ = other.Close()
}

// withStore is a daemon of storetest's node that sends no probes for an hour.
func withStore(t testing.TB, st Store, log *zap.Logger) *Daemon {
	t.Helper()
	return node(t, storetest.Node, st, log)
}

// node is a daemon that sends no probes for an hour.
func node(t testing.TB, name string, st Store, log *zap.Logger) *Daemon {
	t.Helper()
	c := Default()
	c.Node, c.Store = name, st
	c.Store.OnOutage = "accept"
	c.SIP.Listen, c.Admin.Listen = []string{"udp://127.0.0.1:0"}, "127.0.0.1:0"
	c.Supervise.Interval = 10 * time.Hour
	d, err := New(c, log)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// BenchmarkRestart50000 measures the time from the start of a process to when
// 50,000 calls of its last run are watched again.
func BenchmarkRestart50000(b *testing.B) {
	b.Run("journal", func(b *testing.B) {
		dir := b.TempDir()
		s := embedded.InDir(dir, zap.NewNop())
		if err := s.Open(); err != nil {
			b.Fatal(err)
		}
		benchmarkRestart(b, s, Store{URL: "embedded", Data: dir})
	})
	b.Run("redis", func(b *testing.B) {
		url, _ := storetest.Redis(b)
		s, err := redis.New(redis.Config{URL: url, Node: storetest.Node}, zap.NewNop())
		if err != nil {
			b.Fatal(err)
		}
		benchmarkRestart(b, s, Store{URL: url})
	})
}

func benchmarkRestart(b *testing.B, s storetest.Store, st Store) {
	const calls = 50_000
	stop := storetest.Start(b, s)
	for range calls {
		s.Save(storetest.Call())
	}
	storetest.Settled(b, s)
	stop()
	var slowest, cpu time.Duration
	for b.Loop() {
		start, before := time.Now(), used(b)
		watched := make(chan int64, 1)
		log := zap.New(core{"calls read back", watched})
		d := withStore(b, st, log)
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		if n := storetest.Receive(b, "calls are read back", watched); n != calls {
			b.Errorf("%d calls are watched, want %d", n, calls)
		}
		slowest, cpu = max(slowest, time.Since(start)), cpu+used(b)-before
		b.StopTimer()
		checkJump(b, calls, d)
		cancel()
		if err := storetest.Receive(b, "the daemon stops", ended); err != nil {
			b.Error(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(slowest.Seconds(), "s/slowest-restart")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/restart")
}

// used is the processor time that this process has taken, without redis-server's.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// core is a log that hears the number of calls in a line.
type core struct {
	line  string
	calls chan int64
}

func (c core) Enabled(zapcore.Level) bool        { return true }
func (c core) With([]zapcore.Field) zapcore.Core { return c }
func (c core) Sync() error                       { return nil }

func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Message == c.line {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c core) Write(_ zapcore.Entry, fields []zapcore.Field) error {
	for _, f := range fields {
		if f.Key == "calls" {
			c.calls <- f.Integer
		}
	}
	return nil
}
