package b2bua_test

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
)

// stranger is a phone at an address that no trunk has.
func (w *world) stranger(addr string) *phone {
	p := w.phone("mallory", addr)
	p.callID, p.tag, p.uri = "call-of-mallory", "mallory-tag", "<sip:bob@example.com>"
	return p
}

const mallory = "192.0.2.66:5060"

func TestAStrangersRequestsGet403(t *testing.T) {
	for _, method := range []string{"INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE", "BYE", "CANCEL", "NONE"} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				p := w.stranger(mallory)
				p.request(method, "")
				m := p.next("403 " + method)
				same(w.T, m.CallID()+m.Get("CSeq"), "call-of-mallory1 "+method)
				if m.ToTag() == "" {
					w.Error("no To tag")
				}
				p.say("\r\n\r\n")
				p.say("what is this?\r\n\r\n")
				p.say(p.build("ACK", 1, ""))
				p.say("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKabc\r\nCSeq: 1 OPTIONS\r\n\r\n")
				p.nothing()
				w.bob.nothing()
				w.heard()
				w.connect()
			})
		})
	}
}

func TestAStrangerIsNotAnsweredWhereUnknownSourcesAreDropped(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) { c.Unknown = b2bua.UnknownDrop }, func(w *world) {
		p := w.stranger(mallory)
		for _, method := range []string{"INVITE", "OPTIONS", "REGISTER", "BYE", "none"} {
			p.request(method, "")
		}
		p.say("INVITE sip:bob@example.com SIP/7.0\r\nVia: SIP/2.0/UDP 192.0.2.66\r\n\r\n")
		p.remoteTag = "invented"
		p.request("BYE", "")
		p.nothing()
		w.connect()
		p.remoteTag = w.alice.remoteTag // of a call that there is: it is not theirs
		p.request("BYE", "")
		p.next("481 BYE")
	})
}

// onStreams runs a test with an agent that listens for connections of each
// transport, and a way for strangers to open one.
func onStreams(t *testing.T, unknown string, f func(w *world, stranger func(addr string) *phone)) {
	t.Helper()
	for _, transport := range []string{"tcp", "tls", "ws", "wss"} {
		t.Run(transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				trust := b2bua.SelfSigned(t, "sipvigil.example")
				w := newWorld(t, func(c *b2bua.Config) {
					c.Unknown = unknown
					c.TLS = func() *tls.Config { return trust }
				})
				l := w.listens(transport)
				w.serve()
				w.agent.Loaded()
				f(w, func(addr string) *phone {
					p := w.stranger(addr)
					p.connectTo(l, transport, trust)
					return p
				})
			})
		})
	}
}

func TestAStrangersConnectionGets403AndIsClosedLikeOneThatSaysNothing(t *testing.T) {
	onStreams(t, b2bua.UnknownReject, func(w *world, stranger func(string) *phone) {
		p := stranger(mallory)
		for range 20 {
			p.request("INVITE", "")
		}
		if got := p.all(); len(got) != 10 || got[0] != "403 INVITE" {
			w.Errorf("got %q, want 403 ten times", got)
		}
		pass(time.Second)
		p.say(strings.Replace(p.build("OPTIONS", 1, ""), "sip:bob@example.com", "<sip:bob@example.com>", 1))
		p.next("400 OPTIONS")
		p.say(p.build("ACK", 1, ""))
		p.say("SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKabc\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
		p.nothing()
		if pass(8 * time.Second); p.closed() {
			w.Error("closed after 9 s")
		}
		if pass(time.Second); !p.closed() {
			w.Error("still open after 10 s")
		}
		w.bob.nothing()
		w.heard()
		w.connect()
	})
}

func TestAStrangersConnectionGetsNoWordWhereUnknownSourcesAreDropped(t *testing.T) {
	onStreams(t, b2bua.UnknownDrop, func(w *world, stranger func(string) *phone) {
		p := stranger(mallory)
		for _, method := range []string{"INVITE", "OPTIONS", "REGISTER", "BYE", "none"} {
			p.request(method, "")
		}
		p.say(strings.Replace(p.build("OPTIONS", 1, ""), "sip:bob@example.com", "<sip:bob@example.com>", 1))
		p.nothing()
		w.connect()
		p.remoteTag = w.alice.remoteTag // of a call that there is: it is not theirs
		p.request("BYE", "")
		p.next("481 BYE")

		q := stranger("192.0.2.67:5060") // whose messages have no end that could be known
		q.say("OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.67\r\nContent-Length: x\r\n\r\n")
		q.nothing()
	})
}

func TestAConnectionOfACalleeThatIsNoTrunksMayRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *b2bua.Config) { c.NextHop = "sip:192.0.2.7:5072" })
		l := w.listens("tcp")
		w.serve()
		w.agent.Loaded()
		w.bob = w.phone("bob", "192.0.2.7:5072")
		w.bob.tag, w.bob.cseq = "bob-tag", 100
		w.connect()
		w.bob.connectTo(l, "tcp", nil)
		w.bob.request("INFO", "")
		w.alice.respond(w.alice.next("INFO"), 200, "")
		w.bob.next("200 INFO")
		pass(time.Hour)
		w.bob.request("OPTIONS", "") // in the call
		w.bob.next("200 OPTIONS")
		if w.bob.closed() {
			w.Error("closed")
		}
	})
}

