package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/store"
)

// long is a lease that no test outlives.
const long = time.Hour

// claim claims a channel and returns what came of it, "" if it was granted.
func claim(t *testing.T, s Store, c store.Claim) (refused store.Refusal, used [2]int) {
	t.Helper()
	if c.Lease == 0 {
		c.Lease = long
	}
	g, err := s.ClaimChannel(t.Context(), c)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return g.Refused, g.Used
}

// vouched vouches for channels and returns how many there are.
func vouched(t *testing.T, s Store, lease time.Duration, held ...store.Held) []int {
	t.Helper()
	used, err := s.VouchChannels(t.Context(), lease, held)
	if err != nil {
		t.Fatalf("vouch: %v", err)
	}
	return used
}

func free(t *testing.T, s Store, held ...store.Held) {
	t.Helper()
	if err := s.FreeChannels(t.Context(), held); err != nil {
		t.Fatalf("free: %v", err)
	}
}

var channelTests = map[string]func(*testing.T, Store){
	"a direction has no more channels than its limit": func(t *testing.T, s Store) {
		out := store.Claim{Trunk: "a", Side: store.Callee, Limit: store.Limit{Out: 2}}
		for _, c := range []struct {
			id   string
			side store.Side
			want store.Refusal
			used [2]int
		}{
			{"1", store.Callee, "", [2]int{0, 1}},
			{"2", store.Callee, "", [2]int{0, 2}},
			{"3", store.Callee, store.Full, [2]int{0, 2}},
			{"2", store.Callee, "", [2]int{0, 2}}, // repeated
			{"3", store.Caller, "", [2]int{1, 2}},
			{"1", store.Caller, "", [2]int{2, 2}}, // in and out by the same trunk: two channels
		} {
			out.ID, out.Side = c.id, c.side
			refused, used := claim(t, s, out)
			same(t, "claim "+c.id, c.want, refused)
			same(t, "used after "+c.id, c.used, used)
		}
		free(t, s, store.Held{Trunk: "a", Side: store.Callee, IDs: []string{"1", "none"}})
		out.ID, out.Side = "3", store.Callee
		refused, used := claim(t, s, out)
		same(t, "claim after one was freed", store.Refusal(""), refused)
		same(t, "used", [2]int{2, 2}, used)
	},
	"both directions share the total": func(t *testing.T, s Store) {
		c := store.Claim{Trunk: "a", ID: "1", Limit: store.Limit{In: 5, Out: 5, Total: 2}}
		claim(t, s, c)
		c.Side, c.ID = store.Callee, "2"
		claim(t, s, c)
		for _, c.Side = range store.Sides {
			c.ID = "3"
			refused, used := claim(t, s, c)
			same(t, "claim", store.Full, refused)
			same(t, "used", [2]int{1, 1}, used)
		}
		c.Trunk = "b"
		refused, _ := claim(t, s, c)
		same(t, "claim at another trunk", store.Refusal(""), refused)
	},
	"no more calls begin within a second than may": func(t *testing.T, s Store) {
		c := store.Claim{Trunk: "a", Side: store.Callee, Limit: store.Limit{PerSecond: 3}}
		var began []time.Time // before each claim that was granted
		for i := 0; len(began) < 4; i++ {
			c.ID = fmt.Sprint(i)
			before := time.Now()
			refused, used := claim(t, s, c)
			switch {
			case refused == store.TooMany:
				same(t, "used", [2]int{0, len(began)}, used)
			case refused != "":
				t.Fatalf("claim: %s", refused)
			default:
				if began = append(began, before); len(began) > 3 {
					// Clocks are read to the millisecond.
					if took := time.Since(began[len(began)-4]); took < time.Second-2*time.Millisecond {
						t.Fatalf("four calls begin within %v", took)
					}
				}
			}
		}
	},
	"a channel that nobody vouches for comes back": func(t *testing.T, s Store) {
		c := store.Claim{Trunk: "a", Side: store.Caller, ID: "lost", Limit: store.Limit{In: 1}, Lease: 20 * time.Millisecond}
		claim(t, s, c)
		c.ID = "next"
		Eventually(t, "the channel is free", func() bool {
			refused, _ := claim(t, s, c)
			return refused == ""
		})
	},
	"who vouches keeps channels, and makes those that were lost": func(t *testing.T, s Store) {
		const lease = 50 * time.Millisecond
		mine := store.Held{Trunk: "a", Side: store.Callee, IDs: []string{"1", "2", "3"}}
		theirs := store.Held{Trunk: "a", Side: store.Caller, IDs: []string{"4"}}
		same(t, "channels", []int{3, 1}, vouched(t, s, long, mine, theirs))
		refused, used := claim(t, s, store.Claim{Trunk: "a", Side: store.Callee, ID: "5", Limit: store.Limit{Out: 3}})
		same(t, "claim", store.Full, refused)
		same(t, "used", [2]int{1, 3}, used)
		same(t, "without any", []int{0}, vouched(t, s, lease, store.Held{Trunk: "b"}))
	},
	"many are vouched for together": func(t *testing.T, s Store) {
		h := store.Held{Trunk: "a", Side: store.Callee}
		for i := range 2345 {
			h.IDs = append(h.IDs, fmt.Sprint("call-", i))
		}
		same(t, "channels", []int{2345}, vouched(t, s, long, h))
		free(t, s, h)
		same(t, "channels after all were freed", []int{0}, vouched(t, s, long, store.Held{Trunk: "a", Side: store.Callee}))
	},
	"many claims at the same time never exceed the limit": func(t *testing.T, s Store) {
		var granted, most atomic.Int64
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				g, err := s.ClaimChannel(t.Context(), store.Claim{Trunk: "a", Side: store.Callee, ID: fmt.Sprint(i),
					Limit: store.Limit{Out: 50}, Lease: long})
				switch {
				case err != nil:
					t.Errorf("claim: %v", err)
				case g.Refused == "":
					granted.Add(1)
				}
				for seen := most.Load(); int64(g.Used[store.Callee]) > seen && !most.CompareAndSwap(seen, int64(g.Used[store.Callee])); {
					seen = most.Load()
				}
			})
		}
		wg.Wait()
		same(t, "granted", int64(50), granted.Load())
		same(t, "highest count", int64(50), most.Load())
	},
}
