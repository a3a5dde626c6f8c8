package b2bua_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// inDoubt runs a test with an agent that may be unsure whether it owns its calls.
func inDoubt(t *testing.T, f func(w *world, may *atomic.Bool)) {
	var may atomic.Bool
	may.Store(true)
	inWorld(t, func(c *b2bua.Config) { c.May = may.Load }, func(w *world) { f(w, &may) })
}

func TestNothingOfOursIsSentInsideCallsThatMayBeAnothersByNow(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		w.connect()
		may.Store(false)
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.heard("probe callee OPTIONS: deferred")
		w.agent.Release(w.id, store.End{Reason: store.Operator})
		pass(time.Minute)
		w.heard()

		// What the far ends send passes.
		w.alice.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 200, "")
		w.alice.next("200 INFO")
		w.heard("evidence caller: INFO", "evidence callee: 200 INFO")

		may.Store(true)
		w.agent.GoOn()
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.heard("ending operator", "ended operator confirmed/confirmed")
	})
}

func TestAProbeIsNotSentAgainInsideACallThatMayBeAnothersByNow(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		w.connect()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
		w.bob.next("OPTIONS")
		may.Store(false)
		pass(10 * time.Second)
		w.bob.nothing()
		w.heard("probe callee OPTIONS: deferred")
	})
}

func TestACallThatWasDroppedIsNotReleasedLater(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		w.connect()
		may.Store(false)
		w.agent.Release(w.id, store.End{Reason: store.Callee.Gone(), Status: 481})
		pass(time.Second)
		w.agent.Drop(w.id)
		may.Store(true)
		w.agent.GoOn()
		pass(time.Minute)
		w.heard()
	})
}

func TestACallThatComesBackIsNotReleasedForWhatWasBefore(t *testing.T) {
	inDoubt(t, func(w *world, may *atomic.Bool) {
		rec := w.remembered(store.Confirmed)
		w.restore(rec)
		w.heard("confirmed")
		may.Store(false)
		w.agent.Release(w.id, store.End{Reason: store.Callee.Gone(), Status: 481})
		pass(time.Second)
		w.agent.Drop(w.id)
		may.Store(true)
		w.restore(rec)
		w.agent.GoOn()
		pass(time.Second)
		w.heard("confirmed")
		w.bob.nothing()
	})
}

func TestNodeThatStopsTakesNoNewCalls(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Drain()
		w.carol.callID, w.carol.uri = "call-2@carol", "<sip:bob@example.com>"
		w.carol.request("INVITE", offer, "Content-Type: application/sdp")
		w.carol.next("100 INVITE")
		if m := w.carol.next("503 INVITE"); m.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		if n := w.agent.Unsettled(); n != 0 {
			t.Errorf("%d calls are unsettled", n)
		}
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
	})
}

func TestACallThatLacksItsACKIsNotHandedOver(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		unsettled := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := w.agent.Unsettled(); n != want {
				t.Errorf("%d calls are unsettled, want %d", n, want)
			}
		}
		w.dial()
		unsettled(1)
		w.accept()
		unsettled(1) // its far ends have a call, but only we can pass on the ACK
		w.ack()
		unsettled(0)
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		unsettled(1)
		w.bob.respond(w.bob.next("BYE"), 200, "")
		unsettled(0)
	})
}

func TestRequestInsideACallOfAnotherNode(t *testing.T) {
	place, broken := b2bua.Place{}, error(nil)
	find := func(context.Context, string) (b2bua.Place, error) { return place, broken }
	inWorld(t, func(c *b2bua.Config) { c.Find = find }, func(w *world) {
		w.connect()
		w.agent.Drop(w.id) // it is elsewhere now
		ask := func(method, want string) {
			t.Helper()
			w.alice.request(method, "")
			w.alice.next(want)
		}
		ask("INFO", "481 INFO")
		broken = errors.New("the store is away")
		ask("INFO", "503 INFO")
		broken, place = nil, b2bua.Place{Ended: time.Now()} // it has just ended there
		ask("INFO", "481 INFO")
		ask("BYE", "200 BYE")
		pass(32 * time.Second)
		ask("BYE", "481 BYE")
		place = b2bua.Place{Addr: carolAddr} // who stands for the owner
		w.alice.request("BYE", "")
		m := w.carol.next("BYE")
		source, seal, _ := strings.Cut(m.Get("X-Sipvigil-Source"), " ")
		if source != aliceAddr || len(seal) != 32 || len(m.All("Via")) != 2 || m.Get("Max-Forwards") != "69" {
			t.Errorf("the owner got\n%s", m.Raw)
		}
		w.carol.respond(m, 200, "")
		if m := w.alice.next("200 BYE"); len(m.All("Via")) != 1 {
			t.Errorf("the phone got %d Vias", len(m.All("Via")))
		}
	})
}

