package b2bua_test

import (
	"testing"
	"time"

	"sipvigil/test/udp"
)

func TestAConnectionThatDoesNotReadHoldsUpNoSocket(t *testing.T) {
	overTCP(t, func(w *world) {
		w.dial()
		unread := make(chan udp.Datagram) // she has read one more when she stops
		w.alice.host.In = unread
		defer func() { <-unread }()
		for range 2 {
			w.bob.respond(w.invite, 180, "")
		}
		for range 3 {
			w.monitor()
			w.carol.next("200 OPTIONS")
		}
		pass(5 * time.Second) // the connection is given up
		w.bob.respond(w.invite, 486, "")
		w.bob.next("ACK")
	})
}

// Each message is served in full before the next one is read, unless it waits.
func TestWhatIsReadIsServedInItsOrder(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.obs.slow = time.Second // the first INFO
		w.alice.request("INFO", "")
		w.alice.request("MESSAGE", "")
		w.monitor()
		w.carol.next("200 OPTIONS")
		w.bob.nothing()
		pass(time.Second)
		w.bob.next("INFO")
		w.bob.next("MESSAGE")
	})
}
