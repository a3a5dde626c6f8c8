package locate_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/test/zone"
)

const (
	host  = "sip:a.example:5060"
	first = "udp:192.0.2.1:5060"
	later = "udp:192.0.2.2:5060"
)

func TestAnAnswerIsKeptUntilItsTTLIsOver(t *testing.T) {
	inPlace(t, "a.example. 60 IN A 192.0.2.1", func(p *place) {
		p.find(host, sockets("udp"), first)
		p.asked("a.example A")
		p.zone.Set("a.example. 60 IN A 192.0.2.2")
		time.Sleep(60*time.Second - time.Nanosecond)
		p.find(host, sockets("udp"), first)
		p.asked()
		time.Sleep(time.Nanosecond)
		p.find(host, sockets("udp"), later)
		p.asked("a.example A")
	})
}

func TestTheShortestTTLOfAnAnswerAndItsAliasesCounts(t *testing.T) {
	inPlace(t, `
a.example. 20 IN CNAME b.example.
b.example. 40 IN CNAME C.example.
c.example. 90 IN A 192.0.2.1
c.example. 80 IN A 192.0.2.2
d.example. 0  IN A 192.0.2.1
e.example. 4294967295 IN A 192.0.2.1
f.example. 90000 IN A 192.0.2.1
`, func(p *place) {
		p.find(host, sockets("udp"), first+" "+later)
		p.find("sip:c.example:5060", sockets("udp"), first+" "+later)
		p.find("sip:d.example:5060", sockets("udp"), first)
		p.find("sip:d.example:5060", sockets("udp"), first)
		p.find("sip:e.example:5060", sockets("udp"), first)
		p.find("sip:e.example:5060", sockets("udp"), first)
		p.find("sip:f.example:5060", sockets("udp"), first)
		p.asked("a.example A", "c.example A", "d.example A", "d.example A", "e.example A", "e.example A", "f.example A")
		time.Sleep(20 * time.Second)
		p.find(host, sockets("udp"), first+" "+later)
		p.find("sip:c.example:5060", sockets("udp"), first+" "+later)
		p.asked("a.example A")
		time.Sleep(24*time.Hour - 20*time.Second)
		p.find("sip:f.example:5060", sockets("udp"), first)
		p.asked("f.example A")
	})
}

func TestThatThereIsNoneIsKeptAsTheZoneSays(t *testing.T) {
	inPlace(t, "", func(p *place) {
		for _, c := range []struct {
			zone string
			want time.Duration
		}{
			{"", 10 * time.Second},
			{"example. 30 IN SOA ns.example. x.example. 1 2 3 4 90", 30 * time.Second},
			{"example. 90 IN SOA ns.example. x.example. 1 2 3 4 20", 20 * time.Second},
			{"example. 9000 IN SOA ns.example. x.example. 1 2 3 4 9000", 5 * time.Minute},
		} {
			p.zone.Set(c.zone)
			p.fails(host, sockets("udp"), "no address")
			time.Sleep(c.want - time.Nanosecond)
			p.fails(host, sockets("udp"), "no address")
			p.asked("a.example A")
			time.Sleep(time.Nanosecond)
			p.fails(host, sockets("udp"), "no address")
			p.asked("a.example A")
			time.Sleep(time.Hour)
		}
	})
}

func TestASilentServerIsAskedTwiceAndThenLeftInPeace(t *testing.T) {
	inPlace(t, "a.example. 60 IN A 192.0.2.1", func(p *place) {
		p.zone.Silence()
		start := time.Now()
		p.fails("sip:a.example", sockets("udp"), "no DNS server answers")
		if took := time.Since(start); took != 2*time.Second {
			p.Errorf("took %v", took)
		}
		p.asked("a.example NAPTR", "a.example NAPTR")
		p.zone.Speak()
		time.Sleep(5*time.Second - time.Nanosecond)
		p.fails("sip:a.example", sockets("udp"), "no DNS server answers")
		p.asked()
		time.Sleep(time.Nanosecond)
		p.find("sip:a.example", sockets("udp"), first)
	})
}

