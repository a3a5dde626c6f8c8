package b2bua_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
	"sipvigil/test/ua"
	"sipvigil/test/zone"
)

// carrier is a domain whose first server is bob and whose second is carol.
const carrier = `
carrier.example.           60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.carrier.example.
_sip._udp.carrier.example. 60 IN SRV   1 0 5072 one.carrier.example.
_sip._udp.carrier.example. 60 IN SRV   2 0 5073 two.carrier.example.
one.carrier.example.       60 IN A     127.0.0.1
two.carrier.example.       60 IN A     127.0.0.1
`

// inZone is inWorld with a DNS server, and calls to these targets.
func inZone(t *testing.T, records string, targets []string, f func(w *world, z *zone.Zone)) {
	t.Helper()
	z := zone.New(records)
	inWorld(t, func(c *b2bua.Config) {
		c.DNS = locate.Config{Server: "192.0.2.53:53", Hosts: "/nonexistent", Dial: z.Dial}
		c.NextHop = ""
		c.Trunks = []b2bua.Trunk{{Name: "carrier", Targets: targets}}
		c.Routes = []b2bua.Route{{To: []string{"carrier"}}}
	}, func(w *world) { f(w, z) })
}

var toCarrier = []string{"sip:carrier.example"}

// again checks that an INVITE is another one's repetition to another address.
func again(w *world, first, second *ua.Message) {
	w.Helper()
	if first.Branch() == second.Branch() {
		w.Errorf("the branch is the same:\n%s", second.Raw)
	}
	same(w.T, strings.Replace(second.Raw, second.Branch(), first.Branch(), 1), first.Raw)
}

func TestTheNextAddressOfATargetIsTried(t *testing.T) {
	for name, fail := range map[string]func(w *world){
		"after 503": func(w *world) {
			w.bob.respond(w.invite, 100, "")
			w.bob.respond(w.invite, 503, "")
			w.bob.next("ACK")
		},
		"when the first says nothing for four seconds": func(w *world) {
			pass(4*time.Second - time.Millisecond)
			w.carol.nothing()
			pass(time.Millisecond)
			same(w.T, strings.Join(w.bob.all(), " "), "INVITE INVITE INVITE")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
				w.dial()
				first := w.invite
				same(w.T, first.RequestURI+" "+first.Get("CSeq"), "sip:bob@carrier.example 1 INVITE")
				fail(w)
				w.take(w.carol)
				again(w, first, w.invite)
				w.carol.respond(w.invite, 200, answer)
				w.answered()
				w.carol.next("ACK")
				pass(time.Minute)
				w.bob.nothing()
				w.heard("started", "evidence caller: ACK", "confirmed")
			})
		})
	}
}

func TestAnAddressThatTheNetworkRefusesIsSkippedAtOnce(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.take(w.carol)
		same(w.T, w.invite.Get("CSeq"), "1 INVITE")
	})
}

func TestAnAddressThatHasAnsweredIsNotLeft(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		w.dial()
		w.bob.respond(w.invite, 100, "")
		pass(time.Minute)
		w.carol.nothing()
		w.bob.respond(w.invite, 486, "")
		w.alice.next("486 INVITE")
		w.carol.nothing()
	})
}

func TestTheLastAddressHasAllOfTimerB(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		w.dial()
		pass(36*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.alice.next("408 INVITE")
		same(w.T, strings.Join(w.carol.all(), " "), "INVITE INVITE INVITE INVITE INVITE INVITE INVITE")
		w.heard("started", "ended unreachable(408) /")
	})
}

func TestACalleeThatRingsIsNotLeft(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		w.dial()
		w.bob.respond(w.invite, 180, "", "Record-Route: <sip:127.0.0.1:5099;lr>")
		w.alice.next("180 INVITE")
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.alice.next("503 INVITE")
		w.carol.nothing()
		w.heard("started", "ended callee-rejected(503) /")
	})
}

func TestTargetsThatCannotBeFoundAreSkipped(t *testing.T) {
	targets := []string{"sip:gone.example", "sip:carrier.example", "sip:" + carolAddr}
	inZone(t, carrier, targets, func(w *world, z *zone.Zone) {
		w.network.Refuse(carolAddr, syscall.EHOSTUNREACH)
		w.dial()
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.alice.next("503 INVITE") // carol is tried twice in vain
		w.heard("started", "ended unreachable(503) /")
	})
}

func TestACallToNowhereIs503(t *testing.T) {
	inZone(t, "", toCarrier, func(w *world, _ *zone.Zone) {
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.alice.next("503 INVITE")
		w.heard("started", "ended unreachable(503) /")
	})
}

