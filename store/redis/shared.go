package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"sipvigil/store"
)

// tagKeySize is the length of the tag key in bytes.
const tagKeySize = 32

// TagKey returns the random bytes that all nodes agree on. The first to ask
// makes them. Without Redis it returns store.ErrUnavailable, unless it has
// known them before.
func (s *Store) TagKey(ctx context.Context) ([]byte, error) {
	if key := s.knownTagKey(); key != nil {
		return key, nil
	}
	key := make([]byte, tagKeySize)
	_, _ = rand.Read(key) // never fails
	return s.agree(ctx, key)
}

// agree gives Redis a tag key if it has none, and returns the one that it has.
func (s *Store) agree(ctx context.Context, key []byte) ([]byte, error) {
	pipe := s.client.Pipeline()
	pipe.SetNX(ctx, s.keys.tagKey(), hex.EncodeToString(key), 0)
	reply := pipe.Get(ctx, s.keys.tagKey())
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, s.unavailable("tag key", err)
	}
	key, err := hex.DecodeString(reply.Val())
	if err == nil && len(key) != tagKeySize {
		err = errors.New("it has the wrong length")
	}
	if err != nil {
		return nil, fmt.Errorf("tag key in %s: %w", s.keys.tagKey(), err)
	}
	s.mu.Lock()
	s.tagKey = key
	s.mu.Unlock()
	return slices.Clone(key), nil
}

func (s *Store) knownTagKey() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tagKey)
}

// NextEpoch returns a number higher than any before, or store.ErrUnavailable.
// Numbers may be skipped.
func (s *Store) NextEpoch(ctx context.Context) (int64, error) {
	epoch, err := epochScript.Run(ctx, s.client, []string{s.keys.epoch()}, s.highestEpoch(), 1).Int64()
	if err != nil {
		return 0, s.unavailable("next epoch", err)
	}
	s.mu.Lock()
	s.epoch = max(s.epoch, epoch)
	s.mu.Unlock()
	return epoch, nil
}

func (s *Store) highestEpoch() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// restore gives back to Redis what it may have lost: without it, epochs would
// begin again below those in use, and a new node would make a tag key that the
// others do not have. One that was quicker has made one: it is that of all then.
func (s *Store) restore(ctx context.Context) error {
	if epoch := s.highestEpoch(); epoch > 0 {
		err := s.limited(ctx, func(ctx context.Context) error {
			return epochScript.Run(ctx, s.client, []string{s.keys.epoch()}, epoch, 0).Err()
		})
		if err != nil {
			return fmt.Errorf("restore the epoch: %w", err)
		}
	}
	if key := s.knownTagKey(); key != nil {
		err := s.limited(ctx, func(ctx context.Context) error {
			_, err := s.agree(ctx, key)
			return err
		})
		if errors.Is(err, store.ErrUnavailable) {
			return fmt.Errorf("restore the tag key: %w", err)
		}
	}
	if s.changed {
		if err := s.bury(ctx); err != nil {
			return err
		}
		s.changed, s.resaved = false, true
		s.log.Info("another redis-server answers, or it was restarted or emptied: all calls are written again", zap.String("addr", s.addr))
		if s.cfg.Lost != nil {
			s.cfg.Lost()
		}
	}
	return nil
}