func TestOldAnswersServeWhileTheServerDoesNot(t *testing.T) {
	for name, broken := range map[string]func(z *zone.Zone){
		"is silent": (*zone.Zone).Silence,
		"fails": func(z *zone.Zone) {
			z.Reply(func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, "a.example. 60 IN A 192.0.2.1", func(p *place) {
				p.find(host, sockets("udp"), first)
				broken(p.zone)
				time.Sleep(60 * time.Second)
				p.zone.Asked()
				p.find(host, sockets("udp"), first)
				if len(p.zone.Asked()) == 0 {
					p.Error("the server was not asked")
				}
				start := time.Now()
				time.Sleep(30*time.Second - time.Nanosecond)
				p.find(host, sockets("udp"), first)
				p.asked()
				if took := time.Since(start); took != 30*time.Second-time.Nanosecond {
					p.Errorf("what is known took %v", took)
				}
				time.Sleep(24 * time.Hour)
				if got, err := p.try(host, sockets("udp")); err == nil {
					p.Errorf("a day later: %s", got)
				}
				p.zone.Speak()
				p.zone.Reply(nil)
				p.zone.Set("a.example. 60 IN A 192.0.2.2")
				time.Sleep(5 * time.Second)
				p.find(host, sockets("udp"), later)
			})
		})
	}
}

func TestAServerThatOnlyKnowsAddressesWillDo(t *testing.T) {
	inPlace(t, "a.example. 60 IN A 192.0.2.1", func(p *place) {
		p.zone.Reply(func(q *dns.Msg) *dns.Msg {
			if q.Question[0].Qtype != dns.TypeA {
				return new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented)
			}
			return p.zone.Answer(q)
		})
		p.find("sip:a.example", sockets("udp"), first)
	})
}

func TestManyWhoWantTheSameAskOnce(t *testing.T) {
	inPlace(t, "a.example. 60 IN A 192.0.2.1", func(p *place) {
		held := make(chan struct{})
		p.zone.Reply(func(q *dns.Msg) *dns.Msg { <-held; return p.zone.Answer(q) })
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { p.find(host, sockets("udp"), first) })
		}
		synctest.Wait()
		close(held)
		all.Wait()
		p.asked("a.example A")
	})
}