func TestACallGoesOnToTheNextTargetWhenTheDNSIsSilent(t *testing.T) {
	inZone(t, "", []string{"sip:carrier.example", "sip:" + bobAddr}, func(w *world, z *zone.Zone) {
		z.Silence()
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		pass(2*time.Second - time.Millisecond)
		w.bob.nothing()
		pass(time.Millisecond)
		w.take(w.bob)
	})
}

func TestACallIsCancelledWhileTheDNSIsAsked(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, z *zone.Zone) {
		z.Silence()
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.cancel()
		z.Speak()
		pass(time.Minute)
		w.heard("started", "ended caller-cancel(487) /")
		w.bob.nothing()
		w.carol.nothing()
	})
}

// left has bob fall silent and carol take the call; it returns bob's INVITE.
func left(w *world) (first *ua.Message) {
	w.Helper()
	w.dial()
	first = w.invite
	pass(4 * time.Second)
	w.bob.all()
	w.take(w.carol)
	return first
}

func TestAnAddressThatRingsTooLateIsCancelled(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		first := left(w)
		w.carol.respond(w.invite, 486, "") // and the call is over
		w.alice.next("486 INVITE")
		w.bob.respond(first, 180, "")
		cancel := w.bob.next("CANCEL")
		if cancel.Branch() != first.Branch() || cancel.Get("CSeq") != "1 CANCEL" || cancel.RequestURI != first.RequestURI {
			w.Errorf("CANCEL does not match its INVITE:\n%s", cancel.Raw)
		}
		w.bob.respond(cancel, 200, "")
		w.bob.respond(first, 180, "")
		w.bob.respond(first, 487, "")
		ack := w.bob.next("ACK")
		same(w.T, ack.Branch()+" "+ack.ToTag()+" "+ack.Get("CSeq"), first.Branch()+" bob-tag 1 ACK")
		w.bob.nothing()
		w.alice.nothing()
	})
}

func TestAnAddressThatRingsJustWhenItIsGivenUpIsCancelled(t *testing.T) {
	j := &judge{slow: time.Second}
	judged(t, j, func(w *world) {
		w.dial()
		pass(4*time.Second + time.Millisecond)
		w.bob.all()
		w.bob.respond(w.invite, 180, "") // in line behind the end of its INVITE
		pass(time.Second)
		w.bob.respond(w.bob.next("CANCEL"), 200, "")
		w.alice.nothing()
		w.take(w.carol)
		w.carol.respond(w.invite, 200, answer)
		w.answered()
		w.carol.next("ACK")
	})
}

func TestAnotherAddressOfTheSameHostGetsTheNextNumber(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		first := left(w)
		second := w.invite
		w.carol.respond(second, 482, "")
		w.carol.next("ACK")
		w.take(w.carol)
		same(w.T, second.Get("CSeq")+", "+w.invite.Get("CSeq"), "1 INVITE, 2 INVITE")
		if w.invite.CallID() != first.CallID() || w.invite.Branch() == second.Branch() || w.invite.RequestURI != second.RequestURI {
			w.Errorf("not the same call:\n%s", w.invite.Raw)
		}
		w.bob.respond(first, 100, "")
		same(w.T, w.bob.next("CANCEL").Get("CSeq"), "1 CANCEL")
		w.carol.respond(w.invite, 200, answer)
		w.answered()
		same(w.T, w.carol.next("ACK").Get("CSeq"), "2 ACK")
		w.alice.request("INFO", "")
		same(w.T, w.carol.next("INFO").Get("CSeq"), "3 INFO")
	})
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) { // once
		left(w)
		w.carol.respond(w.invite, 482, "")
		w.carol.next("ACK")
		w.take(w.carol)
		w.carol.respond(w.invite, 482, "")
		w.carol.next("ACK")
		w.alice.next("482 INVITE")
		w.heard("started", "ended callee-rejected(482) /")
	})
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) { // and not where there is no other copy
		w.dial()
		w.bob.respond(w.invite, 482, "")
		w.bob.next("ACK")
		w.alice.next("482 INVITE")
		w.carol.nothing()
	})
}

