package b2bua_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
)

func TestWithNATOffContactsAreBelieved(t *testing.T) {
	off := func(c *b2bua.Config) { edge(c); c.Trunks[0].NATOff = true }
	inWorld(t, off, func(w *world) {
		inner := w.phone("dave", innerAddr)
		inner.tag = "dave-tag"
		path := w.register(w.dave())
		w.callBack(inner, path)
		same(t, w.invite.RequestURI, "sip:dave@"+innerAddr)
	})
}

func TestACallerBehindANATIsReachedWhereItWasSeen(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(string) string
		off    bool
		seen   bool // at the NAT
	}{
		"a private Contact and sent-by": {behind, false, true},
		"a public Contact and sent-by":  {func(s string) string { return strings.ReplaceAll(behind(s), innerAddr, "198.51.100.7:5060") }, false, false},
		"a private Contact, believed":   {behind, true, false},
		"a public Contact that asks for ob": {func(s string) string {
			return strings.Replace(s, "Contact: <sip:dave@"+flowAddr, "Contact: <sip:dave@198.51.100.7:5060;ob", 1)
		}, false, true},
		"a private Contact behind a hop": {func(s string) string {
			return strings.Replace(behind(s), "Max-Forwards", "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\nMax-Forwards", 1)
		}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(c *b2bua.Config) { edge(c); c.Trunks[0].NATOff = tt.off }, func(w *world) {
				p := w.dave()
				elsewhere := []*phone{w.phone("inner", innerAddr), w.phone("public", "198.51.100.7:5060")}
				p.target, p.cseq = "sip:bob@example.com", 1
				p.say(tt.change(p.build("INVITE", 1, offer, "Content-Type: application/sdp")))
				w.take(w.bob)
				w.bob.respond(w.invite, 200, answer, "Content-Type: application/sdp")
				m := p.lastOf(w, "200 INVITE")
				p.remoteTag, p.target = m.ToTag(), uri(m.Get("Contact"))
				p.say(tt.change(p.build("ACK", 1, "")))
				w.bob.next("ACK")
				w.bob.request("BYE", "")
				w.bob.next("200 BYE")
				got := len(p.all())
				for _, e := range elsewhere {
					if e.poll() != nil {
						got = 0
					}
				}
				if (got > 0) != tt.seen {
					t.Errorf("the BYE came to the address that was seen: %v, want %v", got > 0, tt.seen)
				}
			})
		})
	}
}

// talking has a phone behind a NAT call bob, who answers.
func (w *world) talking(p *phone) {
	w.Helper()
	p.target = "sip:bob@example.com"
	p.ask("INVITE", offer, sdp)
	w.take(w.bob)
	w.bob.respond(w.invite, 200, answer, sdp)
	m := p.lastOf(w, "200 INVITE")
	p.remoteTag, p.target = m.ToTag(), uri(m.Get("Contact"))
	p.say(behind(p.build("ACK", p.cseq, "")))
	w.bob.next("ACK")
	w.heard("started", "evidence caller: ACK", "confirmed")
}

func TestAPhoneIsReachedWhereItsNATHasItNow(t *testing.T) {
	for _, addr := range []string{"203.0.113.9:40002", "198.51.100.20:6000"} { // of another network, as a mobile phone has it
		inWorld(t, edge, func(w *world) {
			before := w.dave()
			w.talking(before)
			now := w.posing(before, addr)
			now.request("INFO", "")
			w.bob.respond(w.bob.next("INFO"), 200, "")
			now.next("200 INFO")
			w.obs.heard()
			w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
			now.respond(now.next("OPTIONS"), 200, "")
			w.heard("probe caller OPTIONS: answered 200 after 0s")

			before.request("OPTIONS", "") // with a number that there was, which moves nothing
			before.next("500 OPTIONS")
			w.bob.request("BYE", "")
			w.bob.next("200 BYE")
			now.respond(now.next("BYE"), 200, "")
			before.nothing()
		})
	}
}

func TestAPhoneBehindANATIsReachedOnItsNewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, edge)
		l := w.listens("tcp")
		w.serve()
		w.agent.Loaded()
		p := w.dave()
		p.connectTo(l, "tcp", nil)
		w.talking(p)
		second := *p
		second.host = w.network.Listen("203.0.113.9:40002")
		second.connectTo(l, "tcp", nil)
		t.Cleanup(func() { _ = second.stream.Close() })
		t.Cleanup(func() { _ = p.stream.Close() }) // it may take us a minute to notice that it is dead
		second.request("OPTIONS", "")
		second.next("200 OPTIONS")
		w.obs.heard()
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		second.respond(second.next("OPTIONS"), 200, "")
		w.heard("probe caller OPTIONS: answered 200 after 0s")
	})
}

// lastOf is the last message so far, which has to be this one.
func (p *phone) lastOf(w *world, want string) *ua.Message {
	w.Helper()
	var last *ua.Message
	for m := p.poll(); m != nil; m = p.poll() {
		last = m
	}
	if last == nil || what(last) != want {
		w.Fatalf("%s got %v, want %s", p.user, last, want)
	}
	return last
}
