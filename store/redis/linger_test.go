package redis_test

import (
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func TestHealthGoesAlongWithWhatDoesNotWait(t *testing.T) {
	t.Parallel()
	for what, prompt := range map[string]func(*redis.Store, store.Call){
		"a record":      func(s *redis.Store, _ store.Call) { s.Save(storetest.Call()) },
		"the last one":  func(s *redis.Store, _ store.Call) { s.Finish(storetest.Call(), time.Minute) },
		"a reservation": func(s *redis.Store, c store.Call) { s.Reserve(c.ID, store.Caller, 48, nil) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url, _ := storetest.Redis(t)
			s := open(t, redis.Config{URL: url})
			s.Linger(time.Hour)
			storetest.Start(t, s)
			c := storetest.Call()
			s.Save(c)
			storetest.Settled(t, s)

			h := storetest.Health()
			s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: h})
			prompt(s, c)
			storetest.Settled(t, s)
			same(t, "health", h, get(t, s, c.ID).Legs[store.Caller].Health)
		})
	}
}
