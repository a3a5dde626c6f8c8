package redis_test

import (
	"encoding/base64"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// A text of layout 2 must stay readable: it depends on the dictionary.
func TestATextOfThisLayoutStaysReadable(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	want := storetest.Call()
	s.Save(want)
	storetest.Settled(t, s)
	text, err := base64.StdEncoding.DecodeString(textOfLayout2)
	if err != nil {
		t.Fatal(err)
	}
	if err := connect(t, server).Set(t.Context(), textKey(want.ID), text, 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, side := range store.Sides {
		want.Leg(side).CallID = "fixed-" + side.String() + "@192.0.2.1"
	}
	same(t, "call", want, get(t, s, want.ID))
}

func TestATextIsWrittenOnceAndAgainWhenItChanged(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	admin := connect(t, server)
	c := storetest.Call()
	s.Save(c)
	storetest.Settled(t, s)
	const mark = "not written since"
	if err := admin.Set(t.Context(), textKey(c.ID), mark, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	text := func() string { return admin.Get(t.Context(), textKey(c.ID)).Val() }
	c.State = store.Ending
	c.Leg(store.Caller).RemoteCSeq++
	s.Save(c)
	storetest.Settled(t, s)
	same(t, "text that did not change", mark, text())
	c.Leg(store.Callee).Target = "sip:elsewhere@192.0.2.99"
	s.Save(c)
	same(t, "call", c, get(t, s, c.ID))
	if text() == mark {
		t.Error("a text that changed was not written")
	}
}

// Who goes on with calls knows their texts from reading them.
func TestATextThatWasReadBackIsNotWritten(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	before := open(t, redis.Config{URL: url})
	stop := storetest.Start(t, before)
	calls := manyCalls(20)
	for _, c := range calls {
		before.Save(c)
	}
	storetest.Settled(t, before)
	stop()
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	var read []store.Call
	err := s.Owned(t.Context(), storetest.Node, func(c store.Call) bool { read = append(read, c); return true })
	same(t, "error", error(nil), err)
	same(t, "calls", calls, read)
	admin := connect(t, server)
	const mark = "not written since"
	for i := range read {
		if err := admin.Set(t.Context(), textKey(read[i].ID), mark, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		read[i].Epoch++
		s.Save(read[i])
	}
	storetest.Settled(t, s)
	for _, c := range calls {
		same(t, "text", mark, admin.Get(t.Context(), textKey(c.ID)).Val())
		same(t, "epoch", "2", admin.HGet(t.Context(), callKey(c.ID), "epoch").Val())
	}
}

// A text that is not sent because Redis had it is sent after all when Redis has
// lost it.
func TestATextThatWasTakenForKnownIsWrittenWhenItIsLost(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := open(t, redis.Config{URL: url})
	storetest.Start(t, s)
	admin := connect(t, server)
	c := storetest.Call()
	s.Save(c)
	storetest.Settled(t, s)
	for _, lost := range [][]string{{textKey(c.ID)}, {callKey(c.ID)}, {callKey(c.ID), textKey(c.ID)}} {
		if n := admin.Del(t.Context(), lost...).Val(); n != int64(len(lost)) {
			t.Fatalf("%d of %v were there", n, lost)
		}
		c.Leg(store.Caller).RemoteCSeq++
		s.Save(c)
		same(t, "call", c, get(t, s, c.ID))
	}
}

func TestATextThatIsLostIsWrittenAgain(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	c := storetest.Call()
	var s *redis.Store
	s = open(t, redis.Config{URL: url, Missing: func(string) { s.Save(c) }})
	storetest.Start(t, s)
	s.Save(c)
	storetest.Settled(t, s)
	if connect(t, server).Del(t.Context(), textKey(c.ID)).Val() != 1 {
		t.Fatal("there is no text")
	}
	s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()})
	want := c
	want.Leg(store.Caller).Health = storetest.Health()
	same(t, "call", want, get(t, s, c.ID))
}

func TestACallThatIsWrittenAgainAsItIsLastsForAnotherDay(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	s := member(t, url, storetest.Node)
	c := storetest.Call()
	s.Save(c)
	storetest.Settled(t, s)
	admin := connect(t, server)
	shard := c.ID[len(c.ID)-2:]
	keys := []string{callKey(c.ID), "{sv:" + shard + "}:text:" + c.ID, "{sv:" + shard + "}:active", "{sv:" + shard + "}:node:" + c.Node}
	for _, key := range keys {
		if !admin.PExpire(t.Context(), key, 12*time.Hour).Val() {
			t.Fatalf("%s is not there", key)
		}
	}
	s.Save(c)
	storetest.Settled(t, s)
	for _, key := range keys {
		if left := admin.PTTL(t.Context(), key).Val(); left < 23*time.Hour {
			t.Errorf("%s lasts for %v", key, left)
		}
	}
}

const textOfLayout2 = "lFRNa4QwEL3Pr5Bei2Em4sWDlELvPfRU6CHaWRDiGoIL/vzFTaIx7gdehDdvXjB5b8Y0E7TK2o5trtxvY5Ej/ZCsECtEQbL4hVM38X/eKq3ZfswPi0IKissclfXQKu27IQIMlvth5EDFiOHtc2j8E79TWZZISOuh9UvemeSVuCqxhifUzdk7otljmXh8pNfHyZDgSfVGszjzuAmXkTvqL6TwqCwMxWIN+rQHq1Kc0AkkWA4iGO2F3efL3ST7nic7I4GwrzzefEtSXdq3cd7syKTzGgAA//8="
