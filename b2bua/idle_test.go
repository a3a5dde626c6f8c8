package b2bua

import (
	"fmt"
	"runtime"
	"testing"
)

// Thousands of phones may be connected, most of which have nothing to say.
func TestAConnectionThatRestsHoldsNoRoomForAMessage(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		used := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC() // which empties pools
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		const phones = 200
		before := used()
		for port := range phones {
			l.connect(n.T, 1+port).write(options(fmt.Sprint(port)))
		}
		if each := (used() - before) / phones; each > maxDatagram/2 {
			n.Errorf("%d bytes a connection", each)
		}
	})
}