func TestAFloodOfStrangersIsAnsweredInPart(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		flood := func(p *phone, want int) {
			w.Helper()
			for range 100 {
				p.request("OPTIONS", "")
			}
			if got := len(p.all()); got != want {
				w.Errorf("%s got %d answers, want %d", p.host.Addr, got, want)
			}
		}
		flood(w.stranger(mallory), 10)
		flood(w.stranger("192.0.2.67:5060"), 10)
		flood(w.stranger("192.0.2.67:5061"), 0)
		pass(time.Second)
		flood(w.stranger(mallory), 2)
		flood(w.stranger("[2001:db8::1]:5060"), 10)
		flood(w.stranger("[2001:db8::2]:5060"), 0) // of the same /64
		pass(time.Minute)
		for i := range 6 {
			flood(w.stranger(fmt.Sprintf("192.0.2.%d:5060", 100+i)), min(10, 50-10*i))
		}
		w.connect()
	})
}

// abroad has bob at an address that is no trunk's.
func abroad(t *testing.T, f func(w *world)) {
	inWorld(t, func(c *b2bua.Config) { c.NextHop = "sip:192.0.2.7:5072" }, func(w *world) {
		w.bob = w.phone("bob", "192.0.2.7:5072")
		w.bob.tag, w.bob.cseq = "bob-tag", 100
		f(w)
	})
}

func TestACalleeThatIsNoTrunksIsServedInsideItsCall(t *testing.T) {
	abroad(t, func(w *world) {
		w.connect()
		for range 100 {
			w.bob.request("INFO", "")
			w.alice.respond(w.alice.next("INFO"), 200, "")
			w.bob.next("200 INFO")
		}
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		w.bob.nothing()
		w.obs.heard()
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.heard("ending callee-bye", "ended callee-bye confirmed/confirmed")
		w.bob.request("INFO", "") // with a tag that was ours
		w.bob.next("481 INFO")
	})
}

// posing is a phone at an address that sends what another one would.
func (w *world) posing(as *phone, addr string) *phone {
	p := *as
	p.host = w.network.Listen(addr)
	return &p
}

func TestAThirdPartyThatKnowsTheDialogChangesNothing(t *testing.T) {
	for _, method := range []string{"BYE", "INVITE", "UPDATE", "INFO", "OPTIONS", "REFER"} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				before, _ := w.agent.Call(w.id)
				for _, victim := range []*phone{w.alice, w.bob} {
					p := w.posing(victim, "127.0.0.2:5060")
					p.cseq += 1000
					p.request(method, "")
					p.next("403 " + method)
					p.nothing()
				}
				w.alice.nothing()
				w.bob.nothing()
				w.heard()
				if after, _ := w.agent.Call(w.id); fmt.Sprint(after) != fmt.Sprint(before) {
					w.Errorf("the call was\n%v\nand is\n%v", before, after)
				}
				w.alice.request("BYE", "")
				w.alice.next("200 BYE")
				w.bob.next("BYE")
			})
		})
	}
}

