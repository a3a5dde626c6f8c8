package ua

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// Build makes a complete request of this dialog with a CSeq of the caller's
// choice and sends nothing: for Send, also that of another phone. The phone's
// own counter does not move. Header fields replace the usual ones of their name.
func (d *Dialog) Build(method string, cseq uint32, body string, headers ...Header) *Message {
	target, routes := d.path()
	m := &Message{Method: method, RequestURI: target}
	m.add("Via", d.phone.via())
	for _, r := range routes {
		m.add("Route", r)
	}
	m.add("Max-Forwards", "70")
	m.add("From", tagged(d.LocalURI, d.LocalTag))
	m.add("To", tagged(d.RemoteURI, d.RemoteTag))
	m.add("Call-ID", d.CallID)
	m.add("CSeq", fmt.Sprintf("%d %s", cseq, method))
	d.phone.describe(m)
	m.merge(headers)
	m.setBody(body)
	return m
}

// describe adds what a user agent says about itself in a request.
func (p *Phone) describe(m *Message) {
	switch m.Method {
	case "INVITE", "UPDATE", "OPTIONS":
		m.add("Contact", p.contact())
		m.add("Allow", allowed)
	case "REFER", "NOTIFY", "SUBSCRIBE", "REGISTER":
		m.add("Contact", p.contact())
	}
	if m.Method == "OPTIONS" {
		m.add("Accept", "application/sdp")
	}
	if p.cfg.UserAgent != "" {
		m.add("User-Agent", p.cfg.UserAgent)
	}
}

func tagged(uri, tag string) string {
	if tag == "" {
		return "<" + uri + ">"
	}
	return "<" + uri + ">;tag=" + tag
}

// path is Request-URI and Route header fields of the next request: RFC 3261
// section 12.2.1.1, with the strict routers of RFC 2543.
func (d *Dialog) path() (target string, routes []string) {
	target, routes = d.RemoteTarget(), d.Routes()
	if len(routes) == 0 {
		return target, nil
	}
	if first := addressURI(routes[0]); !uriHas(first, "lr") {
		return first, append(routes[1:], "<"+target+">")
	}
	return target, routes
}

// hop is the address that a request goes to first, through a loose router or a
// strict one: RFC 3261 section 8.1.2.
func (d *Dialog) hop() (netip.AddrPort, error) {
	d.mu.Lock()
	through := d.through
	d.mu.Unlock()
	if through.IsValid() {
		return through, nil
	}
	if routes := d.Routes(); len(routes) > 0 {
		return resolve(addressURI(routes[0]))
	}
	return resolve(d.RemoteTarget())
}

// Through has all further requests go to this address and port, as they are:
// what had the address of the remote target has moved there.
func (d *Dialog) Through(addr netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.through = addr
}

// Request sends a request with the next CSeq and returns the final response,
// whatever its status. It repeats the request over UDP, and fails with
// ErrTimeout after 64*T1. Only BYE ends the dialog, no answer does. A 2xx to a
// re-INVITE is acknowledged; when ctx ends a re-INVITE is cancelled.
func (d *Dialog) Request(ctx context.Context, method, body string, headers ...Header) (*Message, error) {
	x, err := d.ask(func() uint32 { return d.LocalCSeq() + 1 }, method, body, headers)
	if err != nil {
		return nil, err
	}
	return d.outcome(ctx, x)
}

// RequestWithCSeq is Request with a number that may be wrong. The phone goes on
// counting from the highest number that it has used.
func (d *Dialog) RequestWithCSeq(ctx context.Context, cseq uint32, method, body string, headers ...Header) (*Message, error) {
	x, err := d.ask(func() uint32 { return cseq }, method, body, headers)
	if err != nil {
		return nil, err
	}
	return d.outcome(ctx, x)
}

// SkipCSeq leaves out n numbers: gaps are legal for the receiver (RFC 3261
// section 12.2.2).
func (d *Dialog) SkipCSeq(n uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.localCSeq += n
}

