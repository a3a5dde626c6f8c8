package redis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"sipvigil/store"
)

// kept is what Redis has of a call, reduced to what tells changes apart.
type kept struct {
	Record string
	Over   bool
	Health [2]int
	Mark   [2]uint32
}

// fakeRedis does what put.lua does, and remembers which marks were released.
type fakeRedis struct {
	calls    map[string]kept
	released map[uint32]int
}

// write says whether a part was missing its call.
func (f *fakeRedis) write(c *change) (missing bool) {
	k, known := f.calls[c.id]
	switch {
	case !known && c.kind() == "part":
		return true
	case k.Over:
		return false
	}
	if c.call != nil {
		k.Record, k.Over = c.call.TrunkIn, c.final
	}
	for i, h := range c.health {
		if h != nil {
			k.Health[i] = h.Misses
		}
		k.Mark[i] = max(k.Mark[i], c.mark[i])
	}
	f.calls[c.id] = k
	return false
}

// Whatever is queued while batches are written, fail, or are written although
// their answer is lost: in the end Redis has what it would have if each change
// had been written by itself, in its turn.
func TestNoChangeIsLostNorOverwrittenByAnOlderOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q := newQueue()
		real := &fakeRedis{calls: map[string]kept{}, released: map[uint32]int{}}
		want := &fakeRedis{calls: map[string]kept{}}
		asked := map[uint32]int{}
		var flying []*change
		n := uint32(0)
		enqueue := func(rt *rapid.T) {
			n++
			c := anyChange(rt, n, want.calls)
			if len(c.covered) > 0 {
				asked[n] = 1
				c.covered[0].call = func(mark uint32) { real.released[mark]++ }
			}
			written := *c
			want.write(&written)
			q.add(c)
		}
		land := func(c *change) {
			if real.write(c) {
				rt.Fatalf("a part of call %s was written before its record", c.id)
			}
			c.release()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"enqueue": enqueue,
			"again":   enqueue,
			"take": func(rt *rapid.T) {
				if flying != nil {
					rt.Skip("a batch is being written")
				}
				flying = q.take(rapid.IntRange(1, 3).Draw(rt, "batch"))
			},
			"written": func(*rapid.T) {
				for _, c := range flying {
					land(c)
				}
				flying = nil
			},
			"failed": func(rt *rapid.T) {
				for _, c := range flying {
					switch rapid.IntRange(0, 2).Draw(rt, "outcome") {
					case 0:
						land(c)
					case 1: // written, but the answer is lost
						real.write(c)
						q.putBack(c)
					default:
						q.putBack(c)
					}
				}
				flying = nil
			},
			"": func(rt *rapid.T) { consistent(rt, &q) },
		})
		for _, c := range flying {
			q.putBack(c)
		}
		for q.len() > 0 {
			for _, c := range q.take(2) {
				land(c)
			}
		}
		consistent(rt, &q)
		if diff := cmp.Diff(want.calls, real.calls); diff != "" {
			rt.Errorf("calls (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(asked, real.released); diff != "" {
			rt.Errorf("released marks (-want +got):\n%s", diff)
		}
	})
}

// anyChange is the nth change, of a call that is in calls or a record.
func anyChange(rt *rapid.T, n uint32, calls map[string]kept) *change {
	id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "id")
	side := rapid.SampledFrom(store.Sides[:]).Draw(rt, "side")
	mark := rapid.Uint32Range(1, 1000).Draw(rt, "mark")
	kinds := []string{"save", "health", "reserve", "finish"}
	if _, ok := calls[id]; !ok {
		kinds = kinds[:1]
	}
	record := store.Call{ID: id, TrunkIn: fmt.Sprint("record ", n)}
	record.Leg(side).LocalMark = mark
	c := &change{id: id}
	switch rapid.SampledFrom(kinds).Draw(rt, "kind") {
	case "save":
		c = recordOf(record)
	case "finish":
		c = recordOf(record)
		c.final, c.keep = true, time.Hour
	case "health":
		c.health[side] = &store.Health{Misses: int(n)}
	case "reserve":
		c.mark[side] = mark
		c.covered = []cover{{mark: n}}
	}
	return c
}

func consistent(rt *rapid.T, q *queue) {
	if len(q.order) != len(q.changes) {
		rt.Fatalf("%d changes in order, %d by id", len(q.order), len(q.changes))
	}
	for _, c := range q.order {
		if q.changes[c.id] != c {
			rt.Fatalf("call %s is not in its place", c.id)
		}
	}
}

func TestChangesAreWrittenInTheOrderTheyCame(t *testing.T) {
	q := newQueue()
	for _, id := range []string{"a", "b", "a", "c", "d", "b"} {
		q.add(&change{id: id})
	}
	var got []string
	for q.len() > 0 {
		for _, c := range q.take(3) {
			got = append(got, c.id)
		}
	}
	if want := []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestAPartWaitsForItsCallButNotForEver(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	part := func(id string, misses int) *change {
		c := &change{id: id}
		c.health[store.Caller] = &store.Health{Misses: misses}
		return c
	}
	q := newQueue()
	q.park(part("a", 1), now)
	q.park(part("b", 2), now)
	if q.len() != 0 {
		t.Errorf("%d changes wait to be written, want none", q.len())
	}
	q.add(recordOf(store.Call{ID: "a"}))
	want := recordOf(store.Call{ID: "a"})
	want.health[store.Caller] = &store.Health{Misses: 1}
	opts := []cmp.Option{cmp.AllowUnexported(change{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff([]*change{want}, q.take(2), opts...); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	q.park(part("c", 3), now.Add(orphanage+1))
	if _, ok := q.orphans["b"]; ok || len(q.orphans) != 1 {
		t.Errorf("orphans: %v, want c alone", q.orphans)
	}

	q.add(part("c", 4)) // newer than what waits
	q.park(part("d", 5), now)
	q.add(part("e", 7))
	q.park(part("e", 6), now) // older than what is queued
	got := map[string]int{}
	for _, c := range q.take(9) {
		got[c.id] = c.health[store.Caller].Misses
	}
	if diff := cmp.Diff(map[string]int{"c": 4, "e": 7}, got); diff != "" {
		t.Errorf("misses (-want +got):\n%s", diff)
	}
}

func TestBackoffGrowsAndStaysBelowASecond(t *testing.T) {
	for failures := 1; failures < 100; failures++ {
		most := min(retryFirst<<min(failures-1, 10), retryMost)
		for range 100 {
			if d := backoff(failures); d < most/2 || d >= most {
				t.Fatalf("after %d failures: %v, want at least %v and less than %v", failures, d, most/2, most)
			}
		}
	}
}
