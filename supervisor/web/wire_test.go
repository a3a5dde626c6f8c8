package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// air is the wire between the nodes of a test.
type air struct {
	mu     sync.Mutex
	ears   map[string][]func([]byte) // by who is listened to
	said   map[string]int            // messages of each node
	failed error                     // of Publish
	lost   int                       // messages that are lost from now on
	cut    chan struct{}             // closed: nobody listens any more

	boxes map[string]func([]byte) // who takes what is sent to it
	// carry hands a letter over, if it is set; without it each arrives at once.
	carry func(l letter, arrive func()) (reached int, err error)
}

func newAir() *air {
	return &air{ears: make(map[string][]func([]byte)), said: make(map[string]int), cut: make(chan struct{}), boxes: make(map[string]func([]byte))}
}

// antenna is what one node has of it.
type antenna struct {
	*air
	node string
}

func (a antenna) Publish(_ context.Context, message []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said[a.node]++
	if a.failed != nil {
		return 0, a.failed
	}
	if a.lost > 0 {
		a.lost--
		return len(a.ears[a.node]), nil
	}
	for _, hear := range a.ears[a.node] {
		hear(message)
	}
	return len(a.ears[a.node]), nil
}

func (a antenna) Listen(ctx context.Context, node string, hear func([]byte)) error {
	a.mu.Lock()
	a.ears[node] = append(a.ears[node], hear) // one at most in these tests
	cut := a.cut
	a.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-cut:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.ears, node)
	return errors.New("the line is dead")
}

func (a antenna) Send(_ context.Context, node string, message []byte) (int, error) {
	a.mu.Lock()
	take, carry := a.boxes[node], a.carry
	a.mu.Unlock()
	if take == nil {
		return 0, nil
	}
	l, err := readLetter(message)
	if err != nil {
		panic(fmt.Sprintf("%s sends %s: %v", a.node, message, err))
	}
	arrive := func() { take(message) }
	if carry == nil {
		arrive()
		return 1, nil
	}
	return carry(l, arrive)
}

func (a antenna) Receive(ctx context.Context, take func([]byte)) error {
	a.box(a.node, take)
	<-ctx.Done()
	a.box(a.node, nil)
	return ctx.Err()
}

// box has what is sent to a node taken, nil: not any more.
func (a *air) box(node string, take func([]byte)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.boxes[node] = take; take == nil {
		delete(a.boxes, node)
	}
}

// breaks ends all subscriptions.
func (a *air) breaks() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.cut)
	a.cut = make(chan struct{})
}

// fail has all messages fail from now on, or go through with nil.
func (a *air) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = err
}

// spoken is how many messages a node has published since it was called before.
func (a *air) spoken(node string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.said[node]
	a.said[node] = 0
	return n
}

// cluster is two nodes in a bubble.
type cluster struct {
	air      *air
	one, two *stage
	mu       sync.Mutex
	nodes    []store.Node
}

func (c *cluster) list(context.Context) ([]store.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]store.Node{}, c.nodes...), nil
}

func onCluster(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{air: newAir(), nodes: []store.Node{{Name: "edge-1", State: store.NodeUp}, {Name: "edge-2", State: store.NodeUp}}}
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		start := func(name string) *stage {
			known := confirmed()
			known.Node = name
			s := &stage{t: t, calls: &fakeCalls{calls: map[string]store.Call{known.ID: known}}}
			s.server = newServer(t, s.calls, healthy)
			s.server.cfg.Node, s.server.cfg.Nodes, s.server.cfg.Wire = name, c.list, antenna{c.air, name}
			run.Go(func() { s.server.follow(ctx) })
			run.Go(func() { s.server.tellOthers(ctx) })
			run.Go(func() { s.server.hearOthers(ctx) })
			s.server.meet()
			run.Go(func() { s.server.courier.run(ctx) })
			run.Go(func() { s.server.runErrands(ctx) })
			return s
		}
		c.one, c.two = start("edge-1"), start("edge-2")
		test(t, c)
		stop()
		run.Wait()
	})
}

// resets are the nodes whose calls are to be read again, and the events beside.
func resets(t *testing.T, all []told) (nodes, others []string) {
	t.Helper()
	for _, e := range all {
		switch e.kind {
		case "overview":
		case "reset":
			nodes = append(nodes, e.data)
		default:
			others = append(others, e.kind)
		}
	}
	return nodes, others
}

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

// known is the call of this node as it is told.
func (s *stage) known() string {
	c := s.calls.calls[confirmed().ID]
	return strings.TrimSpace(string(encode(call(&c))))
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

func TestBulletinsThatAreDamaged(t *testing.T) {
	w := newBulletinWriter()
	test := func(what string, b bulletin, want string) {
		t.Helper()
		got, err := unpackBulletin(w.pack(&b))
		if want == "" && (err != nil || got.session != b.session || got.number != b.number) {
			t.Errorf("%s: %v, %v", what, got, err)
		} else if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	object := []byte(`{"id":"1"}`)
	test("whole", bulletin{"s", 1, []bulletinEvent{{"call", object}, {"ended", object}}}, "")
	test("empty", bulletin{}, "")
	test("of a kind that is not known", bulletin{"s", 1, []bulletinEvent{{"later", []byte("?")}}}, "")
	test("no object", bulletin{"s", 1, []bulletinEvent{{"call", []byte("7")}}}, "no object")
	test("not JSON", bulletin{"s", 1, []bulletinEvent{{"call", []byte(`{"id":`)}}}, "no object")
	test("nothing", bulletin{"s", 1, []bulletinEvent{{"call", nil}}}, "no object")
	test("too long", bulletin{"s", 1, []bulletinEvent{{"call", make([]byte, bulletinMost)}}}, "too long")
	for _, junk := range []string{"", "junk", "\x01\x00\x00\xff\xff"} {
		if _, err := unpackBulletin([]byte(junk)); err == nil {
			t.Errorf("%q is one", junk)
		}
	}
}

// Whatever another node sends, what is passed on is events that a browser can read.
func FuzzBulletin(f *testing.F) {
	w := newBulletinWriter()
	f.Add(w.pack(&bulletin{"ABCDEFGH", 7, []bulletinEvent{{"call", []byte(`{"id":"1"}`)}, {"ended", []byte(`{}`)}}}))
	f.Add(w.pack(&bulletin{}))
	f.Add([]byte("\x01\x05\x00\xfa\xff 1\nx\n"))
	f.Fuzz(func(t *testing.T, message []byte) {
		b, err := unpackBulletin(message)
		if err != nil {
			return
		}
		for _, e := range b.events {
			if strings.ContainsAny(string(e.body), "\n\r") && strings.Contains(string(encode(json.RawMessage(e.body))), "\n\n") {
				t.Errorf("%q breaks the stream", e.body)
			}
		}
		again, err := unpackBulletin(newBulletinWriter().pack(&b))
		if err != nil || len(again.events) != len(b.events) || again.number != b.number {
			t.Errorf("%v is read as %v, %v", b, again, err)
		}
	})
}
