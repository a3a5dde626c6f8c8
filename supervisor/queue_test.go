package supervisor

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheQueueGivesTheEarliestWhateverHappened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "interval")) * time.Millisecond)
		calls := make([]*call, 8)
		for i := range calls {
			calls[i] = newCall("")
		}
		want := make(map[*leg]time.Duration)
		// Far on, so that the number of a slot does not fit into 32 bits.
		base := time.Duration(rapid.Int64Range(0, int64(300*24*time.Hour)).Draw(t, "base"))
		draw := func(t *rapid.T) *leg { return &rapid.SampledFrom(calls).Draw(t, "call").legs[0] }
		t.Repeat(map[string]func(*rapid.T){
			"a turn": func(t *rapid.T) {
				l := draw(t)
				want[l] = base + time.Duration(rapid.Int64Range(0, int64(5*time.Minute)).Draw(t, "due"))
				q.set(l, want[l])
			},
			"none": func(t *rapid.T) {
				l := draw(t)
				q.remove(l)
				delete(want, l)
			},
			"the first": func(t *rapid.T) {
				due, l := q.first()
				if l != nil && due != want[l] || (l == nil) != (len(want) == 0) {
					t.Fatalf("first is due at %v, want %v", due, want[l])
				}
				if l != nil {
					q.remove(l)
					delete(want, l)
				}
			},
			"": func(t *rapid.T) {
				if q.Len() != len(want) {
					t.Fatalf("%d legs, want %d", q.Len(), len(want))
				}
				due, _ := q.first()
				for l, at := range want {
					if !l.queued || l.due != at {
						t.Fatalf("a leg is due at another time than %v", at)
					}
					if at < due {
						t.Fatalf("first is due at %v, and one at %v", due, at)
					}
				}
			},
		})
	})
}
