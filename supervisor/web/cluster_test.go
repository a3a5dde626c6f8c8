package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"sipvigil/store"
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

// known is the call of this node as it is told.
func (s *stage) known() string {
	c := s.calls.calls[confirmed().ID]
	return strings.TrimSpace(string(encode(call(&c))))
}