func TestWithoutTheSourceCheckTagsAreEnough(t *testing.T) {
	for _, mode := range []string{b2bua.SourceLog, b2bua.SourceOff} {
		t.Run(mode, func(t *testing.T) {
			inWorld(t, func(c *b2bua.Config) { c.SourceCheck = mode }, func(w *world) {
				w.connect()
				p := w.posing(w.alice, "127.0.0.2:5060")
				p.request("BYE", "")
				p.next("200 BYE")
				w.bob.next("BYE")
			})
		})
	}
}

func TestAFarEndMayComeFromAnotherPortOrAnotherAddressOfItsTrunk(t *testing.T) {
	trunks := func(c *b2bua.Config) {
		c.Trunks = []b2bua.Trunk{
			{Name: "pbx", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}},
			{Name: "carrier", Targets: []string{c.NextHop, "sip:192.0.2.8:5060"}},
		}
	}
	for addr, victim := range map[string]string{"127.0.0.1:6666": "alice", "127.0.0.200:5060": "alice", "127.0.0.1:7777": "bob", "192.0.2.8:5999": "bob"} {
		t.Run(addr, func(t *testing.T) {
			inWorld(t, trunks, func(w *world) {
				w.connect()
				p := w.posing(map[string]*phone{"alice": w.alice, "bob": w.bob}[victim], addr)
				p.request("OPTIONS", "")
				p.next("200 OPTIONS")
				// An element that asks with an old number still learns that the call is there.
				p.say(p.build("OPTIONS", 1, ""))
				p.next("500 OPTIONS")
				p.request("BYE", "")
				p.next("200 BYE")
			})
		})
	}
}

func TestANATMayChangeThePort(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		for _, p := range []*phone{w.posing(w.alice, "127.0.0.1:6666"), w.posing(w.bob, "127.0.0.1:7777")} {
			p.request("OPTIONS", "")
			p.next("200 OPTIONS")
		}
	})
}

func TestAFarEndIsKnownByWhereItSpokeFromToo(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		from := "Contact: <sip:alice@" + aliceAddr + ">"
		invite := strings.Replace(w.alice.build("INVITE", 1, offer), from, "Contact: <sip:alice@192.0.2.9>", 1)
		w.alice.cseq = 1
		w.alice.say(invite)
		w.alice.next("100 INVITE")
		w.take(w.bob)
		bob := w.bob
		answer := strings.Replace(bob.response(w.invite, 200, ""), "<sip:bob@"+bobAddr+">", "<sip:bob@192.0.2.10>", 1)
		bob.say(answer)
		res := w.alice.next("200 INVITE")
		w.alice.remoteTag, w.alice.target = res.ToTag(), uri(res.Get("Contact"))
		w.alice.say(w.alice.build("ACK", 1, ""))
		w.heard("started", "evidence caller: ACK", "confirmed")
		rec, _ := w.agent.Call(w.id)
		same(w.T, rec.Legs[0].Peer+" "+rec.Legs[0].Seen+" "+rec.Legs[1].Peer+" "+rec.Legs[1].Seen,
			"192.0.2.9:5060 127.0.0.1 192.0.2.10:5060 127.0.0.1")
		for i, p := range []*phone{w.alice, bob, w.posing(w.alice, "192.0.2.9:5060"), w.posing(bob, "192.0.2.10:5060")} {
			p.cseq += uint32(10 * i)
			p.request("OPTIONS", "")
			p.next("200 OPTIONS")
		}
	})
}

func TestAnAckMayComeFromAnywhere(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.accept()
		p := w.posing(w.alice, "127.0.0.2:5060")
		p.say(p.build("ACK", 1, ""))
		w.bob.next("ACK")
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

func TestALateAnswerFromElsewhereIsNoEvidence(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		m := w.bob.next("OPTIONS")
		pass(2 * time.Second)
		w.heard("probe callee OPTIONS: timeout")
		w.posing(w.bob, "127.0.0.2:5060").respond(m, 200, "")
		w.heard()
		w.bob.respond(m, 200, "")
		w.heard("evidence callee: late 200 OPTIONS")
	})
}
