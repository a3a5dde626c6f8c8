package b2bua_test

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/test/ua"
)

// twoCarriers has calls go to bob, then to carol.
func twoCarriers(c *b2bua.Config) {
	c.NextHop = ""
	c.Trunks = []b2bua.Trunk{
		{Name: "a", Targets: []string{"sip:" + bobAddr}},
		{Name: "b", Targets: []string{"sip:" + carolAddr}},
	}
	c.Routes = []b2bua.Route{{To: []string{"a", "b"}}}
}

func TestACallGoesToTheNextTrunk(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(w *world)
		next bool // it goes on to carol; else this is what alice gets
		want string
	}{
		{"after 503", func(w *world) { w.bob.respond(w.invite, 503, ""); w.bob.next("ACK") }, true, ""},
		{"after 408", func(w *world) { w.bob.respond(w.invite, 408, ""); w.bob.next("ACK") }, true, ""},
		{"after 100 and 503", func(w *world) {
			w.bob.respond(w.invite, 100, "")
			w.bob.respond(w.invite, 503, "")
			w.bob.next("ACK")
		}, true, ""},
		{"after four seconds without a word", func(w *world) {
			pass(4*time.Second - time.Millisecond)
			w.carol.nothing()
			pass(time.Millisecond)
		}, true, ""},
		{"not after 486", func(w *world) { w.bob.respond(w.invite, 486, ""); w.bob.next("ACK") }, false, "486"},
		{"not after 500", func(w *world) { w.bob.respond(w.invite, 500, ""); w.bob.next("ACK") }, false, "500"},
		{"not after 404", func(w *world) { w.bob.respond(w.invite, 404, ""); w.bob.next("ACK") }, false, "404"},
		{"not after 604", func(w *world) { w.bob.respond(w.invite, 604, ""); w.bob.next("ACK") }, false, "604"},
		{"not when it rang before 503", func(w *world) {
			w.bob.respond(w.invite, 180, "")
			w.alice.next("180 INVITE")
			w.bob.respond(w.invite, 503, "")
			w.bob.next("ACK")
		}, false, "503"},
		{"not when it rang before 408", func(w *world) {
			w.bob.respond(w.invite, 183, "")
			w.alice.next("183 INVITE")
			w.bob.respond(w.invite, 408, "")
			w.bob.next("ACK")
		}, false, "408"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, twoCarriers, func(w *world) {
				w.dial()
				first := w.invite
				c.fail(w)
				if !c.next {
					w.alice.next(c.want + " INVITE")
					w.carol.nothing()
					return
				}
				w.take(w.carol)
				if w.invite.Branch() == first.Branch() || w.invite.CallID() != first.CallID() ||
					w.invite.Get("From") != first.Get("From") || w.invite.Get("CSeq") != first.Get("CSeq") {
					t.Errorf("want the same request on a new branch:\n%s\n%s", first.Raw, w.invite.Raw)
				}
				w.carol.respond(w.invite, 200, answer)
				w.answered()
				w.carol.next("ACK")
			})
		})
	}
}

func TestARefusedTrunkIsLeftAtOnce(t *testing.T) {
	inWorld(t, twoCarriers, func(w *world) {
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.take(w.carol)
	})
}

func TestWhenNothingIsLeftTheCallerIsToldWhenToComeBack(t *testing.T) {
	inWorld(t, twoCarriers, func(w *world) {
		w.network.Refuse(bobAddr, syscall.EHOSTUNREACH)
		w.network.Refuse(carolAddr, syscall.EHOSTUNREACH)
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		same(t, w.alice.next("503 INVITE").Get("Retry-After"), "10")
		w.heard("started", "ended unreachable(503) /")
	})
}

func TestAnAddressThatGoesDownMeanwhileGetsNoInvite(t *testing.T) {
	j := &judge{use: make(map[string]b2bua.Use)}
	judged(t, j, func(w *world) {
		w.dial()
		j.mu.Lock()
		j.use[carolLink] = b2bua.UseNever
		j.mu.Unlock()
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		same(t, w.alice.next("503 INVITE").Get("Retry-After"), "30")
		w.carol.nothing()
	})
}

// headers are some of a message, in one line each.
func headers(m *ua.Message, names ...string) string {
	lines := []string{m.RequestURI}
	for _, name := range names {
		for _, v := range m.All(name) {
			lines = append(lines, name+": "+strings.Split(v, ";tag=")[0])
		}
	}
	return strings.Join(lines, "\n")
}

func TestRewrittenNumbersAreThoseOfTheCalleesDialog(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) {
		twoCarriers(c)
		for i := range c.Trunks {
			c.Trunks[i].Trusted = true
		}
		c.Trunks = append(c.Trunks, b2bua.Trunk{Name: "pbx", Trusted: true, Sources: network127})
		c.Routes = []b2bua.Route{{To: []string{"a", "b"},
			User: regexp.MustCompile(`^00(.*)$`), SetUser: "+$1",
			Caller: regexp.MustCompile(`^0(.*)$`), SetCaller: "+49$1"}}
	}, func(w *world) {
		w.alice.from, w.alice.uri, w.alice.target = `"A" <sip:030@pbx>`, "<sip:00441@example.com>", "sip:00441@example.com"
		w.dial("P-Asserted-Identity: <sip:030@pbx>, <tel:0800>", "Identity: x", "Remote-Party-ID: <sip:031@pbx>")
		got := headers(w.invite, "To", "From", "P-Asserted-Identity", "Identity", "Remote-Party-ID")
		same(t, got, "sip:+441@127.0.0.1:5072\nTo: <sip:+441@example.com>\nFrom: \"A\" <sip:+4930@pbx>\n"+
			"P-Asserted-Identity: <sip:+4930@pbx>, <tel:0800>\nRemote-Party-ID: <sip:031@pbx>")
		w.bob.respond(w.invite, 503, "")
		w.bob.next("ACK")
		w.take(w.carol)
		same(t, headers(w.invite, "To", "From"), "sip:+441@127.0.0.1:5073\nTo: <sip:+441@example.com>\nFrom: \"A\" <sip:+4930@pbx>")
		w.carol.respond(w.invite, 200, answer)
		m := w.alice.next("200 INVITE")
		same(t, without(m.Get("To"))+without(m.Get("From")), `<sip:00441@example.com>"A" <sip:030@pbx>`)
		w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		same(t, headers(w.carol.next("ACK"), "To", "From"), "sip:carol@127.0.0.1:5073\nTo: <sip:+441@example.com>\nFrom: \"A\" <sip:+4930@pbx>")
		w.alice.request("BYE", "")
		same(t, headers(w.carol.next("BYE"), "To", "From"), "sip:carol@127.0.0.1:5073\nTo: <sip:+441@example.com>\nFrom: \"A\" <sip:+4930@pbx>")
	})
}

func TestAToThatNamesSomebodyElseStays(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) {
		twoCarriers(c)
		c.Routes[0].SetUser = "+$1"
	}, func(w *world) {
		w.alice.uri, w.alice.target = "<sip:hotline@example.com>", "sip:441@example.com"
		w.dial("Identity: x")
		same(t, headers(w.invite, "To", "Identity"), "sip:+441@127.0.0.1:5072\nTo: <sip:hotline@example.com>")
	})
}
