// Package udp is a network of datagrams without sockets, which works in the
// bubbles of testing/synctest.
package udp

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Network carries datagrams between its hosts at once and in order. Its methods
// may be called concurrently.
type Network struct {
	mu      sync.Mutex // guards what is below
	hosts   map[string]*Host
	refused map[string]error
	full    int // so many datagrams more find no room
}

// New makes a network without hosts.
func New() *Network {
	return &Network{hosts: make(map[string]*Host), refused: make(map[string]error)}
}

// Refuse has everything that is sent to an address fail with an error.
func (n *Network) Refuse(addr string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused[addr] = err
}

// Fill has so many datagrams find no room in the queue of their sender.
func (n *Network) Fill(datagrams int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full = datagrams
}

// Listen takes an address, from whoever had it before. It panics when it cannot
// read it.
func (n *Network) Listen(addr string) *Host {
	udp, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		panic(err)
	}
	h := &Host{Addr: udp, In: make(chan Datagram, 1000), network: n, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addr] = h
	return h
}

// to is the host that a datagram arrives at, nil when it is lost, or why it
// cannot be sent.
func (n *Network) to(addr string) (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full > 0 {
		n.full--
		return nil, syscall.ENOBUFS
	}
	return n.hosts[addr], n.refused[addr]
}

// Datagram is one datagram, and where it came from.
type Datagram struct {
	From net.Addr
	Data []byte
}

// Host is one address of a network: a net.PacketConn.
type Host struct {
	Addr *net.UDPAddr
	In   chan Datagram // what has arrived and is not read yet

	network *Network
	closed  chan struct{}
	once    sync.Once
}

// ReadFrom waits for a datagram until the host is closed.
func (h *Host) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-h.In:
		return copy(b, d.Data), d.From, nil
	case <-h.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo loses what is for an address that nobody has, as UDP does.
func (h *Host) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-h.closed:
		return 0, net.ErrClosed
	default:
	}
	peer, err := h.network.to(to.String())
	if err != nil {
		return 0, err
	}
	if peer != nil {
		select {
		case peer.In <- Datagram{h.Addr, append([]byte(nil), b...)}:
		case <-peer.closed:
		}
	}
	return len(b), nil
}

// Close ends what reads from the host.
func (h *Host) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// LocalAddr is the address of the host.
func (h *Host) LocalAddr() net.Addr { return h.Addr }

// SetDeadline fails: there are no deadlines here.
func (h *Host) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline fails as SetDeadline does.
func (h *Host) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline fails as SetDeadline does.
func (h *Host) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
