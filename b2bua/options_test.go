package b2bua_test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/test/ua"
)

// inService has the phones belong to trunk pbx, whose service is what the
// pointer says.
func inService(t *testing.T, f func(w *world, service *atomic.Pointer[b2bua.Service])) {
	t.Helper()
	var service atomic.Pointer[b2bua.Service]
	service.Store(&b2bua.Service{})
	inWorld(t, func(c *b2bua.Config) {
		c.Trunks = []b2bua.Trunk{{Name: "pbx", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}
		c.Service = func(trunk string) b2bua.Service {
			if trunk != "pbx" {
				t.Errorf("asked about trunk %q", trunk)
			}
			return *service.Load()
		}
	}, func(w *world) { f(w, &service) })
}

// monitor has carol ask as a system does that monitors its trunks.
func (w *world) monitor(extra ...string) {
	w.Helper()
	w.carol.callID, w.carol.uri, w.carol.target = "ping@carol", "<sip:"+agentAddr+">", "sip:"+agentAddr
	w.carol.request("OPTIONS", "", extra...)
}

// Each row is a system that asks us whether our trunk is up, or a question of
// those who run one.
func TestOptionsGetsWhatAnInviteWouldGet(t *testing.T) {
	for _, c := range []struct {
		name    string
		service b2bua.Service
		options string // what OPTIONS gets, "" for nothing
		invite  string
		retry   string // Retry-After of both
	}{
		{"a trunk in service", b2bua.Service{}, "200 OPTIONS", "", ""},
		{"maintenance says 503: Cisco and Avaya stop their INVITEs", b2bua.Service{Status: 503, RetryAfter: time.Minute, Why: "maintenance"},
			"503 OPTIONS", "503 INVITE", "60"},
		{"Ribbon's dry-up mode with a code of its own", b2bua.Service{Status: 480, Why: "maintenance"}, "480 OPTIONS", "480 INVITE", ""},
		{"a peer that counts any answer as life gets none", b2bua.Service{Status: 503, RetryAfter: 1500 * time.Millisecond, Why: "coupled", Mute: true},
			"", "503 INVITE", "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inService(t, func(w *world, service *atomic.Pointer[b2bua.Service]) {
				service.Store(&c.service)
				for range 2 { // the next one has nothing left of the first
					w.monitor()
					if c.options != "" {
						m := w.carol.next(c.options)
						same(w.T, m.Get("Retry-After"), c.retry)
						// Avaya takes a 503 with words in parentheses for another one.
						if strings.Contains(m.Reason, "(") {
							w.Errorf("reason phrase %q", m.Reason)
						}
					}
					pass(32 * time.Second)
					w.carol.nothing()
				}
				w.alice.request("INVITE", offer, "Content-Type: application/sdp")
				w.alice.next("100 INVITE")
				if c.invite == "" {
					w.bob.next("INVITE")
					return
				}
				same(w.T, w.alice.next(c.invite).Get("Retry-After"), c.retry)
				w.bob.nothing()
			})
		})
	}
}

func TestOptionsOfANodeThatStopsGets503(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.agent.Drain()
		w.monitor()
		if m := w.carol.next("503 OPTIONS"); m.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	})
}

func TestOptionsOfANodeThatTakesNoCallsWithoutItsStoreGets503(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) { c.RejectDown = true }, func(w *world) {
		w.monitor()
		w.carol.next("200 OPTIONS")
		w.store.down = true
		w.monitor()
		w.carol.next("503 OPTIONS")
	})
}

// A request for a user that somebody else would answer tells about us all the
// same: an INVITE for that user would not be passed on either.
func TestOptionsToAUserIsNotPassedOnInMaintenance(t *testing.T) {
	inService(t, func(w *world, service *atomic.Pointer[b2bua.Service]) {
		w.alice.request("OPTIONS", "")
		w.bob.respond(w.bob.next("OPTIONS"), 486, "")
		w.alice.next("486 OPTIONS")
		service.Store(&b2bua.Service{Status: 503, Why: "maintenance"})
		w.alice.request("OPTIONS", "")
		w.alice.next("503 OPTIONS")
		w.bob.nothing()
	})
}

