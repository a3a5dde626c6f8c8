// Package bubble runs the agent and the supervisor together on a network of
// its own in fake time: what takes hours takes milliseconds, and is the same
// each time.
package bubble

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/supervisor"
)

// network carries datagrams between its hosts at once and in order.
type network struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]*host
}

type datagram struct {
	from net.Addr
	data []byte
}

// host is one address of the network: a net.PacketConn.
type host struct {
	network *network
	addr    *net.UDPAddr
	in      chan datagram
	closed  chan struct{}
	once    sync.Once
}

// listen takes an address, from whoever had it before.
func (n *network) listen(addr string) *host {
	udp, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		panic(err) // a constant of these tests
	}
	h := &host{network: n, addr: udp, in: make(chan datagram, 1000), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addr] = h
	return h
}

func (h *host) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-h.in:
		return copy(b, d.data), d.from, nil
	case <-h.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo loses what is for nobody, as UDP does.
func (h *host) WriteTo(b []byte, to net.Addr) (int, error) {
	h.network.mu.Lock()
	peer := h.network.hosts[to.String()]
	h.network.mu.Unlock()
	if peer == nil {
		return len(b), nil
	}
	select {
	case peer.in <- datagram{h.addr, append([]byte(nil), b...)}:
	case <-peer.closed:
	}
	return len(b), nil
}

func (h *host) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *host) LocalAddr() net.Addr              { return h.addr }
func (h *host) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (h *host) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (h *host) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

const (
	sipvigilAddr = "127.0.0.1:5060"
	aliceAddr    = "127.0.0.2:5060"
	bobAddr      = "127.0.0.3:5060"
)

// world is sipvigil between two far ends, alice who calls and bob who is called.
type world struct {
	t          *testing.T
	network    *network
	store      *embedded.Store
	agent      *b2bua.Agent
	supervisor *supervisor.Supervisor
	alice, bob *farEnd
	over       atomic.Pointer[store.Call] // how the call ended
	stop       func()                     // sipvigil
}

// witness keeps how the call ended: who is started again does not know.
type witness struct {
	*supervisor.Supervisor
	over *atomic.Pointer[store.Call]
}

func (o witness) Ended(c store.Call) {
	o.over.Store(&c)
	o.Supervisor.Ended(c)
}

// inWorld runs a test in a bubble with a call that is up.
func inWorld(t *testing.T, f func(w *world), alice, bob script) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, network: &network{hosts: make(map[string]*host)}, store: embedded.New()}
		ctx, forget := context.WithCancel(t.Context())
		var keeping sync.WaitGroup
		keeping.Go(func() { _ = w.store.Run(ctx) })
		w.alice, w.bob = newFarEnd(w.network, "alice", aliceAddr, alice), newFarEnd(w.network, "bob", bobAddr, bob)
		keeping.Go(w.alice.serve)
		keeping.Go(w.bob.serve)
		w.start()
		w.alice.dial()
		synctest.Wait()
		f(w)
		w.stop()
		_, _ = w.alice.host.Close(), w.bob.host.Close()
		forget()
		keeping.Wait()
	})
}

// start has sipvigil serve, with the calls that an earlier run had.
func (w *world) start() {
	w.t.Helper()
	log, registry := zap.NewNop(), prometheus.NewRegistry()
	watch := supervisor.Default()
	watch.Node = "edge-1"
	var err error
	if w.supervisor, err = supervisor.New(watch, w.store, log, registry); err != nil {
		w.t.Fatal(err)
	}
	cfg := b2bua.Default()
	cfg.Node, cfg.NextHop = watch.Node, "sip:bob@"+bobAddr
	if w.agent, err = b2bua.New(cfg, w.store, witness{w.supervisor, &w.over}, log, registry); err != nil {
		w.t.Fatal(err)
	}
	w.supervisor.Bind(w.agent)

	ctx, cancel := context.WithCancel(w.t.Context())
	key, _ := w.store.TagKey(ctx) // in memory nothing fails
	epoch, _ := w.store.NextEpoch(ctx)
	w.agent.Identify(epoch, key)
	var calls []store.Call
	_ = w.store.Owned(ctx, watch.Node, func(c store.Call) bool { calls = append(calls, c); return true })
	if err := w.agent.Restore(ctx, calls); err != nil {
		w.t.Fatal(err)
	}
	w.agent.Loaded()
	socket := w.network.listen(sipvigilAddr)
	var running sync.WaitGroup
	running.Go(func() { w.supervisor.Run(ctx) })
	running.Go(func() {
		if err := w.agent.Run(ctx, []net.PacketConn{socket}, nil); err != nil {
			w.t.Error(err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	synctest.Wait()
}

// restart stops sipvigil and starts it again, as another process would.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.alice.leap()
	w.bob.leap()
	w.start()
}

// call is the call, also when it has ended.
func (w *world) call() (c store.Call, err error) {
	if c := w.over.Load(); c != nil {
		return *c, nil
	}
	for _, one := range w.calls() {
		return w.supervisor.Call(w.t.Context(), one.ID) // with the health of its legs
	}
	return c, errors.New("the call is lost: it neither goes on nor has ended")
}

func (w *world) calls() (list []store.Call) {
	w.agent.Calls(func(c store.Call) bool { list = append(list, c); return true })
	return list
}

// pass lets fake time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