func TestOnlyANodeCanSayWhereARequestCameFrom(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("INFO", "", "X-Sipvigil-Source: 192.0.2.66:5060 00112233445566778899aabbccddeeff")
		m := w.bob.next("INFO") // served as alice's
		if m.Get("X-Sipvigil-Source") != "" {
			t.Error("the header is passed on")
		}
		w.bob.respond(m, 200, "")
		w.alice.next("200 INFO")
	})
}

// A node that started while the store was away passes requests on with a key of
// its own until it has read that of all.
func TestARequestThatANodeWithAnotherKeyPassesOnIsToComeAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		other := w.phone("edge-2", "192.0.2.70:5060")
		other.callID, other.tag, other.remoteTag, other.from, other.uri, other.target = w.alice.callID, w.alice.tag, w.alice.remoteTag, w.alice.from, w.alice.uri, w.alice.target
		other.cseq = w.alice.cseq
		for seal, want := range map[string]string{"X-Sipvigil-Source: " + aliceAddr + " 00112233445566778899aabbccddeeff": "503 INFO", "X-Other: 1": "403 INFO"} {
			other.request("INFO", "", seal)
			other.next(want)
		}
		w.bob.nothing()
	})
}

// neighbour has a second node serve on the same network, which passes what it
// gets inside calls to their owner. Alice speaks to it from now on.
func neighbour(w *world, owner string) *recorder {
	cfg := b2bua.Default()
	cfg.Node = "edge-2"
	cfg.Find = func(context.Context, string) (b2bua.Place, error) { return b2bua.Place{Addr: owner}, nil }
	obs := &recorder{}
	a, err := b2bua.New(cfg, &shelf{saved: make(map[string]store.Call)}, obs, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		w.Fatal(err)
	}
	a.Identify(8, []byte("0123456789abcdef0123456789abcdef"))
	other := &world{T: w.T, agent: a, network: w.network}
	other.serveAt("127.0.0.9:5060")
	a.Loaded()
	w.alice.to, _ = net.ResolveUDPAddr("udp", "127.0.0.9:5060")
	return obs
}

func TestReinviteThroughAnotherNodeThanTheOwner(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		obs := neighbour(w, agentAddr)
		w.alice.user = "moved"
		w.alice.request("INVITE", offer, "Content-Type: application/sdp")
		w.alice.next("100 INVITE")
		m := w.bob.next("INVITE")
		if len(m.All("Via")) != 1 || m.Get("X-Sipvigil-Source") != "" || string(m.Body) != offer {
			t.Errorf("the other leg got\n%s", m.Raw)
		}
		w.bob.respond(m, 180, "")
		w.alice.next("180 INVITE")
		w.bob.respond(m, 200, answer, "Content-Type: application/sdp")
		ok := w.alice.next("200 INVITE")
		if len(ok.All("Via")) != 1 || string(ok.Body) != answer || !strings.Contains(ok.Get("Contact"), agentAddr) {
			t.Errorf("the phone got\n%s", ok.Raw)
		}
		pass(500 * time.Millisecond)
		w.alice.next("200 INVITE") // as often as the owner sends it
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		w.bob.next("ACK")
		pass(time.Minute)
		w.alice.nothing()
		w.heard("evidence caller: INVITE", "evidence callee: 180 INVITE", "evidence callee: 200 INVITE", "evidence caller: ACK")
		if got := obs.heard(); got != nil {
			t.Errorf("the neighbour took part: %q", got)
		}
		if c, _ := w.agent.Call(w.id); c.Leg(store.Caller).Seen != "127.0.0.1" || c.Leg(store.Caller).Target != "sip:moved@"+aliceAddr {
			t.Errorf("the caller spoke from %s, and is at %s", c.Leg(store.Caller).Seen, c.Leg(store.Caller).Target)
		}
	})
}

