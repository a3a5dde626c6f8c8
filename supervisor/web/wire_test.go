package web

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

func TestCallsOfAnotherNodeAreTold(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		l, hangUp := c.one.read("")
		defer hangUp()
		pass(2500 * time.Millisecond) // edge-2 knows by now that somebody listens, its calls are not read yet
		l.take(t)
		c.two.calls.follower.Changed(confirmed().ID)
		pass(2 * beat)
		got := l.take(t)
		if len(got) != 1 || got[0].kind != "call" || got[0].data != c.two.known() {
			t.Fatalf("a change on edge-2 is told as %v", got)
		}
		c.two.calls.follower.Braked(supervisor.Braking{Reason: "stall"}, true) // not for the others
		c.two.calls.follower.Ended(&supervisor.CDR{ID: "x\ny", Node: "edge-2"})
		pass(2 * beat)
		got = l.take(t)
		if len(got) != 1 || got[0].kind != "ended" || !strings.Contains(got[0].data, `"id":"x\ny"`) {
			t.Fatalf("an end on edge-2 is told as %v", got)
		}
	})
}

// What happened before the other node began to tell is read.
func TestCallsOfANodeThatBeginsToTellAreReadOnce(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		l, hangUp := c.one.read("")
		defer hangUp()
		pass(time.Minute)
		if got, _ := resets(t, l.take(t)); !cmp.Equal(got, []string{`{"node":"edge-2"}`}) {
			t.Errorf("resets: %v", got)
		}
		another, hangUpOther := c.one.read("")
		defer hangUpOther()
		pass(time.Minute)
		if got, _ := resets(t, append(another.take(t), l.take(t)...)); len(got) > 0 {
			t.Errorf("another reader makes resets: %v", got)
		}
	})
}

func TestAGapBetweenNodesHasTheCallsOfThatNodeReadAgain(t *testing.T) {
	for name, gap := range map[string]func(c *cluster){
		"a message is lost":     func(c *cluster) { c.air.mu.Lock(); c.air.lost = 1; c.air.mu.Unlock() },
		"the connection breaks": func(c *cluster) { c.air.breaks() },
		"publishing fails": func(c *cluster) {
			c.air.fail(errors.New("refused"))
			pass(3 * time.Second)
			c.air.fail(nil)
		},
		"more happened than is kept": func(c *cluster) {
			f := c.two.server.feed
			f.mu.Lock()
			f.ring.skip()
			f.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onCluster(t, func(t *testing.T, c *cluster) {
				l, hangUp := c.one.read("")
				defer hangUp()
				pass(time.Minute)
				l.take(t)
				gap(c)
				c.two.calls.follower.Changed(confirmed().ID)
				pass(gapTime)
				if got, _ := resets(t, l.take(t)); !cmp.Equal(got, []string{`{"node":"edge-2"}`}) {
					t.Errorf("resets: %v", got)
				}
				c.two.calls.follower.Changed(confirmed().ID)
				pass(2 * beat)
				if got, others := resets(t, l.take(t)); len(got) > 0 || !cmp.Equal(others, []string{"call"}) {
					t.Errorf("after it: %v, %v", got, others)
				}
			})
		})
	}
}

// Until they are read the store has what was before the gap.
func TestCallsAreReadAWhileAfterAGap(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		l, hangUp := c.one.read("")
		defer hangUp()
		pass(time.Minute)
		c.air.mu.Lock()
		c.air.lost = 1
		c.air.mu.Unlock()
		c.two.calls.follower.Changed(confirmed().ID)
		pass(2 * beat)
		c.two.calls.follower.Changed(confirmed().ID)
		pass(2 * beat)
		l.take(t)
		pass(settleTime - 4*beat)
		if got, _ := resets(t, l.take(t)); len(got) > 0 {
			t.Errorf("too early: %v", got)
		}
		pass(earTime + 4*beat)
		if got, _ := resets(t, l.take(t)); len(got) != 1 {
			t.Errorf("resets: %v", got)
		}
	})
}

