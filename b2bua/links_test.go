package b2bua_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/b2bua/locate"
	"sipvigil/test/zone"
)

// judge is Links that says what the test wants, and writes down what it hears.
type judge struct {
	mu    sync.Mutex // guards what is below
	use   map[string]b2bua.Use
	lines []string
	slow  time.Duration // how long it takes to hear of an address that does not answer
}

func (j *judge) Use(trunk string, hop locate.Hop) b2bua.Use {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.use[trunk+" "+hop.Addr.String()]
}

func (j *judge) Heard(trunk string, hop locate.Hop, t b2bua.Traffic) {
	line := fmt.Sprintf("%s %s/%v: ", trunk, hop.Transport, hop.Addr)
	switch t.Kind {
	case b2bua.Answer:
		line += fmt.Sprintf("%d %s", t.Status, t.Phrase)
		if t.RetryAfter != 0 {
			line += fmt.Sprintf(" in %v", t.RetryAfter)
		}
	case b2bua.NoReply:
		line += "no reply"
		time.Sleep(j.slow)
	case b2bua.Unsent:
		line += "unsent " + t.Reason
	case b2bua.Inbound:
		line += "sent " + t.Method
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// judged is inZone with such Links.
func judged(t *testing.T, j *judge, f func(w *world)) {
	t.Helper()
	z := zone.New(carrier)
	inWorld(t, func(c *b2bua.Config) {
		c.DNS = locate.Config{Server: "192.0.2.53:53", Hosts: "/nonexistent", Dial: z.Dial}
		c.NextHop = ""
		c.Trunks = []b2bua.Trunk{{Name: "carrier", Targets: toCarrier}}
		c.Routes = []b2bua.Route{{To: []string{"carrier"}}}
		c.Links = j
	}, f)
}

func (j *judge) heard(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	same(t, strings.Join(j.lines, "\n"), strings.Join(want, "\n"))
	j.lines = nil
}

const (
	bobLink   = "carrier " + bobAddr
	carolLink = "carrier " + carolAddr
)

func TestACallGoesToNoAddressThatIsDown(t *testing.T) {
	j := &judge{use: map[string]b2bua.Use{bobLink: b2bua.UseNever}}
	judged(t, j, func(w *world) {
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.take(w.carol)
		pass(time.Minute)
		w.bob.nothing()
	})
}

func TestACallIsRefusedWhenEveryAddressIsDown(t *testing.T) {
	j := &judge{use: map[string]b2bua.Use{bobLink: b2bua.UseNever, carolLink: b2bua.UseNever}}
	judged(t, j, func(w *world) {
		for range 2 { // with the DNS asked, and its answer remembered
			w.alice.request("INVITE", offer)
			w.alice.next("100 INVITE")
			same(t, w.alice.next("503 INVITE").Get("Retry-After"), "30")
			w.alice.callID += "x"
		}
		w.bob.nothing()
		w.carol.nothing()
		j.heard(t)
	})
}

func TestADemotedAddressIsTriedWhenNothingElseIsLeft(t *testing.T) {
	j := &judge{use: map[string]b2bua.Use{bobLink: b2bua.UseLast}}
	judged(t, j, func(w *world) {
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.take(w.carol)
		w.bob.nothing()
		w.carol.respond(w.invite, 503, "")
		w.carol.next("ACK")
		w.take(w.bob)
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.alice.next("503 INVITE")
		w.carol.nothing()
	})
}

func TestLinksHearWhatInvitesShow(t *testing.T) {
	j := &judge{}
	judged(t, j, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 100, "")
		w.bob.respond(w.invite, 503, "", "Retry-After: 18000;duration=3600 (overload)")
		w.bob.next("ACK")
		w.take(w.carol)
		pass(32 * time.Second)
		w.alice.next("408 INVITE")
		j.heard(t, "carrier udp/127.0.0.1:5072: 100 Phrase of bob",
			"carrier udp/127.0.0.1:5072: 503 Phrase of bob in 1h0m0s",
			"carrier udp/127.0.0.1:5073: no reply")
	})
	judged(t, j, func(w *world) {
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		w.alice.request("INVITE", offer)
		w.take(w.carol)
		w.carol.respond(w.invite, 486, "")
		j.heard(t, "carrier udp/127.0.0.1:5072: unsent no route to host",
			"carrier udp/127.0.0.1:5073: 486 Phrase of carol")
	})
}

func TestAnAnswerAfterItsTimeIsHeardToo(t *testing.T) {
	j := &judge{}
	judged(t, j, func(w *world) {
		w.dial()
		first := w.invite
		pass(4 * time.Second)
		j.heard(t, "carrier udp/127.0.0.1:5072: no reply")
		w.bob.respond(first, 404, "")
		w.alice.all()
		j.heard(t, "carrier udp/127.0.0.1:5072: 404 Phrase of bob")
	})
}

func TestRequestsOfATrunkAreHeard(t *testing.T) {
	j := &judge{}
	inWorld(t, func(c *b2bua.Config) {
		c.NextHop = ""
		c.Trunks = []b2bua.Trunk{{Name: "carrier", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
		c.Links = j
	}, func(w *world) {
		w.alice.target = "sip:127.0.0.1"
		w.alice.request("OPTIONS", "")
		w.alice.next("200 OPTIONS")
		w.alice.say("OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP " + aliceAddr + ";branch=z9hG4bKx\r\n\r\n")
		j.heard(t, "carrier udp/127.0.0.1:5071: sent OPTIONS")
	})
}
