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

// TestCompareLoad has the same load generator make the same calls through
// sipvigil and through kamailio, one after the other on the same machine, and
// prints what they cost each. Of two rounds the better one counts, so that what
// else the machine does weighs less.
func TestCompareLoad(t *testing.T) {
	costs := make(map[string]map[string]cost)
	elements := []struct {
		name  string
		start func(t testing.TB) (addr string, pid int)
	}{
		{"sipvigil", func(t testing.TB) (string, int) { return loaded(t, "embedded") }},
		{"sipvigil, Redis", func(t testing.TB) (string, int) { url, _ := storetest.Redis(t); return loaded(t, url) }},
		{"kamailio", func(t testing.TB) (string, int) { return startCompared(t, 512) }},
	}
	for _, work := range []struct {
		name   string
		rounds int
		do     func(t *testing.T, addr string, pid int) cost
	}{
		{"a call at 300/s", 2, calls(300)},
		{"a call at 1000/s", 2, calls(1000)},
		{"a call at 2000/s", 2, calls(2000)},
		{"a probe of 5000 calls", 1, probes},
	} {
		costs[work.name] = make(map[string]cost)
		for _, e := range elements {
			for range work.rounds {
				t.Run(work.name+" through "+e.name, func(t *testing.T) {
					addr, pid := e.start(t)
					c := work.do(t, addr, pid)
					if best, ok := costs[work.name][e.name]; !ok || c.each < best.each {
						costs[work.name][e.name] = c
					}
				})
			}
		}
		print := func(name string) {
			c := costs[work.name][name]
			fmt.Printf("%-24s %-16s %7.1f us  %5.2f of kamailio's  %5.1f KiB  %v\n", work.name, name, c.each,
				c.each/costs[work.name]["kamailio"].each, c.kept, c.calls)
		}
		for _, e := range elements {
			print(e.name)
		}
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

// probes holds 5000 calls for as long as each side is asked once or twice.
func probes(t *testing.T, addr string, pid int) cost {
	const held = 5000
	g, empty := generator(t, addr), used(t, pid)
	if err := g.Start(context.Background(), 1000, held, 0); err != nil {
		t.Fatal(err)
	}
	g.Report()
	before := used(t, pid)
	if err := g.Watch(context.Background(), 70*time.Second); err != nil {
		t.Fatal(err)
	}
	after, r := used(t, pid), g.Report()
	kept := float64(after.Sub(empty).PSS) / 1024 / held
	return cost{each: float64(after.Sub(before).CPU.Microseconds()) / float64(max(r.Probes, 1)), kept: kept, calls: r}
}
