package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"sipvigil/b2bua/nap"
)

// How the garbage collector works: it lets the heap grow by the more, the more
// is allocated. So it always takes about as much of the CPU, little, and while
// calls rest their memory is all that is in use. When less is allocated than
// before, memory goes back to the system.
const (
	percentPerMega = 8 // growth of the heap for each MB that is allocated in a second
	leastPercent   = 10
	mostPercent    = 200
	look           = time.Second
	looks          = 10 // in a span, after which less is less
	spans          = 4  // until memory is released: transactions are forgotten after 32 s
)

// tuneCollector adjusts the collector until ctx ends, unless GOGC says how it is to
// work.
func tuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	naps := nap.New()
	context.AfterFunc(ctx, naps.Close)
	var last uint64
	percent, most, seen, left := 100, 0, 0, 0
	for {
		naps.Sleep(look)
		if ctx.Err() != nil {
			return
		}
		metrics.Read(sample)
		now := sample[0].Value.Uint64()
		wanted := percentFor(now - last)
		last = now
		if wanted > percent*5/4 {
			percent, most, seen = wanted, 0, 0
			debug.SetGCPercent(percent)
			continue
		}
		most = max(most, wanted)
		if seen++; seen < looks {
			continue
		}
		if left--; most < percent*3/4 {
			percent, left = most, spans
			debug.SetGCPercent(percent)
		}
		if left == 1 {
			debug.FreeOSMemory() // it is a collection of its own
		}
		most, seen = 0, 0
	}
}

// percentFor is what GOGC is to be when so much is allocated in one look.
func percentFor(allocated uint64) int {
	perSecond := allocated * uint64(time.Second/look)
	return min(max(int(perSecond*percentPerMega>>20), leastPercent), mostPercent)
}
