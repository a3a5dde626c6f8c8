package b2bua_test

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
)

const (
	flowAddr  = "203.0.113.9:40001" // where the NAT of dave's phone has it
	innerAddr = "10.0.0.7:5060"     // where the phone thinks that it is
)

// edge is a configuration with phones anywhere and a registrar (bob).
func edge(c *b2bua.Config) {
	c.NextHop = ""
	c.Trunks = []b2bua.Trunk{
		{Name: "phones", Sources: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		{Name: "registrar", Targets: []string{"sip:" + bobAddr}, Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	}
	c.Routes = []b2bua.Route{{From: "phones", To: []string{"registrar"}}}
}

// dave is a phone behind a NAT.
func (w *world) dave() *phone {
	p := w.phone("dave", flowAddr)
	p.callID, p.tag, p.uri, p.from = "reg-1@dave", "dave-tag", "<sip:dave@example.com>", "<sip:dave@example.com>"
	p.target = "sip:example.com"
	return p
}

// behind makes a message what the phone behind its NAT writes.
func behind(text string) string {
	for _, transport := range []string{"UDP", "TCP", "TLS", "WS", "WSS"} {
		via := "Via: SIP/2.0/" + transport + " "
		text = strings.Replace(text, via+flowAddr, via+innerAddr+";rport", 1)
	}
	return strings.Replace(text, "Contact: <sip:dave@"+flowAddr, "Contact: <sip:dave@"+innerAddr, 1)
}

// ask sends a request from behind the NAT.
func (p *phone) ask(method, body string, extra ...string) {
	p.t.Helper()
	p.cseq++
	p.say(behind(p.build(method, p.cseq, body, extra...)))
}

// register has dave register; the registrar learns the Path.
func (w *world) register(p *phone) (path string) {
	w.Helper()
	p.ask("REGISTER", "", "Expires: 600")
	m := w.bob.next("REGISTER")
	w.bob.respond(m, 200, "", "Path: "+m.Get("Path"), "Contact: "+m.Get("Contact")+";expires=600")
	p.next("200 REGISTER")
	return m.Get("Path")
}

// callBack has the registrar call dave through us.
func (w *world) callBack(p *phone, path string, extra ...string) {
	w.Helper()
	w.alice.target = "sip:dave@" + innerAddr
	w.alice.request("INVITE", offer, append([]string{"Route: " + path, "Content-Type: application/sdp"}, extra...)...)
	w.alice.next("100 INVITE")
	w.take(p)
}

func TestARegisterIsPassedOnWithPathAndAllElseAsItCame(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		p.ask("REGISTER", "", "Expires: 600", "Supported: path, gruu", `Authorization: Digest username="dave", uri="sip:example.com"`,
			"X-Odd:   kept , as it is", "Require: gruu")
		m := w.bob.next("REGISTER")
		same(t, m.RequestURI, "sip:example.com")
		vias := m.All("Via")
		if len(vias) != 2 || !strings.HasPrefix(vias[0], "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK") ||
			!strings.Contains(vias[1], innerAddr) || !strings.Contains(vias[1], "rport=40001") || !strings.Contains(vias[1], "received=203.0.113.9") {
			t.Errorf("Vias are %q", vias)
		}
		for name, want := range map[string]string{
			"Max-Forwards": "69", "Call-ID": "reg-1@dave", "CSeq": "1 REGISTER", "From": "<sip:dave@example.com>;tag=dave-tag",
			"To": "<sip:dave@example.com>", "Contact": "<sip:dave@" + innerAddr + ">", "Supported": "path, gruu", "Require": "gruu",
			"Authorization": `Digest username="dave", uri="sip:example.com"`, "X-Odd": "kept , as it is",
		} {
			same(t, m.Get(name), want)
		}
		path := m.Get("Path")
		if !strings.HasPrefix(path, "<sip:") || !strings.HasSuffix(path, "@127.0.0.1:5060;lr>") {
			t.Errorf("Path is %s", path)
		}
		w.bob.respond(m, 401, "", `WWW-Authenticate: Digest realm="example.com", nonce="n"`)
		same(t, p.next("401 REGISTER").Get("WWW-Authenticate"), `Digest realm="example.com", nonce="n"`)
		p.ask("REGISTER", "")
		m = w.bob.next("REGISTER")
		same(t, m.Get("Path"), path)
		w.bob.respond(m, 200, "", "Path: "+path, "Service-Route: <sip:127.0.0.1:5072;lr>", "Contact: <sip:dave@10.0.0.7:5060>;expires=60")
		res := p.next("200 REGISTER")
		if len(res.All("Via")) != 1 || res.ToTag() != "bob-tag" || res.Get("Path") != path ||
			res.Get("Service-Route") != "<sip:127.0.0.1:5072;lr>" || res.Get("Contact") != "<sip:dave@10.0.0.7:5060>;expires=60" {
			t.Errorf("the phone got\n%s", res.Raw)
		}
		pass(time.Minute)
		w.bob.nothing()
		p.nothing()
		w.heard()
	})
}

