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
