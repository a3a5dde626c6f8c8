package b2bua_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
)

var network127 = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// register is Channels that counts for itself and writes down what it is asked.
type register struct {
	mu    sync.Mutex // guards what is below
	used  map[string]int
	most  map[string]int // by trunk and leg
	lines []string
	slow  time.Duration // how long a claim takes
	fail  error
}

func way(trunk string, side store.Side) string { return fmt.Sprintf("%s %v", trunk, side) }

func (r *register) Claim(c store.Claim) (store.Grant, error) {
	r.mu.Lock()
	slow := r.slow
	r.mu.Unlock()
	time.Sleep(slow)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := way(c.Trunk, c.Side)
	switch most, limited := r.most[w]; {
	case r.fail != nil:
		r.lines = append(r.lines, "failed "+w)
		return store.Grant{}, r.fail
	case limited && r.used[w] >= most:
		r.lines = append(r.lines, "full "+w)
		return store.Grant{Refused: store.Full}, nil
	}
	r.used[w]++
	r.lines = append(r.lines, "claimed "+w)
	return store.Grant{}, nil
}

func (r *register) Free(trunk string, side store.Side, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used[way(trunk, side)]--
	r.lines = append(r.lines, "freed "+way(trunk, side))
}

func (r *register) Left(trunk string, side store.Side) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	most, limited := r.most[way(trunk, side)]
	if !limited {
		return 1
	}
	return max(0, most-r.used[way(trunk, side)])
}

func (r *register) heard(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	same(t, strings.Join(r.lines, "\n"), strings.Join(want, "\n"))
	r.lines = nil
}

// limited is two carriers and a pbx with limits, which a register counts.
func limited(t *testing.T, most map[string]int, change func(*b2bua.Config), f func(w *world, r *register)) {
	t.Helper()
	r := &register{used: make(map[string]int), most: most}
	inWorld(t, func(c *b2bua.Config) {
		twoCarriers(c)
		c.Trunks = append(c.Trunks, b2bua.Trunk{Name: "pbx", Sources: network127})
		for i := range c.Trunks {
			c.Trunks[i].Limit = store.Limit{In: 9, Out: 9}
		}
		c.Channels = r
		if change != nil {
			change(c)
		}
	}, func(w *world) { f(w, r) })
}

