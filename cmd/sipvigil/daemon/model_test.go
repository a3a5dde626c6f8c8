package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

type deed struct {
	what string
	node int
	wait time.Duration
}

var anyDeed = rapid.Custom(func(t *rapid.T) deed {
	return deed{
		rapid.SampledFrom([]string{"probe", "probe", "burst", "away", "back", "crash", "crash", "start", "slow", "fast", "failover", "failover"}).Draw(t, "what"),
		rapid.IntRange(0, 1).Draw(t, "node"),
		time.Duration(rapid.SampledFrom([]int{1, 100, 1000, 2500, 6000, 8000, 15000, 40000}).Draw(t, "ms")) * time.Millisecond,
	}
})

// live has two nodes go through some deeds, and returns what went wrong.
func live(t *testing.T, deeds []deed) (end endpoint, owned int) {
	synctest.Test(t, func(*testing.T) {
		s := newShop(4)
		replica := time.NewTicker(1900 * time.Millisecond)
		over := make(chan struct{})
		defer close(over)
		go func() {
			for {
				select {
				case <-replica.C:
					s.follow()
				case <-over:
					return
				}
			}
		}()
		hosts := []*host{s.start("edge-1", 0), s.start("edge-2", 0)}
		time.Sleep(5 * time.Second)
		for n, d := range deeds {
			h := hosts[d.node]
			switch d.what {
			case "burst":
				for range 40 {
					h.probe()
				}
			case "away", "back":
				h.mu.Lock()
				h.away = d.what == "away"
				h.mu.Unlock()
			case "slow", "fast":
				h.mu.Lock()
				h.slow = map[string]time.Duration{"slow": 900 * time.Millisecond}[d.what]
				h.mu.Unlock()
			case "crash":
				h.stop()
			case "start":
				if !h.down {
					h.stop()
				}
				hosts[d.node] = s.start(h.name, n+1)
			case "failover": // what was written since the replica followed last is lost
				for _, h := range hosts {
					h.probe()
				}
				s.failOver()
				for _, h := range hosts { // who is connected notices in the end
					time.AfterFunc(5*time.Second, h.resave)
				}
			}
			for range d.wait/time.Second + 1 {
				for _, h := range hosts {
					h.probe()
				}
				time.Sleep(min(d.wait, time.Second))
			}
		}
		for i, h := range hosts { // in the end every call has an owner that asks
			h.mu.Lock()
			h.away, h.slow = false, 0
			down := h.down
			h.mu.Unlock()
			if down {
				hosts[i] = s.start(h.name, len(deeds)+1)
			}
		}
		time.Sleep(time.Minute)
		for _, h := range hosts {
			if h.may() {
				owned += h.Count()
			}
			h.stop()
		}
		end = s.ends
	})
	return end, owned
}

// TestNoTwoNodesAskUnderOneEpoch is a model of two nodes that crash, come back,
// and lose sight of the store, each for itself, while failovers of the store
// lose adoptions, marks, epochs and leases that it has acknowledged.
func TestNoTwoNodesAskUnderOneEpoch(t *testing.T) {
	total := 0
	rapid.Check(t, func(rt *rapid.T) {
		deeds := rapid.SliceOfN(anyDeed, 1, 15).Draw(rt, "deeds")
		end, owned := live(t, deeds)
		for _, f := range end.faults {
			rt.Error(f)
		}
		if owned != 4 {
			rt.Errorf("%d calls have an owner in the end, of 4", owned)
		}
		total += end.total
	})
	if total == 0 {
		t.Error("nobody was asked anything")
	}
}

// TestAFailoverThatLosesAnAdoptionRepeatsNoNumber has a failover at each moment
// around an adoption, and the first owner come back right after it.
func TestAFailoverThatLosesAnAdoptionRepeatsNoNumber(t *testing.T) {
	for at := 7 * time.Second; at < 14*time.Second; at += 100 * time.Millisecond {
		end, owned := live(t, []deed{
			{"crash", 0, at.Truncate(time.Second)}, {"probe", 1, at%time.Second + time.Millisecond},
			{"burst", 1, time.Millisecond}, {"failover", 1, time.Millisecond}, {"start", 0, 15 * time.Second},
		})
		for _, f := range end.faults {
			t.Errorf("failover after %v: %s", at, f)
		}
		if owned != 4 {
			t.Errorf("failover after %v: %d calls have an owner in the end, of 4", at, owned)
		}
	}
}