func TestARegisterToOurselvesNamesTheRegistrar(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		p.target = "sip:" + agentAddr
		p.ask("REGISTER", "")
		same(t, w.bob.next("REGISTER").RequestURI, "sip:"+bobAddr)
	})
}

func TestACallToARegisteredPhoneGoesToItsFlowUntilTheEnd(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		path := w.register(p)
		w.callBack(p, path)
		same(t, w.invite.RequestURI, "sip:dave@"+innerAddr)
		if w.invite.Has("Route") || w.invite.Has("Record-Route") || len(w.invite.All("Via")) != 1 {
			t.Errorf("the phone got\n%s", w.invite.Raw)
		}
		p.say(behind(p.response(w.invite, 200, answer, "Content-Type: application/sdp")))
		m := w.alice.next("200 INVITE")
		w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		same(t, p.next("ACK").RequestURI, "sip:dave@"+innerAddr)
		w.heard("started", "evidence caller: ACK", "confirmed")
		if c, _ := w.agent.Call(w.id); c.TrunkIn != "registrar" || c.TrunkOut != "phones" {
			t.Errorf("trunks are %q and %q", c.TrunkIn, c.TrunkOut)
		}

		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		p.respond(p.next("OPTIONS"), 200, "")
		w.heard("probe callee OPTIONS: answered 200 after 0s")

		w.alice.request("UPDATE", "") // and the phone moves its Contact, to where nobody is
		p.respond(p.next("UPDATE"), 200, "", "Contact: <sip:dave@198.51.100.8>")
		w.alice.next("200 UPDATE")
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		m = p.next("BYE")
		same(t, m.RequestURI, "sip:dave@198.51.100.8")
		p.respond(m, 200, "")
		synctest.Wait()
		if got := w.obs.heard(); len(got) == 0 || got[len(got)-1] != "ended caller-bye confirmed/confirmed" {
			t.Errorf("the observer was told %q", got)
		}
	})
}

func TestThePathBeyondUsIsKept(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		path := w.register(p)
		w.callBack(p, path+", <sip:edge.example.net;lr>;x=1", "Route: <sip:inner.example.net;lr>")
		same(t, strings.Join(w.invite.All("Route"), "|"), "<sip:edge.example.net;lr>;x=1|<sip:inner.example.net;lr>")
	})
}

func TestRequestsOfTheRegistrarReachThePhone(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		path := w.register(p)
		w.alice.target = "sip:dave@" + innerAddr
		for _, method := range []string{"OPTIONS", "MESSAGE", "NOTIFY"} {
			w.alice.request(method, "a\x00b", "Route: "+path, "Content-Type: application/octet-stream", "Event: mwi")
			m := p.next(method)
			same(t, m.RequestURI, "sip:dave@"+innerAddr)
			same(t, string(m.Body), "a\x00b")
			if m.Has("Route") || m.Has("Record-Route") {
				t.Errorf("the phone got\n%s", m.Raw)
			}
			p.respond(m, 202, "c\x00d")
			same(t, string(w.alice.next("202 "+method).Body), "c\x00d")
		}
	})
}

