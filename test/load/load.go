// Package load makes many calls through a SIP element and says what they cost
// it. It is both sides of each call, in one process and on two UDP sockets,
// without a goroutine or a timer a call, and takes messages apart no further
// than it must, so that it leaves the machine to what it measures. It answers
// the in-dialog requests by which the element asks after a call, and looks at
// their numbers.
//
// The element is anything that sends an INVITE where its Request-URI says.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// T1 and T2 of RFC 3261 section 17.1.1.1, for what is sent again here.
const (
	t1       = 500 * time.Millisecond
	t2       = 4 * time.Second
	lifetime = 64 * t1
)

// Generator makes calls through one element. Its methods are for one goroutine.
type Generator struct {
	target netip.AddrPort
	caller *net.UDPConn // its requests begin calls
	callee *net.UDPConn
	run    string // tells the calls of this generator from those of another one

	reading sync.WaitGroup
	counts  counts

	mu    sync.Mutex // guards what is below
	calls []*call
	lines []*line
	hold  time.Duration // until a call that was answered is hung up; 0: never
	setup []time.Duration
	out   []byte // what is being sent
}

// counts is what happened so far.
type counts struct {
	good, failed, refused atomic.Int64 // calls that ended
	answered              atomic.Int64 // calls that were confirmed
	again                 atomic.Int64 // messages that either side sent once more
	probes                atomic.Int64 // requests that asked after a call and were answered
	repeated              atomic.Int64 // probes that came once more
	disorder              atomic.Int64 // requests whose CSeq was not one higher than the last
	lost                  atomic.Int64 // calls that the element ended by itself
	other                 atomic.Int64 // responses and requests that were not expected
}

// Open binds both sides. Callers are at 127.0.0.2 and callees at 127.0.0.3 when
// the element is on this machine, or both at ::1.
func Open(target netip.AddrPort, caller, callee netip.Addr) (*Generator, error) {
	g := &Generator{target: target, out: make([]byte, 0, 4096), run: fmt.Sprintf("%x", time.Now().UnixNano()&0xffffff)}
	var err error
	if g.caller, err = listen(caller); err != nil {
		return nil, err
	}
	if g.callee, err = listen(callee); err != nil {
		return nil, errors.Join(err, g.caller.Close())
	}
	g.reading.Go(func() { g.read(g.caller, g.atCaller) })
	g.reading.Go(func() { g.read(g.callee, g.atCallee) })
	return g, nil
}

func listen(addr netip.Addr) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err == nil {
		_ = conn.SetReadBuffer(8 << 20) // as much as the kernel gives
	}
	return conn, err
}

// Close lets go of the sockets; calls that are up stay so.
func (g *Generator) Close() {
	_ = g.caller.Close()
	_ = g.callee.Close()
	g.reading.Wait()
}

// Callee is where calls go to.
func (g *Generator) Callee() netip.AddrPort { return addrOf(g.callee) }

func addrOf(conn *net.UDPConn) netip.AddrPort {
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (g *Generator) read(conn *net.UDPConn, serve func(m *message)) {
	in := make([]byte, 65536)
	var m message
	for {
		n, _, err := conn.ReadFromUDPAddrPort(in)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && m.parse(in[:n]) {
			serve(&m)
		}
	}
}

// Start begins n calls, rate of them a second, and returns when each has been
// answered or has failed. They are hung up after hold, or stay when that is 0.
func (g *Generator) Start(ctx context.Context, rate float64, n int, hold time.Duration) error {
	g.mu.Lock()
	g.hold, g.setup = hold, make([]time.Duration, 0, n)
	first := len(g.calls)
	g.mu.Unlock()
	err := g.pace(ctx, rate, n, func(int) { g.begin() })
	return errors.Join(err, g.until(ctx, func() bool { return g.none(first, inviting) }))
}

// Settle waits until no call is being ended.
func (g *Generator) Settle(ctx context.Context) error {
	return g.until(ctx, func() bool { return g.none(0, inviting) && g.none(0, ending) && (g.hold == 0 || g.none(0, talking)) })
}

// HangUp ends the calls that are up, rate of them a second.
func (g *Generator) HangUp(ctx context.Context, rate float64) error {
	g.mu.Lock()
	all := g.calls
	g.mu.Unlock()
	err := g.pace(ctx, rate, len(all), func(i int) { g.hangUp(all[i]) })
	return errors.Join(err, g.until(ctx, func() bool { return g.none(0, ending) }))
}

// Watch has time pass and answers what comes.
func (g *Generator) Watch(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	return g.until(ctx, func() bool { return time.Now().After(end) })
}

// none says whether no call from this one on is in a state.
func (g *Generator) none(first int, s state) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.calls[first:] {
		if c.state == s {
			return false
		}
	}
	return true
}

// tick is how often what is due is looked at.
const tick = 2 * time.Millisecond

// pace does something n times, rate times a second.
func (g *Generator) pace(ctx context.Context, rate float64, n int, do func(i int)) error {
	begin := time.Now()
	for i := 0; i < n; {
		for due := min(n, 1+int(time.Since(begin).Seconds()*rate)); i < due; i++ {
			do(i)
		}
		g.doDue()
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(tick)
	}
	return nil
}

// until waits for something, and sends again what was not answered meanwhile.
func (g *Generator) until(ctx context.Context, over func() bool) error {
	look := time.Now()
	for {
		g.doDue()
		if time.Since(look) > 50*time.Millisecond {
			if over() {
				return nil
			}
			look = time.Now()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(tick)
	}
}
