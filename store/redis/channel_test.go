package redis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func TestTwoNodesTogetherNeverExceedALimit(t *testing.T) {
	url, server := storetest.Redis(t)
	admin := connect(t, server)
	nodes := []*redis.Store{
		open(t, redis.Config{URL: url, Node: "edge-1"}),
		open(t, redis.Config{URL: url, Node: "edge-2"}),
	}
	for _, s := range nodes {
		storetest.Start(t, s)
	}
	const callers, limit = 200, 50
	granted := make([]bool, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			g, err := nodes[i%2].ClaimChannel(t.Context(), store.Claim{Trunk: "carrier", Side: store.Callee,
				ID: fmt.Sprint(i), Limit: store.Limit{Out: limit}, Lease: time.Hour})
			if err != nil {
				t.Errorf("claim: %v", err)
			}
			granted[i] = err == nil && g.Refused == ""
		})
	}
	wg.Wait()
	n := 0
	for _, ok := range granted {
		if ok {
			n++
		}
	}
	if have := admin.ZCard(t.Context(), "{sv:trunk:carrier}:out").Val(); n != limit || have != limit {
		t.Errorf("%d were granted and %d are there, want %d", n, have, limit)
	}
}

func TestAnOperatorCanReadTheChannelsOfATrunk(t *testing.T) {
	url, server := storetest.Redis(t)
	admin := connect(t, server)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	before := time.Now().Add(-time.Second)
	if _, err := s.VouchChannels(t.Context(), time.Minute, []store.Held{{Trunk: "pbx", Side: store.Caller, IDs: []string{"a"}}}); err != nil {
		t.Fatal(err)
	}
	zs := admin.ZRangeWithScores(t.Context(), "{sv:trunk:pbx}:in", 0, -1).Val()
	if len(zs) != 1 || zs[0].Member != "a" || time.UnixMilli(int64(zs[0].Score)).Before(before) {
		t.Errorf("got %v", zs)
	}
	if left := admin.PTTL(t.Context(), "{sv:trunk:pbx}:in").Val(); left <= time.Minute || left > 2*time.Minute {
		t.Errorf("the set goes after %v, want two leases", left)
	}
}

func TestClaimsSurviveTheLossOfTheirScripts(t *testing.T) {
	url, server := storetest.Redis(t)
	admin := connect(t, server)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	for range 2 {
		if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		held := []store.Held{{Trunk: "pbx", Side: store.Caller, IDs: []string{"a"}}, {Trunk: "pbx", Side: store.Callee}}
		used, err := s.VouchChannels(t.Context(), time.Minute, held)
		if err != nil || used[0] != 1 || used[1] != 0 {
			t.Errorf("vouch: %v, %v", used, err)
		}
		if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ClaimChannel(t.Context(), store.Claim{Trunk: "b", ID: "1", Lease: time.Minute}); err != nil {
			t.Errorf("claim: %v", err)
		}
	}
}
