package main

import "testing"

func TestTheHeapGrowsWithWhatIsAllocated(t *testing.T) {
	for _, c := range []struct {
		perSecond float64 // MB
		want      int
	}{{0, leastPercent}, {1, leastPercent}, {2, 16}, {10, 80}, {25, mostPercent}, {1e6, mostPercent}} {
		inOneLook := uint64(c.perSecond * look.Seconds() * (1 << 20))
		if got := percentFor(inOneLook); got != c.want {
			t.Errorf("%v MB a second: %d %%, want %d", c.perSecond, got, c.want)
		}
	}
}
