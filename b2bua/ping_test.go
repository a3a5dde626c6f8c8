package b2bua_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/b2bua/locate"
	"sipvigil/test/ua"
	"sipvigil/test/zone"
)

// toBob is a ping of the trunk carrier to bob's address.
func toBob(with string) b2bua.Ping {
	return b2bua.Ping{
		Trunk: "carrier", Target: "sip:service@carrier.example:5072;transport=udp", With: with, Timeout: 10 * time.Second,
		Hop: locate.Hop{Transport: "udp", Addr: netip.MustParseAddrPort(bobAddr)},
	}
}

// pinging has the agent ping bob, and says what became of it: "200 OK to
// OPTIONS after 20ms".
func (w *world) pinging(p b2bua.Ping) func() string {
	became := make(chan string, 2)
	began := time.Now()
	w.agent.Ping(p, func(t b2bua.Traffic) {
		what := map[b2bua.TrafficKind]string{b2bua.NoReply: "no reply", b2bua.Unsent: "unsent: " + t.Reason}[t.Kind]
		if t.Kind == b2bua.Answer {
			what = fmt.Sprintf("%d %s, RTT %v", t.Status, t.Phrase, t.RTT)
		}
		if t.RetryAfter != 0 {
			what += ", retry after " + t.RetryAfter.String()
		}
		became <- fmt.Sprintf("%s to %s after %v", what, t.Method, time.Since(began))
	})
	return func() string {
		synctest.Wait()
		var all []string
		for len(became) > 0 {
			all = append(all, <-became)
		}
		return strings.Join(all, "; ")
	}
}

func TestAPingIsOPTIONSToAHostWithAContact(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		became := w.pinging(toBob(b2bua.PingOptions))
		m := w.bob.next("OPTIONS")
		got := strings.Join([]string{m.RequestURI, without(m.Get("From")), m.Get("To"), m.Get("Contact"), m.Get("Max-Forwards"),
			m.Get("CSeq"), m.Get("Accept"), m.Get("Supported")}, "\n")
		same(t, got, "sip:carrier.example:5072;transport=udp\n<sip:127.0.0.1>\n<sip:carrier.example>\n<sip:127.0.0.1:5060>\n70\n1 OPTIONS\napplication/sdp\n100rel, timer")
		if m.FromTag() == "" || m.ToTag() != "" {
			t.Errorf("the tags are wrong:\n%s", m.Raw)
		}
		pass(20 * time.Millisecond)
		w.bob.respond(m, 100, "")
		w.bob.respond(m, 200, "")
		same(t, became(), "200 Phrase of bob, RTT 20ms to OPTIONS after 20ms")
		pass(time.Minute)
		same(t, became(), "")
		w.bob.nothing()
		w.heard()
	})
}

func TestWhatBecomesOfAPing(t *testing.T) {
	test := func(want string, answer func(w *world, m *ua.Message)) {
		t.Helper()
		inWorld(t, nil, func(w *world) {
			became := w.pinging(toBob(b2bua.PingOptions))
			answer(w, w.bob.next("OPTIONS"))
			pass(time.Minute)
			same(t, became(), want)
		})
	}
	test("no reply to OPTIONS after 10s", func(*world, *ua.Message) {})
	test("503 Phrase of bob, RTT 0s, retry after 2m0s to OPTIONS after 0s", func(w *world, m *ua.Message) {
		w.bob.respond(m, 503, "", "Retry-After: 120")
	})
	test("401 Phrase of bob, RTT 0s to OPTIONS after 0s", func(w *world, m *ua.Message) { // it has no credentials
		w.bob.respond(m, 401, "", `WWW-Authenticate: Digest realm="r", nonce="n"`)
	})
	test("unsent: nothing listens at its port (ICMP) to OPTIONS after 1s", func(w *world, m *ua.Message) {
		w.agent.Undelivered(carolAddr, m.Raw)
		pass(time.Second)
		w.agent.Undelivered(bobAddr, m.Raw)
		w.agent.Undelivered(bobAddr, m.Raw)
	})
	inWorld(t, nil, func(w *world) {
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		became := w.pinging(toBob(b2bua.PingOptions))
		same(t, became(), "unsent: no route to host to OPTIONS after 0s")
	})
}

