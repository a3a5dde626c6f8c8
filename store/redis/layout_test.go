package redis_test

import (
	"bytes"
	"compress/flate"
	"slices"
	"strings"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// lifeKey is where a server has its life.
const lifeKey = "{sv:00}:life"

func TestAnOperatorCanReadACall(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	admin := connect(t, server)
	c := storetest.Call()
	c.ID = "019579a0-0000-7000-8000-0000000000e7"
	callee := c.Leg(store.Callee)
	callee.Dialog = store.Dialog{CallID: "x@192.0.2.1", RouteSet: []string{`"P" <sip:p1;lr>`, "a\xff\n"}}
	callee.Session = store.Session{Interval: 30 * time.Minute, MinSE: 90 * time.Second, Refresher: store.Self,
		Refreshed: c.Answered, Offer: "v=0\r\n"}
	s.Save(c)
	s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()})
	storetest.Settled(t, s)
	s.Reserve(c.ID, store.Caller, 32, nil)
	storetest.Settled(t, s)

	want := map[string]string{
		"schema": "2", "version": "2",
		"state": "confirmed", "node": "edge-1", "epoch": "1", "answered": "2026-03-01T12:00:07.456Z",

		"caller.local_cseq": "32", "caller.remote_cseq": "4711",

		"caller.liveness": "suspect", "caller.last_alive": "2026-03-01T12:05:00.789Z",
		"caller.last_evidence": "200 OPTIONS", "caller.misses": "1", "caller.rtt_ms": "12.345678",
		"caller.method": "OPTIONS", "caller.answers": "true", "caller.calibration": "discriminating",

		"callee.refreshed": "2026-03-01T12:00:07.456Z",
	}
	call, active, node, text := callKey(c.ID), "{sv:e7}:active", "{sv:e7}:node:edge-1", textKey(c.ID)
	same(t, "hash", want, admin.HGetAll(t.Context(), call).Val())
	keys := admin.Keys(t.Context(), "{*").Val()
	slices.Sort(keys)
	same(t, "keys", []string{lifeKey, active, call, node, text}, keys)
	same(t, "encoding", "listpack", admin.ObjectEncoding(t.Context(), call).Val())
	same(t, "active", []string{c.ID}, admin.SMembers(t.Context(), active).Val())
	same(t, "node", []string{c.ID}, admin.SMembers(t.Context(), node).Val())
	lives := func(key string, d time.Duration) {
		t.Helper()
		if ttl := admin.TTL(t.Context(), key).Val(); ttl > d || ttl < d-time.Minute {
			t.Errorf("%s lives %v, want %v", key, ttl, d)
		}
	}
	lives(call, 24*time.Hour)
	lives(text, 24*time.Hour+time.Minute)
	lives(active, 25*time.Hour)
	lives(node, 25*time.Hour)

	for _, key := range []string{call, active, node, text} { // as if nothing had happened for long
		if !admin.Expire(t.Context(), key, time.Hour).Val() {
			t.Fatal("cannot change the life of ", key)
		}
	}
	s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()})
	storetest.Settled(t, s)
	lives(call, 24*time.Hour)
	lives(text, 24*time.Hour+time.Minute)
	lives(active, 25*time.Hour)
	lives(node, 25*time.Hour)

	s.Finish(c, time.Minute)
	storetest.Settled(t, s)
	keys = admin.Keys(t.Context(), "{*").Val()
	slices.Sort(keys)
	same(t, "keys", []string{lifeKey, call, text}, keys)
	lives(call, time.Minute)
	lives(text, 2*time.Minute)
}