func TestALookUpEndsAfterFiveSecondsAndWithItsContext(t *testing.T) {
	inPlace(t, carrier, func(p *place) {
		p.zone.Reply(func(q *dns.Msg) *dns.Msg { time.Sleep(900 * time.Millisecond); return p.zone.Answer(q) })
		start := time.Now()
		p.find("sip:carrier.example", sockets("udp"), "udp:192.0.2.2:5064 udp:192.0.2.3:5064")
		if took := time.Since(start); took != 2700*time.Millisecond {
			p.Errorf("took %v", took)
		}
		u, _ := dialog.ParseURI(host)
		ctx, cancel := context.WithCancel(context.Background())
		p.zone.Silence()
		done := make(chan error)
		go func() { _, err := p.resolver.Find(ctx, u, all); done <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; err == nil {
			p.Error("found something without a server")
		}
		if took := time.Since(start); took != 2700*time.Millisecond {
			p.Errorf("ended after %v", took)
		}
	})
}

func TestThatALookUpHadNoTimeLeftSaysNothingOfTheServer(t *testing.T) {
	inPlace(t, "a.example. 60 IN A 192.0.2.1", func(p *place) {
		var lost sync.Map                        // types
		p.zone.Reply(func(q *dns.Msg) *dns.Msg { // the first question for each type is lost
			if _, again := lost.LoadOrStore(q.Question[0].Qtype, true); !again && q.Question[0].Qtype != dns.TypeSRV {
				return nil
			}
			time.Sleep(900 * time.Millisecond)
			return p.zone.Answer(q)
		})
		waited := make(chan string)
		go func() { // wants the address, too, and has time
			time.Sleep(4700 * time.Millisecond)
			waited <- func() string { got, _ := p.try(host, all); return got }()
		}()
		start := time.Now()
		p.fails("sip:a.example", all, "no DNS server answers") // NAPTR, three SRV, and the address is asked for at 4.6 s
		if took := time.Since(start); took != 5*time.Second {
			p.Errorf("took %v", took)
		}
		if got := <-waited; got != first {
			p.Errorf("who shared the question got %q", got)
		}
		p.find("sip:a.example", all, first)
	})
}

func TestAHopThatThereWasNoTimeForIsLookedForAgainSoon(t *testing.T) {
	inPlace(t, `
carrier.example.           3600 IN NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.carrier.example.
_sip._udp.carrier.example. 3600 IN SRV 1 0 5060 one.carrier.example.
_sip._udp.carrier.example. 3600 IN SRV 2 0 5060 two.carrier.example.
one.carrier.example.       3600 IN A 192.0.2.1
two.carrier.example.       3600 IN A 192.0.2.2
`, func(p *place) {
		var lost sync.Map // names
		lost.Store("one.carrier.example.", true)
		p.zone.Reply(func(q *dns.Msg) *dns.Msg { // the first question for each is lost, but for one
			if _, again := lost.LoadOrStore(q.Question[0].Name, true); !again {
				return nil
			}
			time.Sleep(900 * time.Millisecond)
			return p.zone.Answer(q)
		})
		u, _ := dialog.ParseURI("sip:carrier.example")
		hops, until, err := p.resolver.FindUntil(context.Background(), u, sockets("udp"))
		if err != nil || words(hops) != "udp:192.0.2.1:5060" {
			p.Errorf("found %v, %v", hops, err)
		}
		if got := time.Until(until); got <= 0 || got > 5*time.Second {
			p.Errorf("they are good for %v", got)
		}
		time.Sleep(time.Second) // the server is done
	})
}

func TestWhatIsKnownIsToldWithoutAsking(t *testing.T) {
	inPlace(t, carrier, func(p *place) {
		u, _ := dialog.ParseURI("sip:carrier.example")
		if hops, ok := p.resolver.Known(u, all); ok {
			p.Errorf("knows %v", hops)
		}
		p.asked()
		p.find("sip:carrier.example", sockets("udp"), "udp:192.0.2.2:5064 udp:192.0.2.3:5064")
		hops, ok := p.resolver.Known(u, sockets("udp"))
		if !ok || words(hops) != "udp:192.0.2.2:5064 udp:192.0.2.3:5064" {
			p.Errorf("knows %v", hops)
		}
		time.Sleep(time.Minute)
		if hops, ok := p.resolver.Known(u, sockets("udp")); ok {
			p.Errorf("knows %v", hops)
		}
		if hops, ok := p.resolver.Known(dialog.URI{Scheme: "sip", Host: "192.0.2.1"}, all); !ok || words(hops) != first {
			p.Errorf("knows %v", hops)
		}
	})
}

func TestAPartOfTheHopsIsNotTakenForAllOfThem(t *testing.T) {
	inPlace(t, `
_sip._udp.carrier.example. 60 IN SRV 1 0 5060 one.carrier.example.
_sip._udp.carrier.example. 60 IN SRV 2 0 5060 two.carrier.example.
carrier.example.           60 IN NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.carrier.example.
one.carrier.example.       60 IN A   192.0.2.1
two.carrier.example.        1 IN A   192.0.2.2
`, func(p *place) {
		const both = "udp:192.0.2.1:5060 udp:192.0.2.2:5060"
		p.find("sip:carrier.example", sockets("udp"), both)
		u, _ := dialog.ParseURI("sip:carrier.example")
		if hops, ok := p.resolver.Known(u, sockets("udp")); !ok || words(hops) != both {
			p.Errorf("knows %v", hops)
		}
		time.Sleep(time.Second)
		if hops, ok := p.resolver.Known(u, sockets("udp")); ok {
			p.Errorf("knows %v, with the address of two out of date", hops)
		}
		p.find("sip:carrier.example", sockets("udp"), both)
	})
}

func TestTheTableHasAnEnd(t *testing.T) {
	inPlace(t, "", func(p *place) {
		p.zone.Reply(func(q *dns.Msg) *dns.Msg {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA,
				Class: dns.ClassINET, Ttl: 3600}, A: net.IPv4(192, 0, 2, 1)}}
			return m
		})
		for i := range 5000 {
			p.find(fmt.Sprintf("sip:h%d.example:5060", i), sockets("udp"), first)
		}
		kept := 0
		for i := range 5000 {
			if _, ok := p.resolver.Known(dialog.URI{Scheme: "sip", Host: fmt.Sprintf("h%d.example", i), Port: 5060}, all); ok {
				kept++
			}
		}
		if kept != 4096 {
			p.Errorf("%d answers are kept", kept)
		}
	})
}

