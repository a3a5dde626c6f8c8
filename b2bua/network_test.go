package b2bua_test

import (
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/test/ua"
)

// network carries datagrams between its hosts at once and in order. It knows
// no sockets, so that it lives inside a bubble of fake time.
type network struct {
	mu      sync.Mutex // guards what is below
	hosts   map[string]*host
	refused map[string]error // addresses that nothing can be sent to, and why
	full    int              // so many datagrams more find no room in the queue of their sender
}

func newNetwork() *network {
	return &network{hosts: make(map[string]*host), refused: make(map[string]error)}
}

// refuse has the network take nothing for an address.
func (n *network) refuse(addr string) { n.refuseBy(addr, syscall.EHOSTUNREACH) }

func (n *network) refuseBy(addr string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused[addr] = err
}

// fill has so many datagrams find no room.
func (n *network) fill(datagrams int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full = datagrams
}

// breaksReader stands for a message that makes the code that reads it panic.
const breaksReader = "\x00break"

type datagram struct {
	from net.Addr
	data []byte
}

// host is one address: a net.PacketConn. A datagram to an address that nobody
// has is lost, as in UDP.
type host struct {
	network *network
	addr    *net.UDPAddr
	in      chan datagram
	closed  chan struct{}
	once    sync.Once
}

// listen takes an address of the network.
func (n *network) listen(addr string) *host {
	ua, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		panic(err)
	}
	h := &host{network: n, addr: ua, in: make(chan datagram, 1000), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addr] = h
	return h
}

func (h *host) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-h.in:
		if string(d.data) == breaksReader {
			panic("a message broke its reader")
		}
		return copy(b, d.data), d.from, nil
	case <-h.closed:
		return 0, nil, net.ErrClosed
	}
}

func (h *host) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-h.closed:
		return 0, net.ErrClosed
	default:
	}
	h.network.mu.Lock()
	peer, refused, full := h.network.hosts[to.String()], h.network.refused[to.String()], h.network.full > 0
	if full {
		h.network.full--
	}
	h.network.mu.Unlock()
	if full {
		return 0, syscall.ENOBUFS
	}
	if refused != nil {
		return 0, refused
	}
	if peer != nil {
		peer.in <- datagram{h.addr, append([]byte(nil), b...)}
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

// phone is a far end that does exactly what the test writes.
type phone struct {
	t      *testing.T
	host   *host
	stream net.Conn     // says what it says through this when it has one
	over   string       // its transport then
	to     *net.UDPAddr // the agent

	user      string
	callID    string
	tag       string // its own
	remoteTag string
	from, uri string // its own name-addr, and that of the far end, without tags
	target    string // Request-URI of its requests
	cseq      uint32
	sent      int
}

// say sends one message as it stands.
func (p *phone) say(text string) {
	p.t.Helper()
	if p.stream != nil {
		if _, err := p.stream.Write([]byte(text)); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	if _, err := p.host.WriteTo([]byte(text), p.to); err != nil {
		p.t.Fatal(err)
	}
}

// poll is the next message that has arrived by now, nil when there is none.
func (p *phone) poll() *ua.Message {
	p.t.Helper()
	synctest.Wait()
	select {
	case d := <-p.host.in:
		m, err := ua.Parse(d.data)
		if err != nil {
			p.t.Fatalf("%s cannot read what came: %v\n%s", p.user, err, d.data)
		}
		return m
	default:
		return nil
	}
}

// next is the message that has arrived by now, which has to be this one: a
// method, or a status and a method.
func (p *phone) next(want string) *ua.Message {
	p.t.Helper()
	m := p.poll()
	if m == nil {
		p.t.Fatalf("%s got nothing, want %s", p.user, want)
	}
	if got := what(m); got != want {
		p.t.Fatalf("%s got %s, want %s\n%s", p.user, got, want, m.Raw)
	}
	return m
}

// nothing checks that nothing more has arrived by now.
func (p *phone) nothing() {
	p.t.Helper()
	if m := p.poll(); m != nil {
		p.t.Fatalf("%s got %s, want nothing\n%s", p.user, what(m), m.Raw)
	}
}

// all is what has arrived by now, in short.
func (p *phone) all() []string {
	p.t.Helper()
	var list []string
	for m := p.poll(); m != nil; m = p.poll() {
		list = append(list, what(m))
	}
	return list
}
