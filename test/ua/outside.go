package ua

import (
	"context"
	"crypto/rand"
	"fmt"
)

// Request sends a request outside any dialog, OPTIONS for example, to target
// (host:port or a SIP URI) and returns the final response, whatever its status.
// It fails with ErrTimeout after 64*T1. For INVITE use Call.
func (p *Phone) Request(ctx context.Context, target, method, uri, body string, headers ...Header) (*Message, error) {
	m := &Message{Method: method, RequestURI: uri}
	m.add("Max-Forwards", "70")
	m.add("From", tagged(p.URI(), rand.Text()))
	m.add("To", tagged(uri, ""))
	m.add("Call-ID", rand.Text())
	m.add("CSeq", "1 "+method)
	p.describe(m)
	m.merge(headers)
	m.setBody(body)
	return p.Send(ctx, target, m)
}

// Register registers the phone's contact for its user at a domain, by way of
// target (host:port or a SIP URI), and returns the final response, whatever its
// status. Registrations are neither refreshed nor authenticated.
func (p *Phone) Register(ctx context.Context, target, domain string, headers ...Header) (*Message, error) {
	record := "sip:" + p.cfg.User + "@" + domain
	return p.Request(ctx, target, "REGISTER", "sip:"+domain, "", append([]Header{
		H("From", tagged(record, rand.Text())), H("To", tagged(record, "")), H("Expires", "600"),
	}, headers...)...)
}

// Send sends any request other than INVITE and ACK as it is, follows it like
// Request, and adds a Via where there is none. It lets one phone forge the
// requests of another.
func (p *Phone) Send(ctx context.Context, target string, m *Message) (*Message, error) {
	to, err := resolve(target)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", target, err)
	}
	if !m.Has("Via") {
		m.Headers = append([]Header{H("Via", p.via())}, m.Headers...)
	}
	x, err := p.begin(m, to)
	if err != nil {
		return nil, err
	}
	return x.final(ctx)
}

// Write puts bytes on the wire as they are, past filter and trace.
func (p *Phone) Write(target string, raw []byte) error {
	to, err := resolve(target)
	if err != nil {
		return fmt.Errorf("resolving %s: %w", target, err)
	}
	return p.wire.send(to, raw)
}
