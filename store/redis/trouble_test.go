package redis_test

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store/storetest"
)

// follow makes a server a replica of another.
func follow(t *testing.T, admin *goredis.Client, master *storetest.Server) {
	t.Helper()
	if err := admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", master.Port()).Err(); err != nil {
		t.Fatal(err)
	}
}
