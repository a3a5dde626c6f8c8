// Package bubble runs the agent and the supervisor together on a network of
// its own in fake time: what takes hours takes milliseconds, and is the same
// each time.
package bubble

import (
	"context"
	"errors"
	"net"
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
	"sipvigil/test/udp"
)

const (
	sipvigilAddr = "127.0.0.1:5060"
	aliceAddr    = "127.0.0.2:5060"
	bobAddr      = "127.0.0.3:5060"
)

// world is sipvigil between two far ends, alice who calls and bob who is called.
type world struct {
	t          *testing.T
	network    *udp.Network
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
		w := &world{t: t, network: udp.New(), store: embedded.New()}
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
	socket := w.network.Listen(sipvigilAddr)
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
