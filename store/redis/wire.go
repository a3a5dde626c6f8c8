package redis

import (
	"context"
	"errors"
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
	return s.publish(ctx, s.channel(s.cfg.Node), message)
}

// Send hands a message to one node, and returns how many processes of that name
// have it: 0 when none is there. Nothing of it is kept.
func (s *Store) Send(ctx context.Context, node string, message []byte) (reached int, err error) {
	return s.publish(ctx, s.mailbox(node), message)
}

func (s *Store) publish(ctx context.Context, channel string, message []byte) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	publish := s.client.Publish
	if s.kind == cluster { // a message of one slot stays there, and reaches who listens there
		publish = s.client.SPublish
	}
	n, err := publish(ctx, channel, message).Result()
	if err != nil {
		return 0, fmt.Errorf("tell other nodes: %s", inWords(err))
	}
	return int(n), nil
}

// Listen hands over what a node publishes from now on, message by message in
// their order, until ctx ends, or messages may have been lost: it returns why.
func (s *Store) Listen(ctx context.Context, node string, hear func(message []byte)) error {
	from := s.subscribe(ctx, s.channel(node))
	hangUp := context.AfterFunc(ctx, func() { _ = from.Close() }) // ends a read that waits
	defer func() {
		if hangUp() {
			_ = from.Close()
		}
	}()
	for {
		got, err := from.ReceiveTimeout(ctx, hushed)
		if err == nil {
			err = handOver(got, hear)
		}
		if err != nil {
			return fmt.Errorf("listen to %s: %s", node, inWords(err))
		}
	}
}

// Receive hands over what others send to this node from now on, until ctx ends,
// or nothing can come any more: it returns why. A connection that breaks is
// made anew; what was sent meanwhile is lost.
func (s *Store) Receive(ctx context.Context, hear func(message []byte)) error {
	from := s.subscribe(ctx, s.mailbox(s.cfg.Node))
	defer from.Close()
	got, err := from.ReceiveTimeout(ctx, hushed)
	if err != nil {
		return fmt.Errorf("take messages of other nodes: %s", inWords(err))
	}
	messages := from.ChannelWithSubscriptions() // which asks now and then whether the connection stands
	for err = handOver(got, hear); err == nil; err = handOver(got, hear) {
		select {
		case got = <-messages:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("take messages of other nodes: %w", err)
}

func (s *Store) subscribe(ctx context.Context, channel string) *goredis.PubSub {
	if s.kind == cluster {
		return s.client.SSubscribe(ctx, channel)
	}
	return s.client.Subscribe(ctx, channel)
}

func handOver(got any, hear func(message []byte)) error {
	switch got := got.(type) {
	case *goredis.Message:
		hear([]byte(got.Payload))
	case *goredis.Subscription:
		if got.Count == 0 { // the slot has moved to another master
			return errors.New("the subscription has ended")
		}
	}
	return nil
}

// channel is where a node publishes. Channels are those of all databases of a
// server.
func (s *Store) channel(node string) string {
	return s.keys.prefix + ":wire:" + strconv.Itoa(s.db) + ":" + node
}

// mailbox is where a node takes what is sent to it. "to" is the number of no database.
func (s *Store) mailbox(node string) string {
	return s.keys.prefix + ":wire:to:" + strconv.Itoa(s.db) + ":" + node
}
