package ua

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// exchange is one client transaction: a request that went out, and its responses.
type exchange struct {
	phone     *Phone
	request   *Message
	to        netip.AddrPort
	key       string
	responses chan *Message
	dialog    *Dialog // whose silence also holds back the ACK; may be nil
}

// clientKey names a client transaction: RFC 3261 section 17.1.3.
func clientKey(m *Message) string {
	_, method := m.CSeq()
	return m.Branch() + " " + method
}

// begin sends a complete request for the first time. Whoever gets an exchange
// calls final or follow, or end.
func (p *Phone) begin(request *Message, to netip.AddrPort) (*exchange, error) {
	request.Raw = string(request.Bytes())
	x := &exchange{phone: p, request: request, to: to, key: clientKey(request), responses: make(chan *Message, 64)}
	p.expect(x.key, func(m *Message) {
		select {
		case x.responses <- m:
		default: // as good as lost on the way: it will be repeated
		}
	})
	if err := p.transmit(request, to); err != nil {
		x.end()
		select {
		case <-p.gone:
			err = ErrClosed
		default:
		}
		return nil, fmt.Errorf("sending %s to %s: %w", request.Method, to, err)
	}
	return x, nil
}

// expect routes responses with this key to f, which must not block.
func (p *Phone) expect(key string, f func(*Message)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[key] = f
}

// forget is the end of expect.
func (p *Phone) forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, key)
}

func (x *exchange) end() { x.phone.forget(x.key) }

// final repeats a request other than INVITE until its final response: RFC 3261
// section 17.1.2. Provisional responses go to provisional, if it is not nil.
func (x *exchange) final(ctx context.Context) (*Message, error) {
	defer x.end()
	again := newRequestRepeater(x.phone)
	defer again.stop()
	deadline := time.NewTimer(x.phone.timeout())
	defer deadline.Stop()
	for {
		select {
		case m := <-x.responses:
			if m.Status >= 200 {
				return m, nil
			}
			again.interval = x.phone.t2()
		case <-again.due():
			_ = x.phone.transmit(x.request, x.to) // the deadline ends what keeps failing
			again.next(x.phone.t2())
		case <-deadline.C:
			return nil, fmt.Errorf("%s: %w", x.request.Method, ErrTimeout)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", x.request.Method, context.Cause(ctx))
		case <-x.phone.gone:
			return nil, fmt.Errorf("%s: %w", x.request.Method, ErrClosed)
		}
	}
}

// newRequestRepeater is for requests, which are repeated over UDP only.
func newRequestRepeater(p *Phone) *repeater {
	r := newRepeater(p)
	if p.reliable() {
		r.stop()
	}
	return r
}

// repeater says when to send a message again; never after stop.
type repeater struct {
	timer    *time.Timer
	interval time.Duration
}

func newRepeater(p *Phone) *repeater {
	return &repeater{interval: p.cfg.T1, timer: time.NewTimer(p.cfg.T1)}
}

func (r *repeater) due() <-chan time.Time {
	if r.timer == nil {
		return nil
	}
	return r.timer.C
}

// next doubles the interval up to a limit, and starts it.
func (r *repeater) next(limit time.Duration) {
	r.interval = min(2*r.interval, limit)
	r.timer.Reset(r.interval)
}

func (r *repeater) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = nil
}

// follow repeats an INVITE until its first response and returns the final one:
// RFC 3261 section 17.1.1. Every provisional response goes to provisional. When
// cancel is closed it sends CANCEL as soon as a provisional response allows it
// (section 9.1). It acknowledges failures; the ACK to a 2xx is the caller's.
func (x *exchange) follow(cancel <-chan struct{}, provisional func(*Message)) (*Message, error) {
	p := x.phone
	again := newRequestRepeater(p)
	defer again.stop()
	deadline := time.NewTimer(p.timeout()) // Timer B; stopped by the first response
	defer deadline.Stop()
	proceeding, cancelling := false, false
	for {
		if cancelling && proceeding {
			cancelling = false
			x.cancel()
			deadline.Reset(p.timeout())
		}
		select {
		case m := <-x.responses:
			if m.Status >= 300 {
				x.refused(m)
			}
			if m.Status >= 200 {
				return m, nil
			}
			if !proceeding {
				proceeding = true
				again.stop()
				deadline.Stop()
			}
			provisional(m)
		case <-again.due():
			_ = p.transmit(x.request, x.to)
			again.next(p.timeout())
		case <-cancel:
			cancel, cancelling = nil, true
		case <-deadline.C:
			x.end()
			return nil, fmt.Errorf("INVITE: %w", ErrTimeout)
		case <-p.gone:
			return nil, fmt.Errorf("INVITE: %w", ErrClosed)
		}
	}
}

// cancel sends CANCEL and follows it in the background.
func (x *exchange) cancel() {
	m := &Message{Method: "CANCEL", RequestURI: x.request.RequestURI}
	x.hopHeaders(m)
	m.add("Max-Forwards", "70")
	x.phone.background(m, x.to)
}

// hopHeaders are what CANCEL (RFC 3261 section 9.1) and the ACK to a failure
// (section 17.1.1.3) share with their INVITE.
func (x *exchange) hopHeaders(m *Message) {
	number, _ := x.request.CSeq()
	m.add("Via", x.request.topVia())
	m.copyAll(x.request, "Route")
	m.copyAll(x.request, "From")
	m.copyAll(x.request, "To")
	m.copyAll(x.request, "Call-ID")
	m.add("CSeq", fmt.Sprintf("%d %s", number, m.Method))
}

// refused acknowledges a final response of 300 or above.
func (x *exchange) refused(final *Message) {
	ack := &Message{Method: "ACK", RequestURI: x.request.RequestURI}
	x.hopHeaders(ack)
	ack.add("Max-Forwards", "70")
	ack.merge([]Header{H("To", final.Get("To"))})
	x.acknowledge(ack, x.to, nil)
}

// acknowledge sends the ACK, and again for every repetition of the final
// response during the next 64*T1 (Timers D and M). A 2xx from another dialog
// goes to other, if it is not nil.
func (x *exchange) acknowledge(ack *Message, to netip.AddrPort, other func(*Message)) {
	p := x.phone
	ack.Raw = string(ack.Bytes())
	tag := param(ack.Get("To"), "tag")
	send := func() {
		if !p.silent.Load() && (x.dialog == nil || !x.dialog.silent.Load()) {
			_ = p.transmit(ack, to) // if it is lost the final response is repeated
		}
	}
	send()
	p.expect(x.key, func(m *Message) {
		switch {
		case m.Status < 200:
		case m.ToTag() == tag:
			send()
		case m.Status < 300 && other != nil:
			other(m)
		}
	})
	p.tasks.after(p.timeout(), x.end)
}

// background sends a request whose answer nobody waits for.
func (p *Phone) background(m *Message, to netip.AddrPort) {
	p.tasks.start(func() {
		if x, err := p.begin(m, to); err == nil {
			_, _ = x.final(context.Background())
		}
	})
}
