package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// benchmarkWrites measures changes of 5,000 calls, the way to Redis and back
// included.
func benchmarkWrites(b *testing.B, change func(s *redis.Store, c *store.Call)) {
	url, _ := storetest.Redis(b)
	s := open(b, redis.Config{URL: url})
	s.Linger(time.Millisecond)
	storetest.Start(b, s)
	calls := manyCalls(5000)
	for i := range calls {
		s.Save(calls[i])
	}
	storetest.Settled(b, s)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		change(s, &calls[n%len(calls)])
		if n++; n%len(calls) == 0 {
			storetest.Settled(b, s)
		}
	}
	storetest.Settled(b, s)
}

func BenchmarkSave(b *testing.B) {
	benchmarkWrites(b, func(s *redis.Store, c *store.Call) { s.Save(*c) })
}

// BenchmarkLife measures what one call asks of the store: it is saved when it is
// answered, and once more when it has ended.
func BenchmarkLife(b *testing.B) {
	url, _ := storetest.Redis(b)
	s := open(b, redis.Config{URL: url})
	storetest.Start(b, s)
	calls := make([]store.Call, 500)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c := &calls[n%len(calls)]
		if *c = typicalCall(); n%len(calls) < len(calls)-1 {
			s.Save(*c)
			continue
		}
		storetest.Settled(b, s)
		for i := range calls {
			s.Record([]byte("{}"))
			s.Finish(calls[i], time.Minute)
		}
		storetest.Settled(b, s)
	}
}

func BenchmarkSaveHealth(b *testing.B) {
	h := storetest.Health()
	benchmarkWrites(b, func(s *redis.Store, c *store.Call) {
		s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: h})
	})
}

func BenchmarkReserve(b *testing.B) {
	benchmarkWrites(b, func(s *redis.Store, c *store.Call) {
		leg := c.Leg(store.Caller)
		leg.LocalMark += 16
		s.Reserve(c.ID, store.Caller, leg.LocalMark, func(uint32) {})
	})
}

func BenchmarkReadBack50000(b *testing.B) {
	url, _ := storetest.Redis(b)
	s := open(b, redis.Config{URL: url})
	storetest.Start(b, s)
	calls := manyCalls(50_000)
	for i := range calls {
		s.Save(calls[i])
	}
	storetest.Settled(b, s)
	for b.Loop() {
		n := 0
		err := s.Owned(b.Context(), storetest.Node, func(store.Call) bool { n++; return true })
		if err != nil || n != len(calls) {
			b.Fatal(n, err)
		}
	}
}

func manyCalls(n int) []store.Call {
	calls := make([]store.Call, n)
	for i := range calls {
		calls[i] = storetest.Call()
	}
	return calls
}

// callKey is the key of a call under the default prefix.
func callKey(id string) string {
	return fmt.Sprintf("{sv:%s}:call:%s", id[len(id)-2:], uuid.MustParse(id))
}

// textKey is the key of a call's text under the default prefix.
func textKey(id string) string { return fmt.Sprintf("{sv:%s}:text:%s", id[len(id)-2:], id) }

// BenchmarkList50000 reads pages of 100 calls.
func BenchmarkList50000(b *testing.B) {
	url, server := storetest.Redis(b)
	admin := connect(b, server)
	s := open(b, redis.Config{URL: url})
	storetest.Start(b, s)
	for range 50_000 {
		s.Save(typicalCall())
	}
	storetest.Settled(b, s)
	b.ReportAllocs()
	sent, pages := info(b, admin, "stats", "total_net_output_bytes:"), 0.0
	var q store.Query
	for b.Loop() {
		page, err := s.List(b.Context(), q)
		if err != nil || len(page.Calls) != 100 {
			b.Fatal(len(page.Calls), err)
		}
		q.Cursor = page.Next
		pages++
	}
	b.ReportMetric((info(b, admin, "stats", "total_net_output_bytes:")-sent)/pages, "B-from-redis/page")
}
