package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/storetest"
)

// open opens the store of a directory, which ends with the test unless it ends
// before.
func open(t testing.TB, dir string) *embedded.Store {
	t.Helper()
	s := embedded.InDir(dir, zap.NewNop())
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// commit writes what has changed.
func commit(t testing.TB, s *embedded.Store) {
	t.Helper()
	if !s.Commit() {
		t.Fatalf("not written: %s", s.Status().LastError)
	}
}

// closed ends a store as a crash would: nothing more is written.
func closed(t testing.TB, s *embedded.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, s *embedded.Store, id string) store.Call {
	t.Helper()
	c, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func journalOf(dir string) string { return filepath.Join(dir, "journal") }

func contents(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(journalOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stat(t testing.TB, dir string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(journalOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// holding makes a directory with this journal.
func holding(t testing.TB, journal []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(journalOf(dir), journal, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConformanceWithAJournal(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, t.TempDir()) })
}

func TestEveryFieldOfACallIsInTheJournal(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	want := store.Call{}
	fill(t, reflect.ValueOf(&want).Elem())
	want.Text = "" // says nothing that the others do not
	for _, side := range store.Sides {
		leg := want.Leg(side)
		leg.LocalCSeq, leg.LocalAsked, leg.Held = leg.LocalMark, 0, "" // not stored
	}
	s.Save(want)
	for _, side := range store.Sides {
		s.SaveHealth(store.LegHealth{ID: want.ID, Side: side, Health: want.Leg(side).Health})
	}
	commit(t, s)
	closed(t, s)
	same(t, "call", want, read(t, open(t, dir), want.ID))
}

// fill gives every field of a record another value than the zero one.
func fill(t *testing.T, v reflect.Value) {
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		*at = time.UnixMilli(1234567890123).UTC()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(1))
	case reflect.String:
		v.SetString("text")
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MaxInt64)
	case reflect.Uint32:
		v.SetUint(math.MaxUint32)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("what is a %v?", v.Type())
	}
}

func TestAStoreIsOpenedAsItWasClosed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	stop := storetest.Start(t, s)
	key, err := s.TagKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.NextEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	going, over, forgotten := storetest.Call(), storetest.Call(), storetest.Call()
	for _, c := range []store.Call{going, over, forgotten} {
		s.Save(c)
		s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Callee, Health: storetest.Health()})
	}
	s.Reserve(going.ID, store.Caller, 64, nil)
	storetest.Settled(t, s)
	s.Reserve(going.ID, store.Caller, 80, nil)
	s.Finish(over, time.Hour)
	s.Finish(forgotten, 0)
	stop() // writes the rest

	going.Leg(store.Callee).Health, over.Leg(store.Callee).Health = storetest.Health(), storetest.Health()
	going.Leg(store.Caller).LocalMark, going.Leg(store.Caller).LocalCSeq = 80, 80
	over.State = store.Terminated
	for range 2 { // reading changes nothing
		s = open(t, dir)
		same(t, "call", going, read(t, s, going.ID))
		same(t, "finished call", over, read(t, s, over.ID))
		if _, err := s.Get(t.Context(), forgotten.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("forgotten call: %v", err)
		}
		same(t, "calls", 2, s.Held())
		closed(t, s)
	}
	s = open(t, dir)
	stop = storetest.Start(t, s)
	again, err := s.TagKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tag key", key, again)
	if next, err := s.NextEpoch(t.Context()); err != nil || next <= first {
		t.Errorf("epoch %d, %v comes after %d", next, err, first)
	}
	stop()
}

func TestAFinishedCallIsForgottenInTimeAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		stop := storetest.Start(t, s)
		short, long := storetest.Call(), storetest.Call()
		s.Save(short)
		s.Finish(short, time.Minute)
		s.Finish(long, time.Hour)
		time.Sleep(time.Second)
		stop()
		time.Sleep(time.Minute)
		s = open(t, dir)
		same(t, "calls", 1, s.Held())
		stop = storetest.Start(t, s)
		time.Sleep(58 * time.Minute)
		same(t, "calls", 1, s.Held())
		time.Sleep(time.Minute)
		same(t, "calls", 0, s.Held())
		stop()
	})
}

