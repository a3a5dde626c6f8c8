package load

import (
	"fmt"
	"slices"
	"time"
)

// Report is what happened since the last one.
type Report struct {
	Calls, Good, Failed, Refused int64         // that ended
	Answered                     int64         // that were confirmed
	Again                        int64         // messages that were sent once more, by either side
	Probes, Repeated             int64         // requests that asked after a call; those that came again
	Disorder                     int64         // requests whose CSeq was not one higher than the last
	Lost                         int64         // calls that the element ended by itself
	P50, P99                     time.Duration // from INVITE to its 2xx
}

// Report returns what happened since it was last called.
func (g *Generator) Report() Report {
	n := &g.counts
	r := Report{
		Good: n.good.Swap(0), Failed: n.failed.Swap(0), Refused: n.refused.Swap(0), Answered: n.answered.Swap(0),
		Again: n.again.Swap(0), Probes: n.probes.Swap(0), Repeated: n.repeated.Swap(0),
		Disorder: n.disorder.Swap(0), Lost: n.lost.Swap(0),
	}
	r.Calls = r.Good + r.Failed + r.Refused + r.Lost
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.Sort(g.setup)
	if len(g.setup) > 0 {
		r.P50, r.P99 = g.setup[len(g.setup)/2], g.setup[len(g.setup)*99/100]
	}
	g.setup = g.setup[:0]
	return r
}

func (r Report) String() string {
	return fmt.Sprintf("calls %d good %d refused %d failed %d lost %d, set up %d in %v (p50) %v (p99), sent again %d, probes %d repeated %d, out of order %d",
		r.Calls, r.Good, r.Refused, r.Failed, r.Lost, r.Answered, r.P50.Round(10*time.Microsecond), r.P99.Round(10*time.Microsecond),
		r.Again, r.Probes, r.Repeated, r.Disorder)
}
