package redis_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// watched is a store whose log is kept.
func watched(t *testing.T, cfg redis.Config) (*redis.Store, *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	s := openLogging(t, cfg, zap.New(core))
	s.Patient()
	return s, logs
}

// messages are those of a log, with their pending field.
func messages(logs *observer.ObservedLogs) []string {
	var lines []string
	for _, e := range logs.All() {
		line := e.Level.String() + ": " + e.Message
		if n, ok := e.ContextMap()["pending"]; ok {
			line += ", pending " + strconv.FormatInt(n.(int64), 10)
		}
		lines = append(lines, line)
	}
	return lines
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func get(t *testing.T, s *redis.Store, id string) store.Call {
	t.Helper()
	storetest.Settled(t, s)
	c, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func away(t *testing.T, s *redis.Store) {
	t.Helper()
	storetest.Eventually(t, "the store is seen to be away", func() bool { return s.Status().LastError != "" })
}

func TestCallsGoOnWithoutRedisAndAreWrittenWhenItComes(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	server.Stop()
	s, logs := watched(t, redis.Config{URL: url})
	storetest.Start(t, s)
	away(t, s)

	calls := manyCalls(700)
	covered := make(chan uint32, 10_000)
	before := time.Now()
	for range 10 { // each would take its time-out if it waited for Redis
		for i := range calls {
			s.Save(calls[i])
			s.SaveHealth(store.LegHealth{ID: calls[i].ID, Side: store.Callee, Health: storetest.Health()})
			s.Reserve(calls[i].ID, store.Caller, 32, func(mark uint32) { covered <- mark })
		}
	}
	storetest.Eventually(t, "no batch is being tried", func() bool { return s.Status().Pending == len(calls) })
	saved := time.Now()
	got := s.Status()
	if got.LastError == "" {
		t.Error("status has no error")
	}
	if first := saved.Add(-got.Behind); first.Before(before) || got.Behind == 0 {
		t.Errorf("%v behind, %v after the first change", got.Behind, saved.Sub(before))
	}
	same(t, "status", store.Status{Backend: "redis", Since: got.Since, Pending: 700, Behind: got.Behind, LastError: got.LastError}, got)
	same(t, "covered", 0, len(covered))
	unavailable(t, s)

	server.Start()
	storetest.Settled(t, s)
	for _, want := range calls {
		want.Leg(store.Caller).LocalCSeq, want.Leg(store.Caller).LocalMark = 32, 32
		want.Leg(store.Callee).Health = storetest.Health()
		same(t, "call", want, get(t, s, want.ID))
	}
	same(t, "covered", 7000, len(covered))
	storetest.Eventually(t, "the store is seen to be back", func() bool { return s.Status().Reachable })
	got = s.Status()
	same(t, "status", store.Status{Backend: "redis", Reachable: true, Since: got.Since}, got)
	same(t, "log", []string{
		"warn: store is not reachable, calls go on without it",
		"info: store is reachable again, pending 700",
	}, messages(logs))
	fields := logs.All()[0].ContextMap()
	same(t, "address in the log", any(server.Addr()), fields["addr"])
	if text, _ := fields["error"].(string); !strings.Contains(text, "refused") {
		t.Errorf("error in the log: %q", text)
	}
}

// unavailable reads all that can be read.
func unavailable(t *testing.T, s *redis.Store) {
	t.Helper()
	_, getErr := s.Get(t.Context(), "x")
	_, listErr := s.List(t.Context(), store.Query{})
	_, keyErr := s.TagKey(t.Context())
	_, epochErr := s.NextEpoch(t.Context())
	for what, err := range map[string]error{
		"get": getErr, "list": listErr, "tag key": keyErr, "epoch": epochErr,
		"owned": s.Owned(t.Context(), storetest.Node, func(store.Call) bool { return true }),
	} {
		if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want %v", what, err, store.ErrUnavailable)
		}
	}
}

func TestAConnectionAndItsLossAreNoticedWithoutAnyCall(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	s.CheckEvery(10 * time.Millisecond)
	storetest.Start(t, s)
	storetest.Eventually(t, "the store is connected", func() bool { return s.Status().Reachable })
	server.Kill()
	away(t, s)
	server.Start()
	storetest.Eventually(t, "the store is back", func() bool { return s.Status().Reachable })
	same(t, "log", []string{
		"info: store is connected",
		"warn: store is not reachable, calls go on without it",
		"info: another redis-server answers, or it was restarted or emptied: all calls are written again",
		"info: store is reachable again, pending 0",
	}, messages(logs))
}

func TestAReadThatFailsShowsInTheStatus(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s, _ := watched(t, redis.Config{URL: url})
	s.CheckEvery(time.Hour)
	storetest.Start(t, s)
	storetest.Eventually(t, "the store is connected", func() bool { return s.Status().Reachable })
	server.Kill()
	unavailable(t, s)
	away(t, s)
}

func TestWhileRedisDoesNotAnswerChangesAreMerged(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	c := storetest.Call()
	s.Save(c)
	storetest.Settled(t, s)

	server.Pause()
	covered := make(chan uint32, 5000)
	for mark := uint32(1); mark <= 5000; mark++ {
		s.Reserve(c.ID, store.Callee, mark, func(mark uint32) { covered <- mark })
		c.Leg(store.Callee).RemoteCSeq = mark
		s.Save(c)
	}
	away(t, s)
	same(t, "covered without an answer", 0, len(covered))
	server.Resume()
	want := c
	want.Leg(store.Callee).LocalCSeq, want.Leg(store.Callee).LocalMark = 5000, 5000
	same(t, "call", want, get(t, s, c.ID))
	same(t, "covered", 5000, len(covered))
	version, err := connect(t, server).HGet(t.Context(), callKey(c.ID), "version").Int()
	if err != nil || version > 100 {
		t.Errorf("the call was written %d times, %v", version, err)
	}
}

func TestACallThatCameAndWentWhileRedisWasAwayIsWrittenOnce(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	server.Kill()
	storetest.Start(t, s)
	away(t, s)
	c := storetest.Call()
	s.Save(c)
	s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()})
	s.Finish(c, time.Hour)
	server.Start()
	want := c
	want.State = store.Terminated
	want.Leg(store.Caller).Health = storetest.Health()
	same(t, "call", want, get(t, s, c.ID))
	admin := connect(t, server)
	keys := admin.Keys(t.Context(), "{*}:[ct]*").Val()
	slices.Sort(keys)
	same(t, "keys", []string{callKey(c.ID), textKey(c.ID)}, keys)
	same(t, "version", "1", admin.HGet(t.Context(), callKey(c.ID), "version").Val())
}