// channels are those that the agent vouches for.
func (w *world) channels() string {
	synctest.Wait()
	var list []string
	w.agent.Channels(func(trunk string, side store.Side, _ string) bool {
		list = append(list, way(trunk, side))
		return true
	})
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func TestACallHasAChannelOfEachTrunkUntilItEnds(t *testing.T) {
	limited(t, nil, nil, func(w *world, r *register) {
		w.dial()
		r.heard(t, "claimed pbx caller", "claimed a callee")
		w.accept()
		w.ack()
		same(t, w.channels(), "a callee, pbx caller")
		w.alice.request("BYE", "")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		r.heard(t, "freed pbx caller", "freed a callee")
		same(t, w.channels(), "")
	})
}

func TestAFullTrunkIsSkippedBeforeAnythingGoesThere(t *testing.T) {
	limited(t, map[string]int{"a callee": 0}, func(c *b2bua.Config) {
		c.Trunks[0].Targets = append(c.Trunks[0].Targets, "sip:127.0.0.1:5079") // asked for once
	}, func(w *world, r *register) {
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.take(w.carol)
		w.bob.nothing()
		r.heard(t, "claimed pbx caller", "full a callee", "claimed b callee")
	})
}

func TestAllTrunksAreFull(t *testing.T) {
	for _, c := range []struct {
		name     string
		whenFull int
		want     string
		after    string // Retry-After
		lines    []string
	}{
		{"each is asked", 0, "503", "5", []string{"claimed pbx caller", "full a callee", "full b callee", "freed pbx caller"}},
		{"486 as configured", 486, "486", "5", []string{"claimed pbx caller", "full a callee", "freed pbx caller"}},
		{"503 as configured", 503, "503", "5", []string{"claimed pbx caller", "full a callee", "freed pbx caller"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			limited(t, map[string]int{"a callee": 0, "b callee": 0}, func(cfg *b2bua.Config) {
				cfg.Trunks[0].WhenFull = c.whenFull
			}, func(w *world, r *register) {
				w.alice.request("INVITE", offer)
				w.alice.next("100 INVITE")
				same(t, w.alice.next(c.want+" INVITE").Get("Retry-After"), c.after)
				r.heard(t, c.lines...)
				w.heard("started", "ended congested("+c.want+") /")
				w.bob.nothing()
				w.carol.nothing()
			})
		})
	}
}

func TestACallerWhoseTrunkIsFullIsRefused(t *testing.T) {
	for status, want := range map[int]string{0: "503 INVITE", 486: "486 INVITE", 503: "503 INVITE"} {
		limited(t, map[string]int{"pbx caller": 0}, func(c *b2bua.Config) { c.Trunks[2].WhenFull = status }, func(w *world, r *register) {
			w.alice.request("INVITE", offer)
			w.alice.next("100 INVITE")
			w.alice.next(want)
			r.heard(t, "full pbx caller")
			w.bob.nothing()

			w.monitor() // OPTIONS gets the same
			w.carol.next(strings.Replace(want, "INVITE", "OPTIONS", 1))
		})
	}
}

func TestTheChannelOfATrunkThatFailsIsGivenBack(t *testing.T) {
	limited(t, nil, nil, func(w *world, r *register) {
		w.dial()
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.take(w.carol)
		r.heard(t, "claimed pbx caller", "claimed a callee", "freed a callee", "claimed b callee")
		w.carol.respond(w.invite, 486, "")
		w.alice.next("486 INVITE")
		r.heard(t, "freed pbx caller", "freed b callee")
	})
}

func TestTheChannelOfATrunkThatFailsIsNotHeldOnOneWithoutALimit(t *testing.T) {
	limited(t, nil, func(c *b2bua.Config) { c.Trunks[1].Limit = store.Limit{} }, func(w *world, r *register) {
		w.dial()
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.take(w.carol)
		r.heard(t, "claimed pbx caller", "claimed a callee", "freed a callee")
		same(t, w.channels(), "pbx caller")
	})
}

func TestTheAddressesOfATrunkShareAChannel(t *testing.T) {
	limited(t, nil, func(c *b2bua.Config) {
		c.Trunks[0].Targets = append(c.Trunks[0].Targets, "sip:"+carolAddr)
	}, func(w *world, r *register) {
		w.dial()
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.take(w.carol)
		r.heard(t, "claimed pbx caller", "claimed a callee")
	})
}

func TestAClaimThatComesTooLateIsGivenBack(t *testing.T) {
	limited(t, nil, nil, func(w *world, r *register) {
		r.slow = time.Second
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.cancel()
		pass(time.Minute)
		w.bob.nothing()
		r.heard(t, "claimed pbx caller", "freed pbx caller")
		w.heard("started", "ended caller-cancel(487) /")
		same(t, w.channels(), "")
	})
	limited(t, nil, nil, func(w *world, r *register) { // a claim in the way out
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.take(w.bob)
		r.mu.Lock()
		r.slow = time.Second
		r.mu.Unlock()
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.cancel()
		pass(time.Minute)
		w.carol.nothing()
		r.heard(t, "claimed pbx caller", "claimed a callee", "freed a callee", "claimed b callee", "freed pbx caller", "freed b callee")
	})
}

func TestACallIsRefusedWhenItsChannelCannotBeFoundOut(t *testing.T) {
	limited(t, nil, nil, func(w *world, r *register) {
		r.fail = store.ErrUnavailable
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		same(t, w.alice.next("503 INVITE").Get("Retry-After"), "10")
		r.heard(t, "failed pbx caller")
	})
}

func TestATrunkThatIsDownIsAskedForNoChannel(t *testing.T) {
	j := &judge{use: map[string]b2bua.Use{"a " + bobAddr: b2bua.UseNever}}
	limited(t, nil, func(c *b2bua.Config) { c.Links = j }, func(w *world, r *register) {
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.take(w.carol)
		r.heard(t, "claimed pbx caller", "claimed b callee")
	})
}

func TestACallThatWasReadBackKeepsItsChannels(t *testing.T) {
	limited(t, map[string]int{"a callee": 0}, nil, func(w *world, r *register) {
		c := w.remembered(store.Confirmed)
		c.TrunkIn, c.TrunkOut = "pbx", "a"
		if err := w.agent.Restore(w.Context(), []store.Call{c}); err != nil {
			t.Fatal(err)
		}
		same(t, w.channels(), "a callee, pbx caller")
		w.agent.Drop(c.ID) // another node's now: its channels are, too
		same(t, w.channels(), "")
		r.heard(t)
	})
}