// The node that a request came to has seen the certificate of its sender.
func TestARequestOfATrunkWithCertificatesThroughAnotherNode(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) {
		c.Trunks = []b2bua.Trunk{
			{Name: "local", Sources: network127},
			{Name: "carrier", Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, ClientName: "sip.carrier.example"},
		}
		c.SourceCheck = b2bua.SourceOff
	}, func(w *world) {
		w.connect()
		neighbour(w, agentAddr)
		p := w.posing(w.alice, "192.0.2.9:5061")
		p.request("BYE", "")
		p.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		p.to, _ = net.ResolveUDPAddr("udp", agentAddr)
		p.request("BYE", "")
		p.next("403 BYE") // without a node in between there is none
	})
}

func TestReinviteThroughAnotherNodeThatIsRefusedOrCancelled(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		neighbour(w, agentAddr)
		w.alice.request("INVITE", offer, "Content-Type: application/sdp")
		w.alice.next("100 INVITE")
		w.bob.respond(w.bob.next("INVITE"), 488, "")
		w.bob.next("ACK")
		w.alice.next("488 INVITE")
		w.alice.acknowledge()

		w.alice.request("INVITE", offer, "Content-Type: application/sdp")
		invite := w.alice.sent
		w.alice.next("100 INVITE")
		m := w.bob.next("INVITE")
		w.bob.respond(m, 180, "")
		w.alice.next("180 INVITE")
		w.alice.sent = invite - 1 // the same branch
		w.alice.say(w.alice.build("CANCEL", w.alice.cseq, ""))
		w.alice.next("200 CANCEL")
		w.bob.respond(w.bob.next("CANCEL"), 200, "")
		w.bob.respond(m, 487, "")
		w.bob.next("ACK")
		w.alice.next("487 INVITE")
		w.alice.acknowledge()
		pass(time.Minute)
		w.alice.nothing()
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
	})
}

func TestReinviteToAnOwnerThatHasJustDied(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		neighbour(w, "127.0.0.1:5999")
		w.alice.request("INVITE", offer, "Content-Type: application/sdp")
		w.alice.next("100 INVITE")
		pass(32 * time.Second)
		if m := w.alice.next("503 INVITE"); m.Get("Retry-After") == "" { // 408 would end the call
			t.Error("503 without Retry-After")
		}
		w.alice.acknowledge()
	})
}

// acknowledge sends the ACK of a refusal, which has the branch of its INVITE.
func (p *phone) acknowledge() {
	p.sent--
	p.say(p.build("ACK", p.cseq, ""))
}

func TestARequestHasTheCallOfADeadNodeAdoptedOnTheSpot(t *testing.T) {
	adopting := func(f func(w *world)) {
		var w *world
		var rec store.Call
		inWorld(t, func(c *b2bua.Config) {
			c.Find = func(ctx context.Context, _ string) (b2bua.Place, error) {
				return b2bua.Place{Here: true}, w.agent.Restore(ctx, []store.Call{rec})
			}
		}, func(world *world) {
			w = world
			rec = w.remembered(store.Confirmed)
			f(w)
		})
	}
	const first = 160 + dialog.Jump + 1
	adopting(func(w *world) {
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		bye := w.bob.next("BYE")
		same(t, bye.Get("CSeq"), fmt.Sprintf("%d BYE", first))
		w.bob.respond(bye, 200, "")
		w.heard("confirmed", "ending caller-bye", "ended caller-bye confirmed/confirmed")
	})
	adopting(func(w *world) {
		w.alice.request("INVITE", offer, "Content-Type: application/sdp")
		w.alice.next("100 INVITE")
		m := w.bob.next("INVITE")
		same(t, m.Get("CSeq"), fmt.Sprintf("%d INVITE", first))
		w.bob.respond(m, 200, answer, "Content-Type: application/sdp")
		ok := w.alice.next("200 INVITE")
		same(t, ok.Get("Contact"), "<sip:bob@"+agentAddr+">") // where the phone finds its call from now on
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		w.bob.next("ACK")
		w.heard("confirmed", "evidence caller: INVITE", "evidence callee: 200 INVITE", "evidence caller: ACK")
	})
}