func TestCallsThatComeAndGoWhileRedisIsAwayDoNotPileUp(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	call := func() store.Call {
		c := storetest.Call()
		c.Started = time.Now().UTC().Truncate(time.Millisecond)
		s.Save(c)
		return c
	}
	before := []store.Call{call(), call(), call()}
	get(t, s, before[2].ID)
	server.Kill()
	away(t, s)
	for _, c := range before { // these Redis may know
		s.Finish(c, time.Hour)
	}
	goesOn := call()
	var gone []store.Call
	for range redis.MostGone * 3 / 2 {
		c := call()
		c.End.At = time.Now().UTC().Truncate(time.Millisecond)
		s.Finish(c, time.Hour)
		gone = append(gone, c)
	}
	if n := s.Status().Pending; n > redis.MostGone*6/5 {
		t.Errorf("%d calls wait for Redis, %d have come and gone", n, len(gone))
	}
	server.Start()
	for _, c := range append(before, gone[len(gone)-1]) {
		c.State = store.Terminated
		same(t, "call that is over", c, get(t, s, c.ID))
	}
	same(t, "call that goes on", goesOn, get(t, s, goesOn.ID))
	if _, err := s.Get(t.Context(), gone[len(gone)/10].ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one of the calls that went first: %v", err)
	}
}

