package b2bua_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
)

func TestASubscriptionComesBackThroughUs(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		p.target, p.callID = "sip:carol@example.com", "sub-1@dave"
		p.ask("SUBSCRIBE", "", "Event: presence", "Require: eventlist")
		m := w.bob.next("SUBSCRIBE")
		same(t, m.RequestURI, "sip:carol@"+bobAddr)
		rr := m.Get("Record-Route")
		w.bob.respond(m, 202, "", "Record-Route: "+rr, "Contact: <sip:pres@"+bobAddr+">", "Expires: 60")
		same(t, p.next("202 SUBSCRIBE").Get("Record-Route"), rr)

		w.bob.callID, w.bob.remoteTag, w.bob.from, w.bob.uri = m.CallID(), m.FromTag(), m.Get("To"), without(m.Get("From"))
		w.bob.target = uri(m.Get("Contact"))
		w.bob.request("NOTIFY", "open", "Route: "+rr, "Event: presence", "Subscription-State: active")
		n := p.next("NOTIFY")
		same(t, n.RequestURI, "sip:dave@"+innerAddr)
		same(t, n.Get("Record-Route"), rr)
		p.respond(n, 200, "", "Record-Route: "+n.Get("Record-Route"))
		w.bob.next("200 NOTIFY")

		p.remoteTag, p.target = "bob-tag", "sip:pres@"+bobAddr // the phone asks again, on its own way
		p.ask("SUBSCRIBE", "", "Route: "+rr, "Event: presence", "Expires: 0")
		again := w.bob.next("SUBSCRIBE")
		same(t, again.RequestURI, "sip:pres@"+bobAddr)
		if again.Has("Route") {
			t.Errorf("the notifier got\n%s", again.Raw)
		}
		w.bob.respond(again, 200, "")
		p.next("200 SUBSCRIBE")
	})
}

func TestRequestsOutsideOfCallsThatAreRefused(t *testing.T) {
	line := func(old, by string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, by, 1) }
	}
	nowhere := func(c *b2bua.Config) { c.NextHop = "" }
	narrow := func(c *b2bua.Config) { edge(c); c.Trunks = c.Trunks[1:]; c.Routes = nil }
	for _, tt := range []struct {
		name, method string
		config       func(*b2bua.Config)
		change       func(string) string
		want         string
	}{
		{"from an unknown source", "REGISTER", narrow, line("", ""), "403 REGISTER"},
		{"with no hop left", "MESSAGE", edge, line("Max-Forwards: 70", "Max-Forwards: 0"), "483 MESSAGE"},
		{"OPTIONS with no hop left is ours", "OPTIONS", edge, line("Max-Forwards: 70", "Max-Forwards: 0"), "200 OPTIONS"},
		{"OPTIONS without a user is ours", "OPTIONS", edge, line("sip:x@example.com", "sip:example.com"), "200 OPTIONS"},
		{"OPTIONS to us is ours", "OPTIONS", edge, line("sip:x@example.com", "sip:x@"+agentAddr), "200 OPTIONS"},
		{"that asks proxies for more", "PUBLISH", edge, line("Max-Forwards", "Proxy-Require: foo\r\nMax-Forwards"), "420 PUBLISH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, tt.config, func(w *world) {
				p := w.dave()
				p.target = "sip:x@example.com"
				p.say(tt.change(p.build(tt.method, 1, "")))
				p.next(tt.want)
				w.bob.nothing()
			})
		})
	}
	inWorld(t, nowhere, func(w *world) {
		w.alice.request("REGISTER", "") // from this machine, but to where?
		same(t, w.alice.next("405 REGISTER").Get("Allow"), allowed)
		w.alice.target = "sip:bob@" + agentAddr
		w.alice.request("MESSAGE", "hello")
		w.alice.next("404 MESSAGE")
		w.alice.target = "sip:bob@" + bobAddr
		w.alice.request("MESSAGE", "hello")
		same(t, string(w.bob.next("MESSAGE").Body), "hello")
	})
}

func TestARequestThatComesBackAsItWasIsALoop(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		p.ask("MESSAGE", "hello")
		first := w.bob.next("MESSAGE")
		back := "Route: <sip:127.0.0.1:5060;lr>\r\n"
		text := strings.Replace(first.Raw, "Max-Forwards", back+"Max-Forwards", 1)
		// bob sends it on to us: a spiral, as it comes from elsewhere.
		w.bob.say(withVia(text, "z9hG4bK-bob-1", w.bob.host.Addr.String()))
		second := w.bob.poll()
		if second == nil || second.Method != "MESSAGE" {
			t.Fatalf("a spiral is no loop: %v", second)
		}
		// And once more what he got: now it has been here as it is.
		w.bob.say(withVia(strings.Replace(second.Raw, "Max-Forwards", back+"Max-Forwards", 1), "z9hG4bK-bob-2", w.bob.host.Addr.String()))
		w.bob.next("482 MESSAGE")
	})
}

func withVia(text, branch, addr string) string {
	return strings.Replace(text, "Via:", fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=%s\r\nVia:", addr, branch), 1)
}

func TestWhoGetsNoAnswerHearsThatWeTryAndThenNothing(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		p.ask("MESSAGE", "hello")
		m := w.bob.next("MESSAGE")
		pass(3499 * time.Millisecond)
		p.nothing()
		pass(time.Millisecond)
		p.next("100 MESSAGE")
		pass(time.Minute)
		p.nothing()
		w.bob.all()
		w.bob.respond(m, 200, "") // late
		p.nothing()

		p.ask("MESSAGE", "hello")
		w.bob.respond(w.bob.next("MESSAGE"), 408, "")
		pass(time.Minute)
		p.nothing()
	})
}

func TestProvisionalAnswersStayHereAnd503IsTriedElsewhere(t *testing.T) {
	two := func(c *b2bua.Config) {
		edge(c)
		c.Trunks[1].Targets = []string{"sip:" + bobAddr, "sip:" + carolAddr}
	}
	inWorld(t, two, func(w *world) {
		p := w.dave()
		p.ask("MESSAGE", "hello")
		m := w.bob.next("MESSAGE")
		w.bob.respond(m, 183, "")
		p.nothing()
		w.bob.respond(m, 503, "", "Retry-After: 9")
		m2 := w.carol.next("MESSAGE")
		if m2.Branch() == m.Branch() || m2.CallID() != m.CallID() || m2.Get("CSeq") != m.Get("CSeq") {
			t.Errorf("tried elsewhere with\n%s", m2.Raw)
		}
		w.carol.respond(m2, 503, "")
		p.next("500 MESSAGE")
	})
}
