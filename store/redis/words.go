package redis

import (
	"context"
	"errors"
	"net"
	"os"

	goredis "github.com/redis/go-redis/v9"
)

// troubles are errors of Redis, and what they mean to who runs it.
var troubles = []struct{ prefix, words string }{
	{"READONLY", "this Redis is a replica and takes no writes"},
	{"OOM", "Redis has used up its maxmemory and takes no writes"},
	{"MISCONF", "Redis cannot save to its disk and takes no writes"},
	{"NOREPLICAS", "Redis has fewer replicas in step than min-replicas-to-write asks for and takes no writes"},
	{"MASTERDOWN", "this Redis is a replica that has lost its master"},
	{"LOADING", "Redis is starting and reads its data from disk"},
	{"BUSY", "Redis is held up by a script of somebody else"},
	{"CLUSTERDOWN", "the cluster lacks a master for some of its slots"},
	{"MOVED", "slots of the cluster are moving"},
	{"ASK", "slots of the cluster are moving"},
	{"TRYAGAIN", "slots of the cluster are moving"},
	{"NOAUTH", "Redis asks for a password, and store.url has none"},
	{"WRONGPASS", "Redis does not take the user and password of store.url"},
	{"NOPERM", "the Redis user of store.url lacks rights"},
}

// inWords is an error for an operator: what is wrong, and what Redis or the
// network said.
func inWords(err error) string {
	for _, t := range troubles {
		if goredis.HasErrorPrefix(err, t.prefix) {
			return t.words + ": " + err.Error()
		}
	}
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "Redis does not answer in time: " + err.Error()
	case errors.As(err, &network):
		return "Redis cannot be connected to: " + err.Error()
	default:
		return err.Error()
	}
}