func TestAForgedOrForeignTokenOpensNothing(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		path := w.register(p)
		forged := strings.Replace(path, path[6:9], "000", 1)
		for _, method := range []string{"INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE"} {
			w.alice.request(method, "", "Route: "+forged)
			if method == "INVITE" {
				w.alice.next("403 INVITE")
				pass(time.Minute)
				w.alice.all()
				continue
			}
			w.alice.next("403 " + method)
		}
		w.alice.remoteTag = "somebody" // inside a dialog, to anywhere
		w.alice.target = "sip:eve@198.51.100.66"
		w.alice.request("NOTIFY", "", "Route: "+forged)
		w.alice.next("403 NOTIFY")
		w.alice.request("NOTIFY", "", "Route: <sip:127.0.0.1:5060;lr>")
		w.alice.next("481 NOTIFY")
		w.alice.request("NOTIFY", "")
		w.alice.next("481 NOTIFY")
		p.nothing()
		w.bob.nothing()
	})
}

func TestInsideACallRoutesToUsSayNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("INFO", "", "Route: <sip:alice@127.0.0.1:5060;lr>")
		w.bob.next("INFO")
	})
}

func TestRoutesLookAtTheUserThatIsRegistered(t *testing.T) {
	byUser := func(c *b2bua.Config) {
		edge(c)
		c.Routes[0].User = regexp.MustCompile("^dave$")
	}
	inWorld(t, byUser, func(w *world) {
		p := w.dave()
		p.ask("REGISTER", "")
		w.bob.next("REGISTER")
		p.uri = "<sip:erin@example.com>"
		p.ask("REGISTER", "")
		p.next("405 REGISTER")
		w.bob.nothing()
	})
}

func TestARouteToUsWithoutATokenSaysNothing(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		p.ask("REGISTER", "", "Route: <sip:127.0.0.1:5060;lr>, <sip:192.0.2.99;lr>")
		m := w.bob.next("REGISTER")
		if m.Has("Route") {
			t.Errorf("the registrar got\n%s", m.Raw)
		}
	})
}

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

