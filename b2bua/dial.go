package b2bua

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"sipvigil/b2bua/dialog"
)

// dialTimeout bounds the opening of a connection.
const dialTimeout = 3 * time.Second

// ground is what requests have in common that leave by one connection: the
// transport, the address, and the name that its certificate is for.
type ground struct{ transport, addr, name string }

func groundOf(req *request) ground { return ground{req.transport, req.to, nextHopHost(req)} }

// opening is the line of those that wait for a connection.
type opening struct{ waiting []func(*stream, error) }

// errWebSocket: where there is no connection, none can be had.
var errWebSocket = errors.New("its WebSocket is closed, and only the far end can open it")

// outlet is what a request leaves by that is not bound to a UDP socket: the
// connection that its destination has with us. It is nil where one has to be
// opened first. Then opened is called later, in the order in which the requests
// came, so that none overtakes another one of its dialog: whoever has the turn of
// a call must not wait for a far end that may be gone.
func (a *Agent) outlet(req *request, opened func(*stream, error)) (*stream, error) {
	g, p := groundOf(req), a.streams
	p.mu.Lock()
	defer p.mu.Unlock()
	line, s := p.opening[g], p.find(g)
	switch {
	case line != nil && len(line.waiting) < maxWaiting:
		line.waiting = append(line.waiting, opened)
	case line != nil:
		return nil, errors.New("too many requests wait for its connection")
	case s != nil:
		return s, nil
	case isWebSocket(g.transport):
		return nil, errWebSocket
	case g.transport == "udp":
		return nil, fmt.Errorf("b2bua: no socket to reach %s", req.to)
	default:
		line = &opening{waiting: []func(*stream, error){opened}}
		p.opening[g] = line
		a.work.Go(func() { a.open(g, line) })
	}
	return nil, nil
}

// open opens a connection, and has those go on that wait for it.
func (a *Agent) open(g ground, line *opening) {
	p := a.streams
	s, err := (*stream)(nil), errors.New("the dialling broke")
	guarded(func() { s, err = a.dial(g) }, a.panicked)
	for {
		p.mu.Lock()
		if len(line.waiting) == 0 {
			delete(p.opening, g)
			p.mu.Unlock()
			return
		}
		next := line.waiting[0]
		line.waiting = line.waiting[1:]
		p.mu.Unlock()
		guarded(func() { next(s, err) }, a.panicked)
	}
}

// connect waits until there is a connection for a request, or until the context
// ends: then it is opened for the others that wait all the same.
func (a *Agent) connect(ctx context.Context, req *request) (*stream, error) {
	type opened struct {
		*stream
		error
	}
	a.mayWait()
	later := make(chan opened, 1)
	s, err := a.outlet(req, func(s *stream, err error) { later <- opened{s, err} })
	if s != nil || err != nil {
		return s, err
	}
	select {
	case o := <-later:
		return o.stream, o.error
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// dial opens a connection.
func (a *Agent) dial(g ground) (*stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	raw, err := a.dialTCP(ctx, "tcp", g.addr)
	if err != nil {
		return nil, err
	}
	setKeepAlive(raw)
	if g.transport != "tls" {
		s := a.newStream(raw, g.transport, "")
		return s, a.streams.add(s)
	}
	name := g.name
	if before := a.streams.nameAt(g.addr); before != "" && net.ParseIP(name) != nil {
		name = before
	}
	conn := tls.Client(raw, a.clientTLS(name))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS with %s as %q: %w", g.addr, name, err)
	}
	a.streams.remember(g.addr, name)
	s := a.newStream(conn, g.transport, "")
	s.peer = leaf(conn.ConnectionState())
	return s, a.streams.add(s)
}

// nextHopHost is the host that a request goes to, by which its certificate is
// judged: that of the first Route if it is a loose router, else that of the
// Request-URI, RFC 3261 section 8.1.2.
func nextHopHost(req *request) string {
	text := req.uri
	if route := req.value("route"); route != "" {
		if list := dialog.SplitList(route); len(list) > 0 {
			route = list[0]
		}
		if addr, err := dialog.ParseAddr(route); err == nil {
			if u, err := dialog.ParseURI(addr.URI); err == nil {
				if _, loose := u.Param("lr"); loose {
					text = addr.URI
				}
			}
		}
	}
	u, err := dialog.ParseURI(text)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}
