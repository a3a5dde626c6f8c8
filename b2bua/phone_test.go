package b2bua_test

import (
	"net"
	"testing"
	"testing/synctest"

	"sipvigil/test/ua"
	"sipvigil/test/udp"
)

// phone is a far end that does exactly what the test writes.
type phone struct {
	t      *testing.T
	host   *udp.Host
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
	case d := <-p.host.In:
		m, err := ua.Parse(d.Data)
		if err != nil {
			p.t.Fatalf("%s cannot read what came: %v\n%s", p.user, err, d.Data)
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
