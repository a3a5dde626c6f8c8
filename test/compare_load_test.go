//go:build compare

package test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sipvigil/store/storetest"
	traffic "sipvigil/test/load"
)

// cost is what one kind of work costs an element.
type cost struct {
	each  float64 // µs of CPU time
	kept  float64 // KiB a call, of calls that are held
	calls traffic.Report
}

// element is what calls go through.
type element struct {
	name  string
	start func(t testing.TB) (addr string, pid int)
}

// work is what is done to each of some elements, some times.
type work struct {
	name   string
	rounds int
	do     func(t *testing.T, addr string, pid int) cost
}

// TestCompareLoad has the same load generator make the same calls through
// sipvigil and through kamailio, one after the other on the same machine, and
// prints what they cost each. Of two rounds the better one counts, so that what
// else the machine does weighs less. kamailio is that of the Debian package, once
// as its service starts it, and once with its quick allocator.
func TestCompareLoad(t *testing.T) {
	kamailio := func(how compared) func(testing.TB) (string, int) {
		how.memory = 512
		return func(t testing.TB) (string, int) { return startCompared(t, how) }
	}
	for _, group := range []struct {
		elements []element
		works    []work
	}{
		{[]element{
			{"sipvigil", func(t testing.TB) (string, int) { return loaded(t, "embedded") }},
			{"kamailio", kamailio(compared{children: 2})},
			{"kamailio, quick", kamailio(compared{children: 2, quick: true})},
		}, []work{{"300 calls a second", 2, calls(300)}, {"1000 calls a second", 2, calls(1000)}, {"2000 calls a second", 2, calls(2000)},
			{"probes of 5000", 1, probes}}},
		{[]element{
			{"sipvigil", func(t testing.TB) (string, int) { url, _ := storetest.Redis(t); return loaded(t, url) }},
			// Two children wait for Redis too often to keep up.
			{"kamailio", func(t testing.TB) (string, int) {
				url, _ := storetest.Redis(t)
				return kamailio(compared{children: 4, redis: url})(t)
			}},
			{"kamailio, quick", func(t testing.TB) (string, int) {
				url, _ := storetest.Redis(t)
				return kamailio(compared{children: 4, redis: url, quick: true})(t)
			}},
		}, []work{{"500 calls a second, Redis", 2, calls(500)}, {"1000 calls a second, Redis", 2, calls(1000)},
			{"probes of 5000, Redis", 1, probes}}},
	} {
		for _, work := range group.works {
			t.Run(work.name, func(t *testing.T) { compare(t, group.elements, work) })
		}
	}
}

// compare does the work to each element and prints what it cost, and that in
// relation to the last two.
func compare(t *testing.T, elements []element, work work) {
	costs := make([]cost, len(elements))
	for i, e := range elements {
		for round := range work.rounds {
			t.Run(e.name, func(t *testing.T) {
				addr, pid := e.start(t)
				if c := work.do(t, addr, pid); round == 0 || c.each < costs[i].each {
					costs[i] = c
				}
			})
		}
	}
	kamailio, quick := costs[len(costs)-2].each, costs[len(costs)-1].each
	for i, c := range costs {
		fmt.Printf("%-26s %-15s %7.1f us  %5.2f of kamailio's, quick %5.2f  %5.1f KiB  %v\n", work.name, elements[i].name,
			c.each, c.each/kamailio, c.each/quick, c.kept, c.calls)
	}
}

// loaded is a sipvigil with the intervals that it has by default.
func loaded(t testing.TB, store string) (addr string, pid int) {
	d := serve(t, store, "--probe-interval", "30s", "--probe-timeout", "32s")
	return d.udp, d.cmd.Process.Pid
}

func generator(t *testing.T, addr string) *traffic.Generator {
	t.Helper()
	g, err := traffic.Open(netip.MustParseAddrPort(addr), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func used(t *testing.T, pid int) traffic.Usage {
	t.Helper()
	u, err := traffic.Used(pid)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// calls makes calls of half a second for five seconds.
func calls(rate int) func(*testing.T, string, int) cost {
	return func(t *testing.T, addr string, pid int) cost {
		g, before := generator(t, addr), used(t, pid)
		if err := g.Start(context.Background(), float64(rate), 5*rate, time.Second/2); err != nil {
			t.Fatal(err)
		}
		if err := g.Settle(context.Background()); err != nil {
			t.Fatal(err)
		}
		after := used(t, pid).Sub(before)
		return cost{each: float64(after.CPU.Microseconds()) / float64(5*rate), calls: g.Report()}
	}
}

// TestCompareLoadOfProbes prints what a probe costs sipvigil where there are
// 20,000 a second. kamailio asks a call every 30 s at most.
func TestCompareLoadOfProbes(t *testing.T) {
	d := serve(t, "embedded", "--probe-interval", "1s", "--probe-timeout", "32s")
	c := held(t, d.udp, d.cmd.Process.Pid, 10_000, 3*time.Second, 10*time.Second)
	fmt.Printf("%-26s %-15s %7.1f us  %v\n", "20000 probes a second", "sipvigil", c.each, c.calls)
}

// probes holds 5000 calls, and counts from when nothing is left of their set-up,
// whose transactions linger for 32 s, RFC 3261 section 17: each side is asked
// twice then.
func probes(t *testing.T, addr string, pid int) cost {
	return held(t, addr, pid, 5000, 60*time.Second, 60*time.Second)
}

// held holds calls, and counts the probes from wait after their set-up on.
func held(t *testing.T, addr string, pid, calls int, wait, count time.Duration) cost {
	g, empty := generator(t, addr), used(t, pid)
	if err := g.Start(context.Background(), 1000, calls, 0); err != nil {
		t.Fatal(err)
	}
	if err := g.Watch(context.Background(), wait); err != nil {
		t.Fatal(err)
	}
	if r := g.Report(); r.Lost+r.Failed > 0 {
		t.Errorf("%d calls were lost, %d failed", r.Lost, r.Failed)
	}
	before := used(t, pid)
	if err := g.Watch(context.Background(), count); err != nil {
		t.Fatal(err)
	}
	after, r := used(t, pid), g.Report()
	kept := float64(after.Sub(empty).PSS) / 1024 / float64(calls)
	return cost{each: float64(after.Sub(before).CPU.Microseconds()) / float64(max(r.Probes, 1)), kept: kept, calls: r}
}
