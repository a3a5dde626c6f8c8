package b2bua

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/test/ua"
)

// volleyCalls are calls of one agent that sends from a socket that remembers.
func volleyCalls(t *testing.T, n int) ([]*call, *echo, []store.Question) {
	first, s := quickCall(t, "192.0.2.1:5060", store.Dialog{})
	a, conn := first.agent, &echo{}
	s.conn = newPacketConn(conn, a.metrics, a.seed)
	s.conn.guard.agent = a
	close(a.serving)
	var calls []*call
	var ask []store.Question
	for i := range n {
		d := store.Dialog{CallID: fmt.Sprint("c", i), LocalURI: "<sip:b@b>", RemoteURI: "<sip:a@a>", Target: "sip:a@192.0.2.9", Transport: "udp",
			Listener: "192.0.2.1:5060", Peer: "192.0.2.9:5060", LocalMark: 1 << 30, LocalAsked: 1 << 30}
		c := a.newCall(store.Call{ID: fmt.Sprint(i), State: store.Confirmed, Legs: [2]store.Leg{{Dialog: d}, {Dialog: d}}})
		a.add(c)
		calls = append(calls, c)
		ask = append(ask, store.Question{ID: c.id, Method: "OPTIONS", Of: i})
	}
	return calls, conn, ask
}

func TestNothingOfACallOvertakesItsProbeInAVolley(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, conn, ask := volleyCalls(t, 3)
		ask = append(ask, store.Question{ID: "1", Side: store.Callee, Method: "OPTIONS"}) // the turn is taken
		var mu sync.Mutex                                                                 // guards got
		var got []string
		note := func(what string) int {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, what)
			return len(got)
		}
		conn.heard = func(b []byte) {
			m, _ := ua.Parse(b)
			if note(m.CallID()+" "+m.Get("CSeq")) == 1 {
				for _, c := range calls {
					c.do(func() { note("later of c" + c.id) })
				}
			}
			synctest.Wait()
		}
		calls[0].agent.Ask(ask, 64*sip.T1)
		synctest.Wait()
		want := [][2]string{{"c0 1 OPTIONS", "later of c0"}, {"c1 1 OPTIONS", "later of c1"}, {"c2 1 OPTIONS", "later of c2"}}
		for _, order := range want {
			if i, j := slices.Index(got, order[0]), slices.Index(got, order[1]); i < 0 || j < i {
				t.Errorf("%v, want %v", got, order)
			}
		}
		if n := len(got); n != 7 {
			t.Errorf("%d requests and functions, want 4 and 3: %v", n, got)
		}
		calls[0].agent.quick.stop()
		calls[0].agent.work.Wait()
	})
}

func TestEachAnswerOfAVolleyGoesToWhomItConcerns(t *testing.T) {
	calls, conn, ask := volleyCalls(t, 3)
	told := &heard{}
	calls[0].agent.quick.observer, calls[0].agent.observer = told, told
	from := netip.MustParseAddrPort("192.0.2.9:5060")
	conn.heard = func([]byte) { serveAnswer(&calls[0].agent.quick, conn.answer(), from, time.Now()) }
	calls[2].set(func(rec *record) { rec.State = store.Ending })
	calls[0].agent.Ask(append(ask, store.Question{ID: "none", Method: "OPTIONS"}), 64*sip.T1)
	want := []string{"none 4 <nil>", "2 4 2", "0 0 0", "1 0 1"} // NoCall, Answered, and Of
	if diff := cmp.Diff(want, told.answers); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range calls {
		if !c.turns.enter() {
			t.Errorf("call %s is not at rest", c.id)
		}
	}
}

func TestARoundTripTakesNoLongerBecauseTheClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ set, want time.Duration }{
			{0, 37 * time.Millisecond}, {time.Hour, 40 * time.Millisecond}, {-time.Hour, 40 * time.Millisecond},
		} {
			calls, conn, ask := volleyCalls(t, 1)
			told := &heard{}
			calls[0].agent.quick.observer = told
			calls[0].agent.Ask(ask, 64*sip.T1)
			time.Sleep(40 * time.Millisecond)
			came := time.Now().Round(0).Add(-3*time.Millisecond - tt.set) // by the clock of the kernel, before it was set
			serveAnswer(&calls[0].agent.quick, conn.answer(), netip.MustParseAddrPort("192.0.2.9:5060"), came)
			if diff := cmp.Diff([]time.Duration{tt.want}, told.rtts); diff != "" {
				t.Errorf("set by %v: (-want +got):\n%s", tt.set, diff)
			}
			calls[0].agent.quick.stop()
		}
	})
}

func TestAVolleyIsNotFiredOnceItsCallsMayBeAnothers(t *testing.T) {
	calls, conn, ask := volleyCalls(t, 3)
	told := &heard{}
	calls[0].agent.quick.observer, calls[0].agent.observer = told, told
	conn.heard = func(b []byte) { t.Errorf("sent: %s", b) }
	asked := 0 // the process stands still after its requests were made
	calls[0].agent.cfg.May = func() bool { asked++; return asked <= len(calls) }
	calls[0].agent.Ask(ask, 64*sip.T1)
	slices.Sort(told.answers)
	if diff := cmp.Diff([]string{"0 3 0", "1 3 1", "2 3 2"}, told.answers); diff != "" { // Deferred
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range calls {
		if !c.turns.enter() {
			t.Errorf("call %s is not at rest", c.id)
		}
	}
	if calls[0].agent.quick.wait() {
		t.Error("an answer is waited for")
	}
	calls[0].agent.quick.stop()
}

// heard is an observer that notes answers.
type heard struct {
	noObserver
	answers []string
	rtts    []time.Duration
}

func (h *heard) Answered(replies ...store.Reply) {
	for _, a := range replies {
		h.answers = append(h.answers, fmt.Sprint(a.ID, " ", a.Kind, " ", a.Of))
		h.rtts = append(h.rtts, a.RTT)
	}
}
