package b2bua

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// How many connections are held that others opened: in total, of it by those
// who may be anybody, and from one network that is neither a trunk's nor this
// machine's.
const (
	maxStreams   = 10000
	maxAnybody   = maxStreams - 1000
	maxPerSource = 200
)

// handshakeTimeout bounds TLS and the opening of a WebSocket.
const handshakeTimeout = 5 * time.Second

// unheard is how long a peer's machine may be silent before its connection is
// closed: a probe that got no answer is then asked again by a new one, since it
// waits for 64*T1.
const unheard = 25 * time.Second

// keepAlive finds out within about a minute that a peer's machine is gone while
// there is nothing to send. Phones that run on batteries are not asked more often.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// Listener accepts connections of one transport: tcp, tls, ws or wss.
type Listener struct {
	net.Listener
	Transport string
}

// streams are the connections that are open.
type streams struct {
	mu       sync.Mutex // guards the rest
	over     bool
	open     map[string][]*stream // by the address of the far end, the newest first
	opening  map[ground]*opening
	taken    int // slots of [maxStreams]
	bySource map[netip.Prefix]int
	verified map[string]string // name in the certificate that an address had last
}

func newStreams() *streams {
	return &streams{open: make(map[string][]*stream), opening: make(map[ground]*opening),
		bySource: make(map[netip.Prefix]int), verified: make(map[string]string)}
}

// add files a connection and has it served. One between the same two ports that
// is there already has been given up by its far end.
func (p *streams) add(s *stream) error {
	s.agent.metrics.connections.WithLabelValues(s.transport).Inc()
	local := addrPortOf(s.conn.LocalAddr())
	p.mu.Lock()
	over, all := p.over, []*stream{s}
	var older *stream
	for _, o := range p.open[s.remote] {
		if addrPortOf(o.conn.LocalAddr()) == local {
			older = o
		} else {
			all = append(all, o)
		}
	}
	p.open[s.remote] = all
	p.mu.Unlock()
	if older != nil {
		older.close()
	}
	if over {
		s.close()
		return net.ErrClosed
	}
	s.agent.work.Go(s.serve)
	return nil
}

func (p *streams) remove(s *stream) {
	s.agent.metrics.connections.WithLabelValues(s.transport).Dec()
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.open[s.remote], s); i >= 0 {
		if p.open[s.remote] = slices.Delete(p.open[s.remote], i, i+1); len(p.open[s.remote]) == 0 {
			delete(p.open, s.remote)
		}
		s.agent.lose(way{s.transport, s.remote}, connectionClosed)
	}
	if s.listener != "" {
		p.giveBack(s.source.Addr())
	}
}

// find is a connection that may carry a request, nil without one. Called locked.
func (p *streams) find(g ground) *stream {
	for _, s := range p.open[g.addr] {
		if s.transport == g.transport && s.serves(g.name) {
			return s
		}
	}
	return nil
}

// leads says whether there is a connection to an address.
func (p *streams) leads(transport, addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.open[addr], func(s *stream) bool { return s.transport == transport })
}

// closeAll closes all, and those that are opened from now on.
func (p *streams) closeAll() {
	p.mu.Lock()
	p.over = true
	all := slices.Concat(slices.Collect(maps.Values(p.open))...)
	p.mu.Unlock()
	for _, s := range all {
		s.close()
	}
}

// room is how many connections there may be before one more from there is taken,
// in total and of its network. A trunk for phones from anywhere makes nobody
// known, but many of them may share an address.
func (a *Agent) room(ip netip.Addr) (most, each int) {
	most, each = maxAnybody, maxPerSource
	if ip.IsLoopback() {
		return maxStreams, maxStreams
	}
	for i := range a.cfg.Trunks {
		for _, prefix := range a.cfg.Trunks[i].Sources {
			switch {
			case !prefix.Contains(ip):
			case prefix.Bits() > 0:
				return maxStreams, maxStreams
			default:
				each = maxStreams
			}
		}
	}
	return most, each
}

// take says whether one more connection from there may be had.
func (p *streams) take(ip netip.Addr, most, each int) bool {
	of := networkOf(ip)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= most || p.bySource[of] >= each {
		return false
	}
	p.taken++
	p.bySource[of]++
	return true
}

// giveBack is the end of what take took. Called locked.
func (p *streams) giveBack(ip netip.Addr) {
	p.taken--
	of := networkOf(ip)
	if p.bySource[of]--; p.bySource[of] == 0 {
		delete(p.bySource, of)
	}
}

// accept serves one listener until it is closed. Nothing that a far end does or
// leaves undone keeps it from the next connection.
func (a *Agent) accept(ctx context.Context, l Listener) {
	var opening sync.WaitGroup
	defer opening.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, for one
			a.log.Warn("connection not accepted", zap.String("transport", l.Transport), zap.Error(err))
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
				continue
			}
		}
		source := sourceOf(conn)
		ip := source.Addr()
		if most, each := a.room(ip); !a.streams.take(ip, most, each) {
			a.metrics.closed.WithLabelValues("limit").Inc()
			_ = conn.Close()
			continue
		}
		opening.Go(func() {
			if err := a.welcome(ctx, conn, l); err != nil {
				a.metrics.closed.WithLabelValues("handshake").Inc()
				a.log.Debug("connection not opened", zap.String("transport", l.Transport), zap.Stringer("peer", source), zap.Error(err))
			}
		})
	}
}

// welcome opens what is above TCP and hands the connection on.
func (a *Agent) welcome(ctx context.Context, raw net.Conn, l Listener) error {
	setKeepAlive(raw)
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	_ = raw.SetDeadline(time.Now().Add(handshakeTimeout))
	conn := raw
	var err error
	var secured *tls.Conn
	if l.Transport == "tls" || l.Transport == "wss" {
		secured = tls.Server(raw, a.serverTLS())
		conn, err = secured, secured.HandshakeContext(ctx)
	}
	if err == nil && isWebSocket(l.Transport) {
		err = upgrade(conn)
	}
	if err != nil {
		_ = raw.Close()
		a.streams.mu.Lock()
		defer a.streams.mu.Unlock()
		a.streams.giveBack(sourceOf(raw).Addr())
		return err
	}
	_ = raw.SetDeadline(time.Time{})
	s := a.newStream(conn, l.Transport, l.Addr().String())
	if secured != nil {
		s.peer = leaf(secured.ConnectionState())
	}
	return a.streams.add(s)
}

func setKeepAlive(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive)
		boundSilence(tcp)
	}
}

// maxVerified bounds what is remembered about addresses.
const maxVerified = 1000

// remember keeps under which name an address has shown its certificate. A
// Contact often holds the bare address of a peer that was reached by its name,
// which no certificate has.
func (p *streams) remember(addr, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.verified) >= maxVerified {
		for old := range p.verified {
			delete(p.verified, old)
			break
		}
	}
	p.verified[addr] = name
}

func (p *streams) nameAt(addr string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verified[addr]
}