func TestMaintenanceTouchesNoCall(t *testing.T) {
	inService(t, func(w *world, service *atomic.Pointer[b2bua.Service]) {
		w.connect()
		service.Store(&b2bua.Service{Status: 503, Why: "maintenance", Mute: true})
		w.alice.request("OPTIONS", "")
		m := w.alice.next("200 OPTIONS")
		same(w.T, m.ToTag(), w.alice.remoteTag)
		w.bob.request("OPTIONS", "")
		w.bob.next("200 OPTIONS")
		w.alice.request("INVITE", offer, "Content-Type: application/sdp") // hold, say
		w.alice.next("100 INVITE")
		w.bob.respond(w.bob.next("INVITE"), 200, answer, "Content-Type: application/sdp")
		w.alice.next("200 INVITE")
		w.ack()
		w.agent.Probe(w.id, 0, "OPTIONS", time.Second)
		w.alice.respond(w.alice.next("OPTIONS"), 200, "")
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
	})
}

func TestOptionsTellsWhatCanBeDone(t *testing.T) {
	capable := func(t *testing.T, m *ua.Message) {
		t.Helper()
		for name, want := range map[string]string{
			"Allow":           "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, PRACK, UPDATE, SUBSCRIBE",
			"Accept":          "application/sdp, */*",
			"Accept-Encoding": "identity",
			"Accept-Language": "*",
			"Supported":       "100rel, timer",
		} {
			same(t, m.Get(name), want)
		}
	}
	const described = "v=0\r\no=- N 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 0 8 101\r\n" +
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
	for _, c := range []struct {
		name   string
		accept []string
		sdp    bool
	}{
		{"without Accept it is application/sdp", nil, true},
		{"Accept with it", []string{"Accept: application/sdp"}, true},
		{"Accept in other letters and with parameters", []string{"Accept: Application/SDP;level=1 ; q=0.1"}, true},
		{"one Accept of several", []string{"Accept: text/plain", "Accept: application/isup, application/sdp"}, true},
		{"any type", []string{"Accept: */*"}, true},
		{"any type of application", []string{"Accept: application/*;q=0.5"}, true},
		{"another type", []string{"Accept: text/plain"}, false},
		{"several Accepts without it", []string{"Accept: text/plain", "Accept: application/isup"}, false},
		{"an empty Accept: nothing is taken", []string{"Accept: "}, false},
		{"any type but this one", []string{"Accept: */*, application/sdp;q=0"}, false},
		{"this type, though not the others", []string{"Accept: application/*;q=0.0, application/sdp"}, true},
		{"a q that is none", []string{"Accept: application/sdp;q=often"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				check := func(m *ua.Message) {
					t.Helper()
					capable(t, m)
					if !c.sdp {
						same(t, m.Get("Content-Type")+string(m.Body), "")
						return
					}
					same(t, m.Get("Content-Type"), "application/sdp")
					_, id, _ := strings.Cut(string(m.Body), "o=- ")
					id, _, _ = strings.Cut(id, " ")
					same(t, strings.Replace(string(m.Body), id, "N", 1), described)
				}
				w.monitor(c.accept...)
				check(w.carol.next("200 OPTIONS"))
				w.connect()
				w.bob.request("OPTIONS", "", c.accept...)
				check(w.bob.next("200 OPTIONS"))
			})
		})
	}
}

func TestOptionsInNoDialogOfOursGets481AndOutsideOfOnesATag(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.monitor()
		if w.carol.next("200 OPTIONS").ToTag() == "" {
			t.Error("no tag was added")
		}
		w.carol.remoteTag = "nobody"
		w.monitor()
		same(t, w.carol.next("481 OPTIONS").ToTag(), "nobody")
	})
}

func TestOptionsFromStrangersGets403OrNothing(t *testing.T) {
	for unknown, want := range map[string][]string{b2bua.UnknownReject: {"403 OPTIONS"}, b2bua.UnknownDrop: nil} {
		inWorld(t, func(c *b2bua.Config) {
			c.Unknown = unknown
			c.Trunks = []b2bua.Trunk{{Name: "pbx", Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
		}, func(w *world) {
			w.monitor()
			got := w.carol.all()
			if strings.Join(got, ",") != strings.Join(want, ",") {
				t.Errorf("%s: a stranger got %v, want %v", unknown, got, want)
			}
		})
	}
}
