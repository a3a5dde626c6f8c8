package redis_test

import (
	"slices"
	"strings"
	"testing"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func keptCall() store.Call {
	c := storetest.Call()
	for i := range c.Legs {
		c.Legs[i].LocalMark, c.Legs[i].LocalAsked = 32, 32
	}
	return c
}

func TestWhatIsKeptIsAtAReplica(t *testing.T) {
	url, server := storetest.Redis(t)
	_, replica := storetest.Redis(t, "--repl-diskless-sync-delay", "0")
	master, admin := connect(t, server), connect(t, replica)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	kept := func(calls ...store.Call) {
		t.Helper()
		if lost, err := s.Kept(t.Context(), calls); err != nil || len(lost) > 0 {
			t.Errorf("kept: %v, %v", lost, err)
		}
	}
	c := keptCall()
	s.Save(c)
	storetest.Settled(t, s)
	kept(c) // there is no replica

	follow(t, admin, server)
	storetest.Eventually(t, "the replica is in step", func() bool {
		return strings.Contains(master.Info(t.Context(), "replication").Val(), "state=online")
	})
	for range 50 {
		c := keptCall()
		s.Save(c)
		storetest.Settled(t, s)
		kept(c)
		found, err := admin.Eval(t.Context(), "return #redis.call('KEYS', ARGV[1])", nil, "*:call:"+c.ID).Int()
		if err != nil || found != 1 {
			t.Fatalf("the replica lacks a call that is kept: %v", err)
		}
	}
	replica.Pause()
	storetest.Eventually(t, "a replica that hangs is not waited for any more", func() bool {
		_, err := s.Kept(t.Context(), []store.Call{c})
		return err == nil
	})
	replica.Resume()
}

func TestWhatAFailoverHasTakenBackIsLost(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, redis.Config{URL: url})
		storetest.Start(t, s)
		calls := []store.Call{keptCall(), keptCall(), keptCall(), keptCall(), keptCall()}
		for _, c := range calls[:4] {
			s.Save(c)
		}
		storetest.Settled(t, s)
		calls[1].Epoch++
		calls[2].Node = "edge-9"
		calls[3].Leg(store.Callee).LocalAsked = 4144
		lost, err := s.Kept(t.Context(), calls)
		var want []string
		for _, c := range calls[1:] {
			want = append(want, c.ID)
		}
		if err != nil || !slices.Equal(lost, want) {
			t.Errorf("lost: %v, %v, want %v", lost, err, want)
		}
	})
}