func TestWhatRedisLostIsWrittenAgain(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	var s *redis.Store
	owned := map[string]store.Call{} // not changed while the store runs
	var missing []string             // belongs to Run
	s = open(t, redis.Config{URL: url, Missing: func(id string) {
		missing = append(missing, id)
		if c, ok := owned[id]; ok {
			s.Save(c)
			s.SaveHealth(store.LegHealth{ID: id, Side: store.Callee, Health: storetest.Health()})
		}
	}})
	c, unknown := storetest.Call(), storetest.Call()
	owned[c.ID] = c
	stop := storetest.Start(t, s)
	key, err := s.TagKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 41 {
		if _, err := s.NextEpoch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.Save(c)
	s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Callee, Health: storetest.Health()})
	storetest.Settled(t, s)

	server.Kill()
	server.Start()
	covered := make(chan uint32, 1)
	s.Reserve(c.ID, store.Callee, 48, func(mark uint32) { covered <- mark })
	s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: store.Health{Liveness: store.Alive}})
	s.SaveHealth(store.LegHealth{ID: unknown.ID, Side: store.Caller, Health: storetest.Health()})
	same(t, "covered", uint32(48), storetest.Receive(t, "covered is called", covered))
	want := c
	want.Leg(store.Caller).Health = store.Health{Liveness: store.Alive}
	want.Leg(store.Callee).Health = storetest.Health()
	want.Leg(store.Callee).LocalCSeq, want.Leg(store.Callee).LocalMark = 48, 48
	same(t, "call", want, get(t, s, c.ID))
	if _, err := s.Get(t.Context(), unknown.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a call that nobody saves: %v", err)
	}

	newcomer := open(t, redis.Config{URL: url, Node: "edge-2"})
	storetest.Start(t, newcomer)
	other, err := newcomer.TagKey(t.Context())
	same(t, "tag key", key, other)
	same(t, "error", error(nil), err)
	epoch, err := newcomer.NextEpoch(t.Context())
	same(t, "epoch", int64(42), epoch)
	same(t, "error", error(nil), err)
	same(t, "list", []string{c.ID}, listed(t, newcomer))
	stop()
	if len(missing) < 2 {
		t.Errorf("missing: %v, want both calls", missing)
	}
}

func listed(t *testing.T, s *redis.Store) []string {
	t.Helper()
	page, err := s.List(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range page.Calls {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestScriptsAreLoadedAgainWhenRedisForgotThem(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	storetest.Start(t, s)
	admin := connect(t, server)
	c := storetest.Call()
	s.Save(c)
	storetest.Settled(t, s)
	for mark := uint32(100); mark < 110; mark++ {
		if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		want := c
		want.Leg(store.Callee).LocalCSeq, want.Leg(store.Callee).LocalMark = mark, mark
		s.Reserve(c.ID, store.Callee, mark, nil)
		same(t, "call", want, get(t, s, c.ID))
	}
	same(t, "log", []string{"info: store is connected"}, messages(logs))
}

func TestRunWritesWhatIsQueuedBeforeItReturns(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	s.Grace(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := manyCalls(1000)
	for i := range calls {
		s.Save(calls[i])
	}
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	same(t, "pending", 0, s.Status().Pending)
	n, err := connect(t, server).Eval(t.Context(), "return #redis.call('KEYS', '*:call:*')", nil).Int()
	same(t, "calls", len(calls), n)
	same(t, "error", error(nil), err)
	same(t, "log", []string{"info: store is connected"}, messages(logs))
}

func TestRunReturnsWithoutRedis(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	stop := storetest.Start(t, s)
	storetest.Eventually(t, "the store is connected", func() bool { return s.Status().Reachable })
	server.Pause()
	s.Save(storetest.Call())
	stop()
	same(t, "last line of the log", "warn: stopped with calls that could not be written, pending 1",
		messages(logs)[logs.Len()-1])
}
