package b2bua_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
)

// inStall runs a test with an agent whose process may have stood still: then it
// does not know which calls are its own until told.
func inStall(t *testing.T, f func(w *world, stall func() (end func()))) {
	var told atomic.Pointer[chan struct{}]
	inWorld(t, func(c *b2bua.Config) {
		c.Recollect = func() {
			if ch := told.Load(); ch != nil {
				<-*ch
			}
		}
		c.Find = func(context.Context, string) (b2bua.Place, error) { return b2bua.Place{Addr: carolAddr}, nil }
	}, func(w *world) {
		f(w, func() func() {
			ch := make(chan struct{})
			told.Store(&ch)
			return func() { close(ch) }
		})
	})
}

func TestWhatCameDuringAStallIsServedOnceItIsKnownWhoseTheCallIs(t *testing.T) {
	inStall(t, func(w *world, stall func() func()) {
		w.connect()
		end := stall()
		w.alice.request("INFO", "")
		pass(100 * time.Millisecond)
		w.bob.nothing()
		end()
		w.bob.respond(w.bob.next("INFO"), 200, "") // it is still ours
		w.alice.next("200 INFO")
		w.heard("evidence caller: INFO", "evidence callee: 200 INFO")

		end = stall()
		w.alice.request("BYE", "")
		w.agent.Drop(w.id) // carol stands for the node that has adopted it
		end()
		w.carol.respond(w.carol.next("BYE"), 200, "")
		w.alice.next("200 BYE")
		w.bob.nothing()
		w.heard()
	})
}

func TestAReleaseWhoseAnswersAStallKeptBackIsLeftToWhoHasTheCall(t *testing.T) {
	inStall(t, func(w *world, stall func() func()) {
		w.connect()
		w.agent.Release(w.id, store.End{Reason: store.Operator})
		w.alice.next("BYE")
		w.bob.next("BYE")
		end := stall()
		pass(40 * time.Second) // Timer F
		w.agent.Drop(w.id)
		end()
		w.heard("ending operator")
	})
}