func TestAnAnswerThatIsNotToTheQuestionIsNotTaken(t *testing.T) {
	other := func(change func(m *dns.Msg)) func(p *place) func(q *dns.Msg) *dns.Msg {
		return func(p *place) func(q *dns.Msg) *dns.Msg {
			return func(q *dns.Msg) *dns.Msg { m := p.zone.Answer(q); change(m); return m }
		}
	}
	for name, c := range map[string]struct {
		reply func(p *place) func(q *dns.Msg) *dns.Msg
		want  string
	}{
		"another number":   {other(func(m *dns.Msg) { m.Id++ }), "no DNS server answers"},
		"a question":       {other(func(m *dns.Msg) { m.Response = false }), "no DNS server answers"},
		"another name":     {other(func(m *dns.Msg) { m.Question[0].Name = "b.example." }), "no DNS server answers"},
		"another type":     {other(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }), "no DNS server answers"},
		"no question":      {other(func(m *dns.Msg) { m.Question = nil }), "no DNS server answers"},
		"an update":        {other(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), "no DNS server answers"},
		"a name of others": {other(func(m *dns.Msg) { m.Answer[0].Header().Name = "b.example." }), "no address"},
		"another class":    {other(func(m *dns.Msg) { m.Answer[0].Header().Class = dns.ClassCHAOS }), "no address"},
		"a refusal":        {other(func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }), "answers REFUSED"},
		"no one's address": {other(func(m *dns.Msg) { m.Answer[0].(*dns.A).A = net.IPv4zero }), "no address"},
		"all's address":    {other(func(m *dns.Msg) { m.Answer[0].(*dns.A).A = net.IPv4(224, 0, 1, 75) }), "no address"},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, "a.example. 60 IN A 192.0.2.1", func(p *place) {
				p.zone.Reply(c.reply(p))
				p.fails(host, sockets("udp"), c.want)
			})
		})
	}
}

func TestAliasesThatLeadNowhereEnd(t *testing.T) {
	inPlace(t, `
loop.example.  60 IN CNAME pool.example.
pool.example.  60 IN CNAME loop.example.
self.example.  60 IN CNAME self.example.
dead.example.  60 IN CNAME gone.example.
l0.example.    60 IN CNAME l1.example.
l1.example.    60 IN CNAME l2.example.
l2.example.    60 IN CNAME l3.example.
l3.example.    60 IN CNAME l4.example.
l4.example.    60 IN CNAME l5.example.
l5.example.    60 IN CNAME l6.example.
l6.example.    60 IN CNAME l7.example.
l7.example.    60 IN CNAME l8.example.
l8.example.    60 IN A 192.0.2.1
`, func(p *place) {
		for _, name := range []string{"loop", "self", "dead", "l0"} {
			p.fails("sip:"+name+".example:5060", sockets("udp"), "no address")
		}
		p.find("sip:l1.example:5060", sockets("udp"), first)
	})
}

// A forger who is first must not keep the real answer out.
func TestForgedDatagramsDoNotHideTheRealAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := locate.New(locate.Config{Server: "192.0.2.53:53", Hosts: "/nonexistent",
			Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					defer ours.Close()
					c := &dns.Conn{Conn: ours}
					q, err := c.ReadMsg()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte("short"))
					_, _ = c.Write(make([]byte, 300))
					forged := zone.New("a.example. 60 IN A 192.0.2.66").Answer(q)
					forged.Id++
					_ = c.WriteMsg(forged)
					_ = c.WriteMsg(zone.New("a.example. 60 IN A 192.0.2.1").Answer(q))
				}()
				return theirs, nil
			}})
		(&place{T: t, resolver: r}).find(host, sockets("udp"), first)
	})
}

func TestAServerThatCannotBeReachedIsAskedOnlySoOften(t *testing.T) {
	dials := 0
	r := locate.New(locate.Config{Server: "192.0.2.53:53", Hosts: "/nonexistent",
		Dial: func(context.Context, string, string) (net.Conn, error) { dials++; return nil, errors.New("no route") }})
	(&place{T: t, resolver: r}).fails(host, sockets("udp"), "no DNS server answers")
	if dials != 2 {
		t.Errorf("%d dials", dials)
	}
}
