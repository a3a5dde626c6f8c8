package redis_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// stream waits until the stream of CDRs has n entries, and returns their lines.
func stream(t *testing.T, admin *goredis.Client, n int) []string {
	t.Helper()
	var lines []string
	storetest.Eventually(t, fmt.Sprintf("the stream has %d entries", n), func() bool {
		entries, err := admin.XRange(t.Context(), "sv:cdr", "-", "+").Result()
		lines = nil
		for _, e := range entries {
			lines = append(lines, fmt.Sprint(e.Values["cdr"]))
		}
		return err == nil && len(lines) >= n
	})
	return lines
}

func TestCDRsGoToTheStreamInOrder(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	admin := connect(t, server)
	s := open(t, redis.Config{URL: url})
	var want []string
	for i := range 1000 { // more than one batch, before it runs
		line := fmt.Sprintf(`{"id":"%d"}`, i)
		want = append(want, line)
		s.Record([]byte(line))
	}
	storetest.Start(t, s)
	same(t, "lines", want, stream(t, admin, len(want)))
}

func TestCDRsGoAlongWithChangesOnce(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	admin := connect(t, server)
	s := open(t, redis.Config{URL: url})
	var want []string
	for i := range 3 { // the first ones in a pipeline that has to load the scripts
		line := fmt.Sprintf(`{"id":"%d"}`, i)
		want = append(want, line)
		s.Record([]byte(line))
		s.Save(storetest.Call())
		if i == 1 {
			storetest.Start(t, s)
		}
		if i > 0 {
			storetest.Settled(t, s)
		}
	}
	s.Save(storetest.Call())
	storetest.Settled(t, s)
	same(t, "lines", want, stream(t, admin, len(want)))
}

func TestCDRsWaitForAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	s.Record([]byte("first"))
	same(t, "lines", []string{"first"}, stream(t, connect(t, server), 1))
	server.Stop()
	s.Record([]byte("second"))
	s.Record([]byte("third"))
	server.Start() // empty: nothing was on disk
	same(t, "lines", []string{"second", "third"}, stream(t, connect(t, server), 2))
}

// Redis executes what has come before it stopped when it goes on, but the answer
// comes too late: the record is sent again.
func TestACDRWhoseAnswerWasLostIsThereOnce(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	var want []string
	for i := range 5 {
		server.Pause()
		for _, word := range []string{"first", "second"} {
			line := fmt.Sprint(word, " of ", i)
			want = append(want, line)
			s.Record([]byte(line))
		}
		s.Save(storetest.Call()) // with which they go before Redis is asked how it is
		away(t, s)
		server.Resume()
		storetest.Settled(t, s)
		same(t, "lines", want, stream(t, connect(t, server), len(want)))
	}
}

func TestCDRsAreReadNewestFirstPageByPage(t *testing.T) {
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprint("line-", i))
		s.Record([]byte(want[i]))
	}
	stream(t, connect(t, server), len(want))
	slices.Reverse(want)
	var got []string
	for place := ""; ; {
		page, err := s.Records(t.Context(), place, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			got = append(got, string(r.Line))
			if late := time.Since(r.Written); late < -time.Minute || late > time.Hour {
				t.Errorf("%s was written %v ago", r.Line, late)
			}
		}
		place = page[len(page)-1].Place
	}
	same(t, "lines", want, got)
	if _, err := s.Records(t.Context(), "1-2-3", 3); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a place that is none: %v", err)
	}
	server.Stop()
	if _, err := s.Records(t.Context(), "", 3); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
}
