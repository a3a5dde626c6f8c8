package b2bua_test

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/test/zone"
)

// Another server of a carrier may know no dialog of the first: its 481 would end
// each of the calls for which this machine had no network for a moment.
func TestALegStaysWhereItIsWhenThisMachineHasNoNetwork(t *testing.T) {
	for name, ask := range map[string]func(*world){
		"a probe":     func(w *world) { w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second) },
		"an UPDATE":   func(w *world) { w.agent.Probe(w.id, store.Callee, "UPDATE", 32*time.Second) },
		"one relayed": func(w *world) { w.alice.request("INFO", ""); w.alice.next("500 INFO") },
	} {
		t.Run(name, func(t *testing.T) {
			inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
				named(w, "sip:bob@carrier.example")
				w.bob.next("ACK")
				w.network.Refuse(bobAddr, &net.OpError{Op: "write", Err: os.NewSyscallError("sendto", syscall.ENETUNREACH)})
				ask(w)
				w.network.Refuse(bobAddr, nil)
				w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
				w.bob.next("OPTIONS")
				w.carol.nothing()
			})
		})
	}
}
