package redis_test

import (
	"slices"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func TestAnOperatorCanReadACall(t *testing.T) {
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
	s.SaveHealth(c.ID, store.Caller, storetest.Health())
	storetest.Settled(t, s)
	s.Reserve(c.ID, store.Caller, 32, nil)
	storetest.Settled(t, s)

	caller := c.Leg(store.Caller)
	want := map[string]string{
		"schema": "1", "version": "2",
		"state": "confirmed", "node": "edge-1", "epoch": "1", "trunk_in": "pbx", "trunk_out": "carrier-a",
		"started": "2026-03-01T12:00:00.123Z", "answered": "2026-03-01T12:00:07.456Z",

		"caller.call_id": caller.CallID, "caller.local_tag": "local-caller", "caller.remote_tag": "remote-caller",
		"caller.local_uri": `"Bob" <sip:+15550101@192.0.2.1>`, "caller.remote_uri": "<sip:+15550100@192.0.2.10>",
		"caller.target":    "sip:+15550100@192.0.2.10:5062;transport=udp",
		"caller.route_set": `["<sip:p1.example.net;lr>", "<sip:p2.example.net;lr>"]`,
		"caller.transport": "udp", "caller.peer": "192.0.2.10:5060", "caller.listener": "192.0.2.1:5060", "caller.seen": "192.0.2.11", "caller.kept": "true",
		"caller.user_agent": "Example Phone 1.0", "caller.allow": "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE",
		"caller.local_cseq": "32", "caller.remote_cseq": "4711",

		"caller.liveness": "suspect", "caller.last_alive": "2026-03-01T12:05:00.789Z",
		"caller.last_evidence": "200 OPTIONS", "caller.misses": "1", "caller.rtt_ms": "12.345678",
		"caller.method": "OPTIONS", "caller.answers": "true", "caller.calibration": "discriminating",

		"callee.call_id": "x@192.0.2.1", "callee.route_set": `["\"P\" <sip:p1;lr>", "a\xff\n"]`,
		"callee.session_expires": "1800", "callee.min_se": "90", "callee.refresher": "self",
		"callee.refreshed": "2026-03-01T12:00:07.456Z", "callee.offer": "v=0\r\n",
	}
	call, active, node := callKey(c.ID), "{sv:e7}:active", "{sv:e7}:node:edge-1"
	same(t, "hash", want, admin.HGetAll(t.Context(), call).Val())
	keys := admin.Keys(t.Context(), "{*").Val()
	slices.Sort(keys)
	same(t, "keys", []string{active, call, node}, keys)
	same(t, "active", []string{c.ID}, admin.SMembers(t.Context(), active).Val())
	same(t, "node", []string{c.ID}, admin.SMembers(t.Context(), node).Val())
	lives := func(key string, d time.Duration) {
		t.Helper()
		if ttl := admin.TTL(t.Context(), key).Val(); ttl > d || ttl < d-time.Minute {
			t.Errorf("%s lives %v, want %v", key, ttl, d)
		}
	}
	lives(call, 24*time.Hour)
	lives(active, 25*time.Hour)
	lives(node, 25*time.Hour)

	for _, key := range []string{call, active, node} { // as if nothing had happened for long
		if !admin.Expire(t.Context(), key, time.Hour).Val() {
			t.Fatal("cannot change the life of ", key)
		}
	}
	s.SaveHealth(c.ID, store.Caller, storetest.Health())
	storetest.Settled(t, s)
	lives(call, 24*time.Hour)
	lives(active, 25*time.Hour)
	lives(node, 25*time.Hour)

	s.Finish(c, time.Minute)
	storetest.Settled(t, s)
	same(t, "keys", []string{call}, admin.Keys(t.Context(), "{*").Val())
	lives(call, time.Minute)
}

func TestTheStoreKeepsToItsPrefix(t *testing.T) {
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
		"{other:e7}:active", "{other:e7}:call:" + c.ID, "{other:e7}:node:edge-1",
	}, keys)
}

func TestAnExpiredCallLeavesTheSets(t *testing.T) {
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
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	storetest.Start(t, s)
	admin := connect(t, server)
	calls := manyCalls(7)
	for i := range calls {
		s.Save(calls[i])
	}
	storetest.Settled(t, s)
	broken := map[string]string{
		"schema": "2", "started": "yesterday", "caller.remote_cseq": "4294967296", "callee.route_set": `["<sip:a`,
		"epoch": "x",
	}
	n := 0
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
	same(t, "list", []string{calls[6].ID}, listed(t, s))
	same(t, "lines in the log", 1+6, logs.Len())
}

func TestAKeyThatHoldsSomethingElseDoesNotHoldUpTheOthers(t *testing.T) {
	url, server := storetest.Redis(t)
	s, logs := watched(t, redis.Config{URL: url})
	bad, good := storetest.Call(), storetest.Call()
	if err := connect(t, server).Set(t.Context(), callKey(bad.ID), "no hash", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Save(bad)
	s.Save(good)
	storetest.Start(t, s)
	same(t, "call", good, get(t, s, good.ID))
	same(t, "log", []string{
		"error: a key of the store holds something else, the call is not written",
		"info: store is connected",
	}, messages(logs))
}
