package b2bua_test

import (
	"context"
	"net"
	"testing"

	"sipvigil/b2bua"
)

const (
	allKey   = "0123456789abcdef0123456789abcdef" // of all nodes
	otherKey = "another-key-another-key-another-"
)

// A call may have begun at its node before that knew the key of all.
func TestATagOfAnotherKeyIsLookedForBeforeItIs481(t *testing.T) {
	place := b2bua.Place{Addr: carolAddr}
	inWorld(t, func(c *b2bua.Config) {
		c.Find = func(context.Context, string) (b2bua.Place, error) { return place, nil }
	}, func(w *world) {
		w.agent.Rekey([]byte(otherKey))
		w.connect()
		w.agent.Drop(w.id) // carol stands for the node that has it
		w.agent.Rekey([]byte(allKey))
		w.alice.request("INFO", "")
		w.carol.respond(w.carol.next("INFO"), 200, "")
		w.alice.next("200 INFO")

		place = b2bua.Place{} // it is nowhere, as those that were invented
		for range 99 {
			w.alice.request("INFO", "")
			w.alice.next("481 INFO")
		}
		w.alice.request("INFO", "")
		if m := w.alice.next("503 INFO"); m.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	})
}

func TestARequestThatAnotherNodePassesOnNeedsNoTagOfTheirKey(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.agent.Rekey([]byte(otherKey))
		w.connect()
		w.agent.Rekey([]byte(allKey))
		neighbour(w, agentAddr)
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.alice.to, _ = net.ResolveUDPAddr("udp", agentAddr)
	})
}