func TestNothingIsCoveredBeforeItIsSynced(t *testing.T) {
	s := open(t, t.TempDir())
	c := storetest.Call()
	covered := make(map[uint32]bool)
	reserve := func(mark uint32) { s.Reserve(c.ID, store.Caller, mark, func(mark uint32) { covered[mark] = true }) }
	s.Save(c)
	reserve(32)
	same(t, "covered before the commit", 0, len(covered))
	s.Disk((*os.File).WriteAt, func(f *os.File) error {
		same(t, "covered before the sync", 0, len(covered))
		reserve(48) // comes too late for this one
		return embedded.SyncData(f)
	})
	commit(t, s)
	same(t, "covered", map[uint32]bool{32: true}, covered)
}

func TestADiskThatFailsCoversNothingUntilItWorksAgain(t *testing.T) {
	full := errors.New("no space left on device")
	for name, broken := range map[string]struct{ write, sync error }{
		"write": {write: full},
		"sync":  {sync: full},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				var down, covered atomic.Bool
				core, logs := observer.New(zap.InfoLevel)
				s := embedded.InDir(dir, zap.New(core))
				if err := s.Open(); err != nil {
					t.Fatal(err)
				}
				s.Disk(func(f *os.File, b []byte, at int64) (int, error) {
					if down.Load() && broken.write != nil {
						n, _ := f.WriteAt(b[:len(b)/2], at)
						return n, broken.write
					}
					return f.WriteAt(b, at)
				}, func(f *os.File) error {
					if down.Load() && broken.sync != nil {
						return broken.sync
					}
					return embedded.SyncData(f)
				})
				stop := storetest.Start(t, s)
				before, lost, c := storetest.Call(), storetest.Call(), storetest.Call()
				s.Save(before)
				s.Save(lost)
				time.Sleep(time.Second)
				file := stat(t, dir)
				down.Store(true)
				s.Save(c)
				s.Reserve(c.ID, store.Caller, 64, func(uint32) { covered.Store(true) })
				s.Finish(lost, 0)
				time.Sleep(time.Minute)
				got := s.Status()
				if got.Reachable || got.LastError != full.Error() || got.Pending != 1 || got.Behind != time.Minute || covered.Load() {
					t.Errorf("status %+v, covered %v", got, covered.Load())
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := s.NextEpoch(ctx); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("epoch: %v", err)
				}
				same(t, "warnings", 1, logs.FilterMessageSnippet("cannot be written").Len())

				// What was on disk before is still there.
				crashed, _, _, err := embedded.Replay(bytes.NewReader(contents(t, dir)))
				if err != nil {
					t.Fatal(err)
				}
				same(t, "call", before, read(t, crashed, before.ID))

				down.Store(false)
				time.Sleep(6 * time.Second)
				if got := s.Status(); !got.Reachable || got.LastError != "" || got.Pending != 0 || !covered.Load() {
					t.Errorf("status %+v, covered %v", got, covered.Load())
				}
				if os.SameFile(file, stat(t, dir)) {
					t.Error("a file of which nobody knows what it holds was written to again")
				}
				stop()
				s = open(t, dir)
				same(t, "mark", uint32(64), read(t, s, c.ID).Legs[store.Caller].LocalMark)
				same(t, "calls", 2, s.Held())
			})
		})
	}
}

func TestTheJournalIsWrittenAnewBeforeItGrowsOutOfBounds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := make([]store.Call, 100)
	for i := range calls {
		calls[i] = storetest.Call()
		calls[i].Leg(store.Caller).Session.Offer = strings.Repeat("a=candidate\r\n", 1000)
	}
	const most = 16 << 20
	shrunk, last := 0, int64(0)
	for round := range uint32(60) {
		for i := range calls {
			calls[i].Leg(store.Caller).RemoteCSeq = round
			s.Save(calls[i])
		}
		commit(t, s)
		info := stat(t, dir)
		if info.Size() < last {
			shrunk++
		}
		if last = info.Size(); last > most+most/8 {
			t.Fatalf("%d bytes for 100 calls", last)
		}
	}
	if shrunk == 0 {
		t.Error("it never was")
	}
	closed(t, s)
	s = open(t, dir)
	for _, c := range calls {
		same(t, "call", c, read(t, s, c.ID))
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	err := embedded.InDir(dir, zap.NewNop()).Open()
	want := fmt.Sprintf("%s is in use by another sipvigil (process %d): stop that one, or choose another directory", dir, os.Getpid())
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	closed(t, s)
	closed(t, open(t, dir))
}

func TestADirectoryThatCannotBeUsedIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := embedded.InDir(filepath.Join(file, "dir"), zap.NewNop()).Open(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
}