func TestTheStoreKeepsToItsPrefix(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url, Prefix: "other"})
	storetest.Start(t, s)
	c := storetest.Call()
	c.ID = "019579a0-0000-7000-8000-0000000000e7"
	s.Save(c)
	for _, ask := range []func() error{
		func() error { _, err := s.TagKey(t.Context()); return err },
		func() error { _, err := s.NextEpoch(t.Context()); return err },
	} {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Settled(t, s)
	keys := connect(t, server).Keys(t.Context(), "*").Val()
	slices.Sort(keys)
	same(t, "keys", []string{
		"other:epoch", "other:tagkey",
		"{other:00}:life", "{other:e7}:active", "{other:e7}:call:" + c.ID, "{other:e7}:node:edge-1", "{other:e7}:text:" + c.ID,
	}, keys)
}

func TestAnExpiredCallLeavesTheSets(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	admin := connect(t, server)
	gone, stays := storetest.Call(), storetest.Call()
	gone.ID, stays.ID = "019579a0-0000-7000-8000-0000000001e7", "019579a0-0000-7000-8000-0000000002e7"
	s.Save(gone)
	s.Save(stays)
	storetest.Settled(t, s)
	if admin.Del(t.Context(), callKey(gone.ID)).Val() != 1 {
		t.Fatal("the call is not there")
	}
	same(t, "list", []string{stays.ID}, listed(t, s))
	same(t, "active", []string{stays.ID}, admin.SMembers(t.Context(), "{sv:e7}:active").Val())
	err := s.Owned(t.Context(), storetest.Node, func(store.Call) bool { return true })
	same(t, "error", error(nil), err)
	same(t, "node", []string{stays.ID}, admin.SMembers(t.Context(), "{sv:e7}:node:edge-1").Val())
}

func TestOneBadRecordDoesNotHideTheOthers(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	storetest.Start(t, s)
	admin := connect(t, server)
	calls := manyCalls(10)
	for i := range calls {
		s.Save(calls[i])
	}
	storetest.Settled(t, s)
	broken := map[string]string{
		"schema": "3", "answered": "yesterday", "caller.remote_cseq": "4294967296", "epoch": "x",
	}
	bomb := packed(bytes.Repeat([]byte("x"), 2<<20))
	n := 0
	for _, text := range []string{"", "no text", bomb, packed([]byte("\n\nyesterday"))} {
		if err := admin.Set(t.Context(), textKey(calls[n].ID), text, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), calls[n].ID); err == nil {
			t.Errorf("text %.20q can be read", text)
		}
		n++
	}
	for field, value := range broken {
		key := callKey(calls[n].ID)
		if err := admin.HSet(t.Context(), key, field, value).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), calls[n].ID); err == nil {
			t.Errorf("%s=%s can be read", field, value)
		}
		n++
	}
	if err := admin.Set(t.Context(), callKey(calls[n].ID), "no hash", 0).Err(); err != nil {
		t.Fatal(err)
	}
	same(t, "list", []string{calls[9].ID}, listed(t, s))
	same(t, "lines in the log", 1+9, logs.Len())
}

// packed is a text that holds these lines.
func packed(lines []byte) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(lines)
	_ = w.Close()
	return b.String()
}

func TestAKeyThatHoldsSomethingElseDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	bad, bad2, good := storetest.Call(), storetest.Call(), storetest.Call()
	admin := connect(t, server)
	if err := admin.Set(t.Context(), callKey(bad.ID), "no hash", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.LPush(t.Context(), textKey(bad2.ID), "no string").Err(); err != nil {
		t.Fatal(err)
	}
	s.Save(bad)
	s.Save(bad2)
	s.Save(good)
	storetest.Start(t, s)
	same(t, "call", good, get(t, s, good.ID))
	same(t, "log", []string{
		"error: a key of the store holds something else, the call is not written",
		"error: a key of the store holds something else, the call is not written",
		"info: store is connected",
	}, messages(logs))
	same(t, "hash beside a text that is none", int64(0), admin.Exists(t.Context(), callKey(bad2.ID)).Val())
}

