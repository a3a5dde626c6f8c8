package ua

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
)

// Is matches messages of one direction for Drop: requests by their method
// ("INFO"), responses by status and method ("200 INVITE").
func Is(direction Direction, what string) func(Direction, *Message) bool {
	return func(d Direction, m *Message) bool {
		if d != direction {
			return false
		}
		if m.IsRequest() {
			return strings.EqualFold(m.Method, what)
		}
		_, method := m.CSeq()
		return strings.EqualFold(fmt.Sprint(m.Status, " ", method), what)
	}
}

// First is a filter for Drop that drops the first n messages that match.
func First(n int64, match func(Direction, *Message) bool) func(Direction, *Message) bool {
	var left atomic.Int64
	left.Store(n)
	return func(d Direction, m *Message) bool { return match(d, m) && left.Add(-1) >= 0 }
}

// Loss is a filter for Drop that loses this share of all messages. The same
// seed loses the same ones of the same traffic.
func Loss(seed uint64, share float64) func(Direction, *Message) bool {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, seed))
	return func(Direction, *Message) bool {
		mu.Lock()
		defer mu.Unlock()
		return dice.Float64() < share
	}
}
