package redis_test

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	admin := connect(t, server)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		if err := admin.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return open(t, redis.Config{URL: url + "/3"})
	})
}

// open returns a store that does not run yet.
func open(t testing.TB, cfg redis.Config) *redis.Store {
	t.Helper()
	return openLogging(t, cfg, zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)))
}

func openLogging(t testing.TB, cfg redis.Config, log *zap.Logger) *redis.Store {
	t.Helper()
	if cfg.Node == "" {
		cfg.Node = storetest.Node
	}
	s, err := redis.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// connect returns a client to look behind the store's back.
func connect(t testing.TB, server *storetest.Server) *goredis.Client {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr(), Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}