// recordOfLayout1 is what the version before this one wrote.
func recordOfLayout1(c *store.Call) map[string]any {
	hash := map[string]any{
		"schema": "1", "version": "7",
		"state": "confirmed", "node": "edge-1", "epoch": "1", "trunk_in": "pbx", "trunk_out": "carrier-a",
		"started": "2026-03-01T12:00:00.123Z", "answered": "2026-03-01T12:00:07.456Z",
		"callee.session_expires": "1800", "callee.min_se": "90", "callee.refresher": "self",
		"callee.refreshed": "2026-03-01T12:00:07.456Z", "callee.offer": "v=0\r\n",
		"callee.liveness": "suspect", "callee.last_alive": "2026-03-01T12:05:00.789Z",
		"callee.last_evidence": "200 OPTIONS", "callee.misses": "1", "callee.rtt_ms": "12.345678",
		"callee.method": "OPTIONS", "callee.answers": "true", "callee.calibration": "discriminating",
	}
	for _, side := range store.Sides {
		for name, value := range map[string]any{
			"call_id": c.Leg(side).CallID, "local_tag": "local-" + side.String(), "remote_tag": "remote-" + side.String(),
			"local_uri": `"Bob" <sip:+15550101@192.0.2.1>`, "remote_uri": "<sip:+15550100@192.0.2.10>",
			"target":    "sip:+15550100@192.0.2.10:5062;transport=udp",
			"route_set": `["<sip:p1.example.net;lr>", "<sip:p2.example.net;lr>"]`,
			"transport": "udp", "peer": "192.0.2.10:5060", "listener": "192.0.2.1:5060", "seen": "192.0.2.11", "kept": "true",
			"user_agent": "Example Phone 1.0", "allow": "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE",
			"local_cseq": "16", "remote_cseq": "4711",
		} {
			hash[side.String()+"."+name] = value
		}
	}
	return hash
}

func TestARecordOfTheLayoutBeforeIsReadAndWrittenAnew(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url, Missing: func(id string) { t.Errorf("call %s is missing", id) }})
	storetest.Start(t, s)
	admin := connect(t, server)
	want := storetest.Call()
	s.Save(storetest.Call()) // which makes its epoch known
	want.Leg(store.Callee).Health = storetest.Health()
	want.Leg(store.Callee).Session = store.Session{Interval: 30 * time.Minute, MinSE: 90 * time.Second,
		Refresher: store.Self, Refreshed: want.Answered, Offer: "v=0\r\n"}
	if err := admin.HSet(t.Context(), callKey(want.ID), recordOfLayout1(&want)).Err(); err != nil {
		t.Fatal(err)
	}
	same(t, "call", want, get(t, s, want.ID))

	s.SaveHealth(store.LegHealth{ID: want.ID, Side: store.Caller, Health: storetest.Health()})
	want.Leg(store.Caller).Health = storetest.Health()
	same(t, "call with more health", want, get(t, s, want.ID))
	same(t, "schema after a part", "1", admin.HGet(t.Context(), callKey(want.ID), "schema").Val())

	want.Node, want.Epoch = "edge-2", 2
	for _, side := range store.Sides {
		want.Leg(side).LocalCSeq, want.Leg(side).LocalMark = 48, 48
	}
	s.Save(want)
	same(t, "call of a new owner", want, get(t, s, want.ID))
	fresh := want
	fresh.ID = storetest.Call().ID
	s.Save(fresh)
	storetest.Settled(t, s)
	fields := func(id string) []string {
		names := admin.HKeys(t.Context(), callKey(id)).Val()
		names = slices.DeleteFunc(names, func(name string) bool {
			_, field, _ := strings.Cut(name, ".")
			return slices.Contains(healthNames, field)
		})
		slices.Sort(names)
		return names
	}
	same(t, "fields in the hash, but for the health", fields(fresh.ID), fields(want.ID))
}

var healthNames = []string{"liveness", "last_alive", "last_evidence", "misses", "rtt_ms", "method", "answers", "calibration"}