func TestGapsAreBounded(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		l, hangUp := c.one.read("")
		defer hangUp()
		pass(time.Minute)
		l.take(t)
		for range 20 { // one every three seconds
			c.air.breaks()
			pass(3 * time.Second)
		}
		if got, _ := resets(t, l.take(t)); len(got) < 2 || len(got) > 7 {
			t.Errorf("%d resets in a minute", len(got))
		}
	})
}

// A node of an older version, or a store that lets nobody publish.
func TestCallsOfANodeThatTellsNothingAreReadNowAndThen(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		c.air.fail(errors.New("NOPERM"))
		l, hangUp := c.one.read("")
		defer hangUp()
		pass(2*refreshTime + 5*time.Second)
		if got, _ := resets(t, l.take(t)); !cmp.Equal(got, []string{`{"node":"edge-2"}`, `{"node":"edge-2"}`}) {
			t.Errorf("resets: %v", got)
		}
	})
}

// Each node has a word for the others once a second, and no more while nobody
// reads, not even when they have read each other's.
func TestNodesThatNobodyReadsSayLittle(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		_, hangUp := c.one.read("")
		_, hangUpTwo := c.two.read("")
		pass(5 * time.Second)
		hangUp()
		hangUpTwo()
		pass(3 * linger)
		c.air.spoken("edge-1")
		c.air.spoken("edge-2")
		for i := range 1000 {
			c.one.calls.follower.Ended(&supervisor.CDR{ID: fmt.Sprint(i)})
			pass(10 * time.Millisecond)
		}
		for _, s := range []*stage{c.one, c.two} {
			if f := s.server.feed; f.awake.Load() || f.readers != 0 || f.people != 0 {
				t.Errorf("%s is awake: %v, %d readers, %d clients", s.server.cfg.Node, f.awake.Load(), f.readers, f.people)
			}
			if n := c.air.spoken(s.server.cfg.Node); n < 9 || n > 11 {
				t.Errorf("%s said %d words in 10 s", s.server.cfg.Node, n)
			}
		}
		if len(c.air.ears) > 0 {
			t.Errorf("somebody listens to %v", c.air.ears)
		}
	})
}

// What comes from another node is not sent on: nothing runs in circles.
func TestNodesTellOnlyWhatIsTheirs(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		l, hangUp := c.one.read("")
		defer hangUp()
		other, hangUpTwo := c.two.read("")
		defer hangUpTwo()
		pass(time.Minute)
		l.take(t)
		other.take(t)
		c.two.calls.follower.Changed(confirmed().ID)
		pass(10 * time.Second)
		for name, reader := range map[string]*line{"edge-1": l, "edge-2": other} {
			if got, others := resets(t, reader.take(t)); len(got) > 0 || !cmp.Equal(others, []string{"call"}) {
				t.Errorf("%s: %v, %v", name, got, others)
			}
		}
	})
}

func TestANodeThatIsGoneIsNotListenedTo(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		_, hangUp := c.one.read("")
		defer hangUp()
		pass(5 * time.Second)
		c.mu.Lock()
		c.nodes[1].State = store.NodeDead
		c.mu.Unlock()
		pass(5 * time.Second)
		if len(c.air.ears) > 0 {
			t.Errorf("somebody listens to %v", c.air.ears)
		}
	})
}

// Thousands of changes a second go into few messages, and each is told.
func TestManyChangesOfAnotherNodeAreTold(t *testing.T) {
	onCluster(t, func(t *testing.T, c *cluster) {
		const calls = 1000
		for i := range calls {
			known := confirmed()
			known.ID = fmt.Sprint("call-", i)
			known.Legs[store.Caller].UserAgent = strings.Repeat("long", 300) // more than goes into one message
			c.two.calls.calls[known.ID] = known
		}
		l, hangUp := c.one.read("")
		defer hangUp()
		pass(time.Minute)
		l.take(t)
		c.air.spoken("edge-2")
		for range 5 {
			for i := range calls {
				c.two.calls.follower.Changed(fmt.Sprint("call-", i))
			}
			pass(time.Second)
		}
		nodes, others := resets(t, l.take(t))
		if len(nodes) > 0 || len(others) != 5*calls {
			t.Errorf("%d of %d changes, resets %v", len(others), 5*calls, nodes)
		}
		if n := c.air.spoken("edge-2"); n > 100 {
			t.Errorf("in %d messages", n)
		}
	})
}
