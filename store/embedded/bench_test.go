package embedded_test

import (
	"os"
	"testing"

	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/storetest"
)

// benchmarkJournal measures changes of 5,000 calls until they are on disk, and
// how many bytes each appends.
func benchmarkJournal(b *testing.B, change func(s *embedded.Store, c *store.Call)) {
	s := open(b, b.TempDir())
	written := 0
	s.Disk(func(f *os.File, frame []byte, at int64) (int, error) {
		written += len(frame)
		return f.WriteAt(frame, at)
	}, embedded.SyncData)
	calls := manyCalls(5000)
	for i := range calls {
		s.Save(calls[i])
	}
	commit(b, s)
	written = 0
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		change(s, &calls[n%len(calls)])
		if n++; n%len(calls) == 0 {
			commit(b, s)
		}
	}
	commit(b, s)
	b.ReportMetric(float64(written)/float64(n), "B-on-disk/op")
}

func BenchmarkJournalSave(b *testing.B) {
	benchmarkJournal(b, func(s *embedded.Store, c *store.Call) { s.Save(*c) })
}

func BenchmarkJournalSaveHealth(b *testing.B) {
	h := storetest.Health()
	benchmarkJournal(b, func(s *embedded.Store, c *store.Call) {
		s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: h})
	})
}

func BenchmarkJournalReserve(b *testing.B) {
	benchmarkJournal(b, func(s *embedded.Store, c *store.Call) {
		leg := c.Leg(store.Caller)
		leg.LocalMark += 16
		s.Reserve(c.ID, store.Caller, leg.LocalMark, func(uint32) {})
	})
}

func BenchmarkJournalOpen50000(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir)
	calls := manyCalls(50_000)
	for i := range calls {
		s.Save(calls[i])
	}
	commit(b, s)
	closed(b, s)
	for b.Loop() {
		s := open(b, dir)
		if s.Held() != len(calls) {
			b.Fatal(s.Held())
		}
		closed(b, s)
	}
}

func manyCalls(n int) []store.Call {
	calls := make([]store.Call, n)
	for i := range calls {
		calls[i] = storetest.Call()
	}
	return calls
}