func TestATokenIsNoWayOutOfItsTrunk(t *testing.T) {
	off := func(c *b2bua.Config) {
		edge(c)
		c.Trunks[0].NATOff = true
		c.Trunks = append(c.Trunks, b2bua.Trunk{Name: "carrier", Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	}
	inWorld(t, off, func(w *world) {
		p, carrier := w.dave(), w.phone("carrier", "198.51.100.66:5060")
		path := w.register(p)
		for _, method := range []string{"INVITE", "MESSAGE"} { // another phone, with dave's token
			eve := w.phone("eve", "203.0.113.77:5060")
			eve.callID, eve.tag, eve.uri, eve.target = "eve", "eve", "<sip:+900@example.com>", "sip:+900@198.51.100.66"
			eve.request(method, "", "Route: "+path)
			eve.lastOf(w, "403 "+method)
		}
		p.target = "sip:+900@198.51.100.66" // and dave: his own token says nothing
		p.ask("MESSAGE", "", "Route: "+path)
		same(t, w.bob.next("MESSAGE").RequestURI, "sip:+900@"+bobAddr)
		p.remoteTag = "somebody"
		p.ask("MESSAGE", "", "Route: "+path)
		p.next("481 MESSAGE")
		carrier.nothing()
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
		second.host = w.network.listen("203.0.113.9:40002")
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
		w.bob.say(withVia(text, "z9hG4bK-bob-1", w.bob.host.addr.String()))
		second := w.bob.poll()
		if second == nil || second.Method != "MESSAGE" {
			t.Fatalf("a spiral is no loop: %v", second)
		}
		// And once more what he got: now it has been here as it is.
		w.bob.say(withVia(strings.Replace(second.Raw, "Max-Forwards", back+"Max-Forwards", 1), "z9hG4bK-bob-2", w.bob.host.addr.String()))
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

func TestACallToAPhoneOnAConnectionUsesItWhileItLives(t *testing.T) {
	for _, tt := range []struct {
		transport, param string
		natOff           bool
	}{{transport: "tcp", param: "tcp"}, {transport: "tls", param: "tls"}, {transport: "ws", param: "ws"}, {transport: "wss", param: "ws"},
		{transport: "ws", param: "ws", natOff: true}} {
		t.Run(fmt.Sprintf("%s, nat off: %v", tt.transport, tt.natOff), func(t *testing.T) {
			usesItsConnection(t, tt.transport, tt.param, tt.natOff)
		})
	}
}

// usesItsConnection has a phone register over a connection, and be subscribed
// to, called, asked and hung up on through it, until it is gone.
func usesItsConnection(t *testing.T, transport, param string, natOff bool) {
	synctest.Test(t, func(t *testing.T) {
		trust := b2bua.SelfSigned(t, "sipvigil.example")
		w := newWorld(t, func(c *b2bua.Config) {
			edge(c)
			c.TLS = func() *tls.Config { return trust }
			c.Trunks[0].NATOff = natOff
		})
		l := w.listens(transport)
		w.serve()
		w.agent.Loaded()
		p := w.dave()
		p.connectTo(l, transport, trust)
		p.cseq++
		p.say(strings.Replace(behind(p.build("REGISTER", p.cseq, "")), ";rport", ";rport;keep", 1))
		m := w.bob.next("REGISTER")
		path := m.Get("Path")
		if !strings.HasSuffix(path, "@127.0.0.1:5060;lr;ob>") || !strings.Contains(m.All("Via")[1], "SIP/2.0/"+strings.ToUpper(transport)+" ") {
			t.Errorf("the registrar got\n%s", m.Raw)
		}
		w.bob.respond(m, 200, "")
		if via := p.next("200 REGISTER").Get("Via"); !strings.Contains(via, ";keep=30") {
			t.Errorf("keep-alives are not answered: %s", via)
		}

		p.target, p.callID = "sip:carol@example.com", "sub-1@dave"
		p.ask("SUBSCRIBE", "", "Event: presence")
		m = w.bob.next("SUBSCRIBE")
		rr := m.All("Record-Route")
		if len(rr) != 2 || strings.Contains(rr[0], "transport") || !strings.Contains(rr[1], ";transport="+param+";lr") {
			t.Errorf("Record-Routes are %q", rr)
		}
		w.bob.respond(m, 202, "")
		p.next("202 SUBSCRIBE")
		p.remoteTag, p.target = "bob-tag", "sip:pres@"+bobAddr
		p.ask("SUBSCRIBE", "", "Route: "+rr[1], "Route: "+rr[0], "Event: presence")
		m = w.bob.next("SUBSCRIBE")
		if m.Has("Route") {
			t.Errorf("the notifier got\n%s", m.Raw)
		}
		w.bob.respond(m, 202, "")
		p.next("202 SUBSCRIBE")
		w.alice.target, w.alice.remoteTag = "sip:dave@"+innerAddr+";transport="+param, "dave-tag"
		w.alice.request("NOTIFY", "", "Route: "+rr[0]+", "+rr[1])
		m = p.next("NOTIFY")
		if m.Has("Route") {
			t.Errorf("the phone got\n%s", m.Raw)
		}
		p.respond(m, 200, "")
		w.alice.next("200 NOTIFY")
		w.alice.remoteTag = ""

		w.alice.request("INVITE", offer, "Route: "+path, "Content-Type: application/sdp")
		w.alice.next("100 INVITE")
		w.take(p)
		p.say(behind(p.response(w.invite, 200, answer, "Content-Type: application/sdp")))
		res := w.alice.next("200 INVITE")
		w.alice.remoteTag, w.alice.target = res.ToTag(), uri(res.Get("Contact"))
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		p.next("ACK")
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		p.respond(p.next("OPTIONS"), 200, "")
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		p.respond(p.next("BYE"), 200, "")

		_ = p.stream.Close()
		pass(time.Minute)
		w.alice.all()
		w.alice.callID, w.alice.remoteTag, w.alice.target = "call-2@alice", "", "sip:dave@"+innerAddr+";transport="+param
		w.alice.request("MESSAGE", "hello", "Route: "+path)
		w.alice.next("430 MESSAGE")
		w.alice.request("INVITE", offer, "Route: "+path)
		w.alice.next("100 INVITE")
		w.alice.next("430 INVITE")
		pass(time.Minute)
	})
}
