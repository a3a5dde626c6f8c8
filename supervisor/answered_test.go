package supervisor

import (
	"testing"
	"time"

	"sipvigil/store"
)

// callee has the callee of each call give what this says to a method.
func (w *world) callee(says func(method string) reply) {
	w.legs.mu.Lock()
	defer w.legs.mu.Unlock()
	w.legs.reply = func(id string, side store.Side) (reply, bool) {
		list := w.legs.sent[target{id, side}]
		return says(list[len(list)-1].method), side == store.Callee
	}
}

func silentTo(string) reply { return nothing() }

func TestADeadLegIsFoundByAMethodThatItAnsweredBefore(t *testing.T) {
	dies := func(name string, change func(*Config), begin func(*world)) {
		t.Run(name, func(t *testing.T) {
			inWorld(t, change, func(t *testing.T, w *world) {
				begin(w)
				w.callee(silentTo)
				sleep(6 * time.Minute)
				if ends := w.legs.ends(); len(ends) != 1 || ends[0].Reason != store.Callee.Silent() {
					t.Errorf("released: %v; it is %+v", ends, w.health("c", store.Callee))
				}
			})
		})
	}
	dies("it turned out to be blind, and died before it was asked with UPDATE", auto, func(w *world) {
		w.legs.stranger = func(store.Side) reply { return status(200) }
		w.call("c")
		sleep(10 * time.Second)
	})
	dies("it had refused OPTIONS, and died with the node that had its call", nil, func(w *world) {
		w.sup.cfg.Method = Auto
		w.restored("c", time.Hour, store.Health{Liveness: store.Alive, Method: "OPTIONS", Answers: true},
			store.Health{Liveness: store.Alive, Method: "UPDATE", Answers: true})
	})
}

func TestAFarEndThatIsDeafToOneMethodIsAskedWithTheOther(t *testing.T) {
	inWorld(t, auto, func(t *testing.T, w *world) {
		w.legs.stranger = func(store.Side) reply { return status(200) }
		w.callee(func(method string) reply {
			if method == "UPDATE" { // which it says that it takes, but a proxy keeps it
				return nothing()
			}
			return status(200)
		})
		w.call("c")
		sleep(time.Hour)
		if got := w.health("c", store.Callee); len(w.legs.ends()) > 0 || got.Liveness != store.Reachable || got.Method != "OPTIONS" {
			t.Errorf("released: %v; it is %+v, want it reachable by OPTIONS", w.legs.ends(), got)
		}
		w.callee(silentTo)
		sleep(2 * time.Minute)
		if ends := w.legs.ends(); len(ends) != 1 || ends[0].Reason != store.Callee.Silent() {
			t.Errorf("released: %v", ends)
		}
	})
}
