package b2bua

import (
	"bytes"
	"time"
)

// soon is how old a datagram may be for its reader to serve it. To hand it to
// another goroutine costs as much as many take to be served, and pays only where
// one processor does not keep up.
const soon = 5 * time.Millisecond

// reader is a goroutine that reads a UDP socket and serves what it has read.
type reader struct{ buf []byte }

// read reads a socket until it is closed. A panic costs one message.
func (a *Agent) read(p *packetConn) {
	for a.panics(func() { a.served("udp", p.serve(a.transaction)) }) {
	}
}

// serve reads what comes until the socket is closed, or another reader has
// taken over.
func (p *packetConn) serve(t *transactions) error {
	r := &reader{make([]byte, maxDatagram)}
	for {
		n, from, err := p.next(r.buf)
		if err != nil {
			return err
		}
		if len(bytes.Trim(r.buf[:n], "\x00\r\n")) == 0 {
			continue // a keep-alive
		}
		m, err := p.guard.agent.parser.parse(r.buf[:n])
		if err != nil {
			p.guard.metrics.malformed.Inc()
			continue
		}
		m.source = from
		if !p.bring(r, t, m) {
			return nil
		}
	}
}

// bring brings a message to its transaction and serves it, and says whether this
// reader still has the socket. What it serves must not wait for the network:
// see [Agent.mayWait].
func (p *packetConn) bring(r *reader, t *transactions, m *received) bool {
	p.guard.agent.recollect()
	var q *queue
	guarded(func() { q = t.arrived(m, p) }, p.guard.agent.panicked)
	switch {
	case q == nil:
		return true
	case time.Since(p.lastCame()) > soon:
		p.guard.agent.work.Go(q.run)
		return true
	}
	p.serving.Store(r)
	q.run()
	return p.serving.CompareAndSwap(r, nil)
}

// mayWait is called before anything that may wait for the network. If a reader
// of a socket is about to do it, another one takes over; if it is not, no harm is
// done.
func (a *Agent) mayWait() {
	for i := range a.sockets {
		if p := a.sockets[i].conn; p != nil && p.serving.Swap(nil) != nil {
			a.work.Go(func() { a.read(p) })
		}
	}
}
