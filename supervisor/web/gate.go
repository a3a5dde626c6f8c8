package web

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Connections that are taken at the same time, before anybody has shown a token:
// their descriptors are those that calls need, too.
const (
	mostConnections = 2000
	mostFromOne     = 200 // of one address, or one /64 of IPv6; a proxy has one, too
)

// gate is a listener that closes what is too much at once.
type gate struct {
	net.Listener
	complain func(string)

	mu   sync.Mutex // guards what is below
	open int
	from map[netip.Prefix]int
}

func newGate(ln net.Listener, complain func(string)) *gate {
	return &gate{Listener: ln, complain: complain, from: make(map[netip.Prefix]int)}
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := sourceOf(conn)
		if g.take(source) {
			return &counted{Conn: conn, end: sync.OnceFunc(func() { g.giveBack(source) })}, nil
		}
		_ = conn.Close()
		g.complain("too many connections, one more from " + source.String() + " is closed")
	}
}

// sourceOf is the far end that a connection is counted for, zero where it has no
// address.
func sourceOf(conn net.Conn) netip.Prefix {
	ap, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	ip, bits := ap.Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	source, _ := ip.Prefix(bits) // of an address, with bits that it has
	return source
}

func (g *gate) take(source netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= mostConnections || g.from[source] >= mostFromOne {
		return false
	}
	g.open++
	g.from[source]++
	return true
}

func (g *gate) giveBack(source netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.from[source]--; g.from[source] == 0 {
		delete(g.from, source)
	}
}

// counted is a connection that has its place until it is closed.
type counted struct {
	net.Conn
	end func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.end()
	return c.Conn.Close()
}

// complaints are lines of net/http, most of which anybody who can connect can
// have written: some at once, then one in a while.
type complaints struct {
	log *zap.Logger
	may *rate.Limiter
}

func newComplaints(log *zap.Logger) *complaints {
	return &complaints{log, rate.NewLimiter(rate.Every(10*time.Second), 5)}
}

// Write is given one line. It implements io.Writer.
func (c *complaints) Write(line []byte) (int, error) {
	c.say(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

func (c *complaints) say(line string) {
	if c.may.Allow() {
		c.log.Warn("the API has trouble with a connection", zap.String("error", line))
	}
}