func TestAnAddressThatAnswersTooLateIsReleased(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		first := left(w)
		w.carol.respond(w.invite, 200, answer)
		w.answered()
		w.carol.next("ACK")
		w.bob.respond(first, 200, answer)
		ack, bye := w.bob.next("ACK"), w.bob.next("BYE")
		same(w.T, ack.Get("CSeq")+" "+ack.ToTag()+", "+bye.Get("CSeq")+" "+bye.ToTag(), "1 ACK bob-tag, 2 BYE bob-tag")
		w.bob.respond(first, 200, answer)
		w.bob.next("ACK")
		w.bob.respond(bye, 200, "")
		w.bob.nothing()
		w.carol.nothing()
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

// answered has alice get the 200 and acknowledge it.
func (w *world) answered() {
	w.Helper()
	m := w.alice.next("200 INVITE")
	w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
	w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
}

// named has bob answer with a Contact that is a name, and completes the call.
func named(w *world, contact string) {
	w.Helper()
	w.dial()
	text := w.bob.response(w.invite, 200, answer)
	w.bob.say(strings.Replace(text, "<sip:bob@"+bobAddr+">", "<"+contact+">", 1))
	w.answered()
}

func TestALegKeepsTheAddressThatAnsweredAndAsksTheDNSNoMore(t *testing.T) {
	// The records would have carol come first.
	turned := strings.NewReplacer("SRV   1", "SRV   3").Replace(carrier)
	inZone(t, turned, []string{"sip:" + bobAddr}, func(w *world, z *zone.Zone) {
		named(w, "sip:bob@carrier.example")
		w.bob.next("ACK")
		z.Asked()
		for i := range 3 {
			w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
			m := w.bob.next("OPTIONS")
			same(w.T, m.RequestURI, "sip:bob@carrier.example")
			w.bob.respond(m, 200, "")
			pass(time.Duration(i) * time.Hour)
		}
		if asked := z.Asked(); asked != nil {
			w.Errorf("probes asked the DNS: %v", asked)
		}
		w.carol.nothing()
	})
}

func TestALegGoesToWhereItsContactLeads(t *testing.T) {
	inZone(t, carrier+"else.example. 60 IN A 127.0.0.1\n", []string{"sip:" + bobAddr}, func(w *world, _ *zone.Zone) {
		named(w, "sip:bob@else.example:5073")
		w.carol.next("ACK")
		w.release(store.End{Reason: store.Operator})
		w.carol.next("BYE")
	})
}

func TestALegWhoseAddressTheNetworkRefusesMovesToTheNext(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, z *zone.Zone) {
		named(w, "sip:bob@carrier.example")
		w.bob.next("ACK")
		pass(time.Hour) // the records are forgotten
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
		w.carol.nothing()
		w.heard("started", "evidence caller: ACK", "confirmed", "probe callee OPTIONS: unsent")
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
		same(w.T, w.carol.next("OPTIONS").Get("CSeq"), "3 OPTIONS")
		if rec := w.store.saved[w.id]; rec.Legs[store.Callee].Peer != carolAddr {
			w.Errorf("saved: %+v", rec.Legs[store.Callee].Dialog)
		}
	})
}

func TestAByeFindsItsWayAroundAnAddressThatIsRefused(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		named(w, "sip:bob@carrier.example")
		w.bob.next("ACK")
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		w.release(store.End{Reason: store.Operator})
		bye := w.carol.next("BYE")
		same(w.T, bye.Get("CSeq"), "2 BYE")
		w.carol.respond(bye, 200, "")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.heard("started", "evidence caller: ACK", "confirmed", "ending operator", "ended operator confirmed/confirmed")
	})
}

func TestACallGoesOnWhileTheDNSIsAsked(t *testing.T) {
	inZone(t, "", []string{"sip:" + bobAddr}, func(w *world, z *zone.Zone) {
		w.connect()
		z.Silence()
		update := w.alice.build("UPDATE", 2, "")
		w.alice.cseq = 2
		w.alice.say(strings.Replace(update, "Contact: <sip:alice@"+aliceAddr+">", "Contact: <sip:alice@new.example>", 1))
		w.bob.respond(w.bob.next("UPDATE"), 200, "", "Contact: <sip:bob@"+bobAddr+">")
		w.alice.next("200 UPDATE")
		w.bob.request("INFO", "")
		m := w.alice.next("INFO")
		same(w.T, m.RequestURI, "sip:alice@new.example")
		w.alice.respond(m, 200, "")
		w.bob.next("200 INFO")
	})
}

func TestARelayedRequestThatTheNetworkRefusesMovesItsLegToo(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		named(w, "sip:bob@carrier.example")
		w.bob.next("ACK")
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		w.alice.request("INFO", "")
		w.alice.next("500 INFO")
		w.alice.request("INFO", "")
		same(w.T, w.carol.next("INFO").Get("CSeq"), "3 INFO")
	})
}
