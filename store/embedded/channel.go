package embedded

import (
	"context"
	"time"

	"sipvigil/store"
)

// way is one direction of a trunk.
type way struct {
	trunk string
	side  store.Side
}

// channels are those of one direction of a trunk.
type channels struct {
	until  map[string]time.Time // by the id of their call
	sweep  time.Time            // before it no lease is over
	starts []time.Time          // when the last calls began, the oldest first
}

// hold has a channel last until then.
func (ch *channels) hold(id string, until time.Time) {
	if ch.until[id] = until; until.Before(ch.sweep) || len(ch.until) == 1 {
		ch.sweep = until
	}
}

// used counts the channels whose lease is not over.
func (ch *channels) used(now time.Time) int {
	if now.Before(ch.sweep) {
		return len(ch.until)
	}
	ch.sweep = now.Add(time.Hour)
	for id, until := range ch.until {
		switch {
		case !now.Before(until):
			delete(ch.until, id)
		case until.Before(ch.sweep):
			ch.sweep = until
		}
	}
	return len(ch.until)
}

// ClaimChannel grants a channel if there is one left. A claim may be repeated.
func (s *Store) ClaimChannel(_ context.Context, c store.Claim) (store.Grant, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.channelsOf(way{c.Trunk, c.Side})
	used := s.channelsUsed(c.Trunk, now)
	most, l := c.Most(), c.Limit
	_, again := ch.until[c.ID]
	switch {
	case again:
	case most > 0 && used[c.Side] >= most, l.Total > 0 && used[0]+used[1] >= l.Total:
		return store.Grant{Refused: store.Full, Used: used}, nil
	case !ch.mayStart(l.PerSecond, now):
		return store.Grant{Refused: store.TooMany, Used: used}, nil
	default:
		used[c.Side]++
	}
	ch.hold(c.ID, now.Add(c.Lease))
	return store.Grant{Used: used}, nil
}

// mayStart takes note of a call that begins, if no more than n do in a second, 0
// for any number.
func (ch *channels) mayStart(n int, now time.Time) bool {
	if n == 0 {
		return true
	}
	if len(ch.starts) >= n && now.Sub(ch.starts[len(ch.starts)-n]) < time.Second {
		return false
	}
	ch.starts = append(ch.starts[max(0, len(ch.starts)+1-n):], now)
	return true
}

// VouchChannels has channels last for another lease, and makes those that are
// not there. It returns how many each direction has after that.
func (s *Store) VouchChannels(_ context.Context, lease time.Duration, held []store.Held) ([]int, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	used := make([]int, len(held))
	for i, h := range held {
		ch := s.channelsOf(way{h.Trunk, h.Side})
		for _, id := range h.IDs {
			ch.hold(id, now.Add(lease))
		}
		used[i] = s.channelsUsed(h.Trunk, now)[h.Side]
	}
	return used, nil
}

// FreeChannels gives channels back.
func (s *Store) FreeChannels(_ context.Context, held []store.Held) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range held {
		ch := s.channelsOf(way{h.Trunk, h.Side})
		for _, id := range h.IDs {
			delete(ch.until, id)
		}
	}
	return nil
}

// channelsOf is called locked.
func (s *Store) channelsOf(w way) *channels {
	ch := s.channels[w]
	if ch == nil {
		ch = &channels{until: make(map[string]time.Time)}
		s.channels[w] = ch
	}
	return ch
}

// channelsUsed counts the channels of a trunk whose lease is not over. Called
// locked.
func (s *Store) channelsUsed(trunk string, now time.Time) (used [2]int) {
	for _, side := range store.Sides {
		used[side] = s.channelsOf(way{trunk, side}).used(now)
	}
	return used
}