func TestAPingAnswersChallengesWithTheCredentialsOfItsTrunk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	carrier := func(c *b2bua.Config) {
		c.Trunks = []b2bua.Trunk{{Name: "carrier", Credentials: b2bua.Credentials{Username: "us", PasswordFile: file}}}
	}
	inWorld(t, carrier, func(w *world) {
		became := w.pinging(toBob(b2bua.PingRegister))
		first := w.bob.next("REGISTER")
		same(t, first.RequestURI+" "+first.Get("To")+" "+without(first.Get("From"))+" "+first.Get("Contact"),
			"sip:carrier.example:5072;transport=udp <sip:us@carrier.example> <sip:us@carrier.example> ")
		w.bob.respond(first, 401, "", `WWW-Authenticate: Digest realm="r", nonce="n1"`)
		again := w.bob.next("REGISTER")
		if again.Get("CSeq") != "2 REGISTER" || again.CallID() != first.CallID() || again.Branch() == first.Branch() ||
			!strings.Contains(again.Get("Authorization"), `username="us"`) {
			t.Errorf("the second round is\n%s", again.Raw)
		}
		pass(30 * time.Millisecond)
		w.bob.respond(again, 200, "")
		same(t, became(), "200 Phrase of bob, RTT 30ms to REGISTER after 30ms")

		became = w.pinging(toBob(b2bua.PingOptions)) // what was demanded is remembered
		m := w.bob.next("OPTIONS")
		if !strings.Contains(m.Get("Authorization"), `nonce="n1"`) {
			t.Errorf("it comes without credentials:\n%s", m.Raw)
		}
		w.bob.respond(m, 401, "", `WWW-Authenticate: Digest realm="r", nonce="n1"`)
		same(t, became(), "401 Phrase of bob, RTT 0s to OPTIONS after 0s") // they are refused

		became = w.pinging(toBob(b2bua.PingOptions)) // a challenge takes nothing from the time-out
		m = w.bob.next("OPTIONS")
		pass(400 * time.Millisecond)
		w.bob.respond(m, 401, "", `WWW-Authenticate: Digest realm="r", nonce="n2"`)
		w.bob.next("OPTIONS")
		pass(time.Minute)
		same(t, became(), "no reply to OPTIONS after 10s")
	})
}

func TestTheAddressesOfATargetHoldForTheShortestTimeOfItsAnswers(t *testing.T) {
	z := zone.New(`
_sip._udp.carrier.example. 90 IN SRV   1 0 5072 one.carrier.example.
_sip._udp.carrier.example. 90 IN SRV   2 0 5073 two.carrier.example.
one.carrier.example.       60 IN A     127.0.0.1
two.carrier.example.       40 IN A     127.0.0.1
`)
	inWorld(t, func(c *b2bua.Config) {
		c.DNS = locate.Config{Server: "192.0.2.53:53", Hosts: "/nonexistent", Dial: z.Dial}
	}, func(w *world) {
		find := func(target string) string {
			var got string
			w.agent.Locate(target, func(hops []locate.Hop, until time.Time, err error) {
				for _, h := range hops {
					got += h.Transport + " " + h.Addr.String() + ", "
				}
				if !until.IsZero() {
					got += time.Until(until).String()
				}
				if err != nil {
					got = "no address"
				}
			})
			synctest.Wait()
			return got
		}
		same(t, find("sip:carrier.example;transport=udp"), "udp 127.0.0.1:5072, udp 127.0.0.1:5073, 40s")
		pass(39 * time.Second)
		same(t, find("sip:carrier.example;transport=udp"), "udp 127.0.0.1:5072, udp 127.0.0.1:5073, 1s")
		pass(2 * time.Second)
		same(t, find("sip:carrier.example;transport=udp"), "udp 127.0.0.1:5072, udp 127.0.0.1:5073, 19s")
		same(t, find("sip:127.0.0.1:5072"), "udp 127.0.0.1:5072, ")
		same(t, find("sip:nowhere.example"), "no address")
	})
}