// Bye hangs up and waits for the answer. It fails with a *StatusError when that
// is no 2xx. A callee's BYE waits for the ACK first: RFC 3261 section 15.
func (d *Dialog) Bye(ctx context.Context, headers ...Header) error {
	if d.incoming != nil {
		select {
		case <-d.confirmed:
		case <-d.ended:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the ACK before BYE: %w", context.Cause(ctx))
		}
	}
	response, err := d.Request(ctx, "BYE", "", headers...)
	if err != nil {
		return err
	}
	return statusError(response)
}

// left ends the dialog after our BYE: RFC 3261 section 15.1.1. Another failure
// than 408, 481 and no answer leaves it as it was.
func (d *Dialog) left(final *Message) {
	if final == nil || final.Status < 300 || final.Status == 408 || final.Status == 481 {
		d.finish(End{By: ByUs})
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving = false
}

// statusError is nil for a 2xx.
func statusError(m *Message) error {
	if m.Status < 300 {
		return nil
	}
	return &StatusError{Status: m.Status, Reason: m.Reason, Response: m}
}

// ask sends a request for the first time. The lock keeps requests in the order
// of their numbers, so it is held while the first transmission is written.
func (d *Dialog) ask(number func() uint32, method, body string, headers []Header) (*exchange, error) {
	d.order.Lock()
	defer d.order.Unlock()
	cseq := number()
	d.mu.Lock()
	d.localCSeq = max(d.localCSeq, cseq)
	d.inviting = d.inviting || method == "INVITE"
	d.mu.Unlock()
	m := d.Build(method, cseq, body, headers...)
	to, err := d.hop()
	if err != nil {
		return nil, fmt.Errorf("next hop of %s: %w", method, err)
	}
	x, err := d.phone.begin(m, to)
	if err != nil {
		return nil, err
	}
	x.dialog = d
	if method == "BYE" { // before, which may be long when it opens a connection, the call goes on
		d.mu.Lock()
		d.leaving = true
		d.mu.Unlock()
	}
	return x, nil
}

// outcome waits for the final response and lets it act on the dialog.
func (d *Dialog) outcome(ctx context.Context, x *exchange) (*Message, error) {
	if x.request.Method == "INVITE" {
		return d.reinvited(ctx, x)
	}
	m, err := x.final(ctx)
	switch x.request.Method {
	case "UPDATE":
		if err == nil && m.Status < 300 {
			d.retarget(m)
			d.setSDP(string(x.request.Body))
		}
	case "BYE":
		d.left(m)
	}
	return m, err
}

// reinvited follows a re-INVITE to its end even when the caller stops waiting.
func (d *Dialog) reinvited(ctx context.Context, x *exchange) (*Message, error) {
	type result struct {
		response *Message
		err      error
	}
	done := make(chan result, 1)
	d.phone.tasks.start(func() {
		m, err := x.follow(ctx.Done(), func(*Message) {})
		d.mu.Lock()
		d.inviting = false
		d.mu.Unlock()
		if err == nil && m.Status < 300 {
			d.retarget(m)
			d.setSDP(string(x.request.Body))
			d.acknowledge(x, m, "", nil)
		}
		done <- result{m, err}
	})
	select {
	case r := <-done:
		return r.response, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("INVITE: %w", context.Cause(ctx))
	case <-d.phone.gone:
		return nil, fmt.Errorf("INVITE: %w", ErrClosed)
	}
}

// acknowledge sends the ACK to a 2xx, with an answer if the 2xx made the offer:
// RFC 3261 section 13.2.2.4.
func (d *Dialog) acknowledge(x *exchange, final *Message, answer string, other func(*Message)) {
	number, _ := x.request.CSeq()
	body := ""
	if len(x.request.Body) == 0 && len(final.Body) > 0 {
		if body = answer; body == "" {
			body = d.SDP()
		}
		if body == "" {
			body = SDP(discardPort)
		}
		d.setSDP(body)
	}
	ack := d.Build("ACK", number, body)
	to, err := d.hop()
	if err != nil {
		d.phone.fault(fmt.Errorf("no way for the ACK to %s: %w", strings.TrimSpace(final.String()), err))
		return
	}
	x.dialog = d
	x.acknowledge(ack, to, other)
	d.confirm()
}

// discardPort is where media goes that nobody listens for.
const discardPort = 9
