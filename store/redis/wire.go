package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// hushed is how long a node that one listens to may say nothing: each says a
// word once a second.
const hushed = 5 * time.Second

// Publish hands a message to all who listen to this node now, and returns how
// many they are. Nothing of it is kept. A message of which Redis could not be
// told in time is lost.
func (s *Store) Publish(ctx context.Context, message []byte) (listeners int, err error) {
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	publish := s.client.Publish
	if s.kind == cluster { // a message of one slot stays there, and reaches who listens there
		publish = s.client.SPublish
	}
	n, err := publish(ctx, s.channel(s.cfg.Node), message).Result()
	if err != nil {
		return 0, fmt.Errorf("tell other nodes: %s", inWords(err))
	}
	return int(n), nil
}

// Listen hands over what a node publishes from now on, message by message in
// their order, until ctx ends, or messages may have been lost: it returns why.
func (s *Store) Listen(ctx context.Context, node string, hear func(message []byte)) error {
	subscribe := s.client.Subscribe
	if s.kind == cluster {
		subscribe = s.client.SSubscribe
	}
	from := subscribe(ctx, s.channel(node))
	hangUp := context.AfterFunc(ctx, func() { _ = from.Close() }) // ends a read that waits
	defer func() {
		if hangUp() {
			_ = from.Close()
		}
	}()
	for {
		got, err := from.ReceiveTimeout(ctx, hushed)
		if err != nil {
			return fmt.Errorf("listen to %s: %s", node, inWords(err))
		}
		switch got := got.(type) {
		case *goredis.Message:
			hear([]byte(got.Payload))
		case *goredis.Subscription:
			if got.Count == 0 { // the slot has moved to another master
				return fmt.Errorf("listen to %s: the subscription has ended", node)
			}
		}
	}
}

// channel is where a node publishes. Channels are those of all databases of a
// server.
func (s *Store) channel(node string) string {
	return s.keys.prefix + ":wire:" + strconv.Itoa(s.db) + ":" + node
}
