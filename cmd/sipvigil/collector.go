package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How the garbage collector works while there is much to do: it lets the heap
// grow to four times what is in use, which saves a tenth of the CPU time of a
// call. When it is quiet again the memory goes back to the system.
const (
	busyPercent  = 300
	quietPercent = 30
	busyBytes    = 4 << 20 // allocated in one look
	look         = 500 * time.Millisecond
	quietLooks   = 20 // in a row, until the memory goes back
	mostQuiet    = 8 * quietLooks
)

// tuneCollector adjusts the collector until ctx ends, unless GOGC says how it is to
// work.
func tuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	var last uint64
	quiet, busy := 0, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		metrics.Read(sample)
		now := sample[0].Value.Uint64()
		switch allocated := now - last; {
		case allocated >= busyBytes:
			quiet = 0
			if !busy {
				busy = true
				debug.SetGCPercent(busyPercent)
			}
		case busy || quiet > 0:
			// More becomes free a while later, when transactions are forgotten.
			if quiet++; quiet > mostQuiet {
				quiet = 0
			} else if quiet%quietLooks == 0 {
				busy = false
				debug.SetGCPercent(quietPercent)
				debug.FreeOSMemory()
			}
		}
		last = now
	}
}
