package supervisor

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sipvigil/store"
)

// strangers makes so many calls, to peers that are no trunk, so many to each,
// and lets their first probes be answered.
func (w *world) strangers(calls, each int) {
	for i := range calls {
		id := fmt.Sprintf("%03d", i)
		c := w.legs.add(id)
		c.TrunkOut, c.State, c.Answered = otherTrunk, store.Confirmed, time.Now()
		c.Legs[store.Callee].Peer = fmt.Sprintf("192.0.2.%d:5060", i/each)
		w.legs.change(id, func(have *store.Call) { *have = c })
		w.sup.Started(c)
		w.sup.Confirmed(c)
	}
	sleep(10 * time.Second)
}

func TestANetworkThatIsGoneBeforeManySmallPeersEndsNoCall(t *testing.T) {
	test := func(calls, each int, change func(*Config)) {
		t.Helper()
		inWorld(t, change, func(t *testing.T, w *world) {
			w.sup.random = rand.Float64
			w.strangers(calls, each)
			w.sup.spreadOut()
			w.quietCallees(everyone)
			sleep(10 * time.Minute)
			w.wantBrake("network gone", 0, calls, calls, map[string]int{"peer": 1})
			c, err := w.sup.Call(t.Context(), "007")
			if want := fmt.Sprintf("%d of %[1]d legs behind all that is no trunk do not answer", calls); err != nil || c.Legs[store.Callee].Held != want {
				t.Errorf("held: %q, want %q", c.Legs[store.Callee].Held, want)
			}
			w.quietCallees(nobodyElse)
			sleep(2 * time.Minute)
			w.wantBrake("network back", 0, 0, 0, map[string]int{"peer": 1})
			if n := w.counts().Legs[store.Callee][store.Alive]; n != calls {
				t.Errorf("%d alive, want %d", n, calls)
			}
			if o := &w.sup.brake.others; o.engaged || o.sick != 0 || o.peers != [3]int{well: calls / each} || o.legs != [3]int{well: calls} {
				t.Errorf("counted: %+v", o)
			}
		})
	}
	test(200, 1, nil)
	test(40, 5, nil) // eight addresses
	test(200, 1, func(c *Config) { c.Misses = 1 })
	test(200, 1, func(c *Config) { c.Jitter = 1 })
	test(200, 1, func(c *Config) { c.Timeout = 5 * time.Second })
	test(200, 1, func(c *Config) { c.Timeout, c.Misses = time.Second, 1 })
}

func TestSingleDeadPeersAreFoundInTime(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.strangers(200, 1)
		w.quietCallees(func(id string) bool { return id < "005" || id >= "010" && id < "012" })
		sleep(26 * time.Second) // asked last just before they died, and next half a minute later
		w.wantBrake("before", 0, 0, 0, nil)
		sleep(67 * time.Second)
		w.wantBrake("seven dead", 7, 0, 0, nil)
	})
}

// Behind the first two addresses many legs are dead for good. They wait for the
// operator, the others do not.
func TestPeersThatAreHeldByThemselvesHoldNoOther(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.strangers(200, 20)
		w.quietCallees(below("040"))
		sleep(3 * time.Minute)
		w.wantBrake("two peers are held", 0, 40, 40, map[string]int{"peer": 2})
		w.quietCallees(func(id string) bool { return id < "040" || id == "100" })
		sleep(3 * time.Minute)
		w.wantBrake("one more", 1, 40, 40, map[string]int{"peer": 2})
	})
}

func TestTheDeadEndAfterTheNetworkToManyPeersIsBack(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.strangers(200, 1)
		w.quietCallees(everyone)
		sleep(5 * time.Minute)
		w.quietCallees(below("005"))
		sleep(90 * time.Second)
		w.wantBrake("back", 0, 5, 5, map[string]int{"peer": 1})
		sleep(2 * time.Minute) // freed, and asked once more in vain
		w.wantBrake("asked once more", 5, 0, 0, map[string]int{"peer": 1})
	})
}

func TestManySmallPeersAreTooMany(t *testing.T) {
	cfg := Default()
	test := func(want bool, legs ...[3]int) {
		t.Helper()
		b := newBrake(&cfg)
		for i, l := range legs {
			g := newGroup(peer{otherTrunk, fmt.Sprint(i)})
			b.shift(g, func(g *group) { g.legs = l })
		}
		if got := b.others.many(); got != want {
			t.Errorf("%v: %v", legs, got)
		}
	}
	several := func(n int, l [3]int, more ...[3]int) [][3]int {
		for range n {
			more = append(more, l)
		}
		return more
	}
	dead, fine := [3]int{ill: 1}, [3]int{well: 1}
	test(false, several(9, dead)...)
	test(true, several(10, dead)...)
	test(true, several(10, dead, several(40, fine)...)...)
	test(false, several(10, dead, several(41, fine)...)...)
	test(true, several(10, dead, several(40, fine, several(100, [3]int{apart: 1})...)...)...)
	test(true, several(2, [3]int{ill: 9}, several(8, fine)...)...)
	test(false, several(1, [3]int{ill: 100}, several(4, dead)...)...)
	test(true, several(1, [3]int{ill: 100}, several(5, dead)...)...)
	test(false, several(50, [3]int{well: 1, ill: 3})...) // somebody answers there
}
