package b2bua_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/test/ua"
	"sipvigil/test/zone"
)

const refusedCallee = "disturbed callee: nothing listens at its port (ICMP)"

func TestAnICMPErrorThatQuotesUsDisturbsTheLegsAtItsAddress(t *testing.T) {
	probe := func(w *world, side store.Side, p *phone) *ua.Message {
		w.agent.Probe(w.id, side, "OPTIONS", time.Second)
		m := p.next("OPTIONS")
		p.respond(m, 200, "")
		w.heard("probe callee OPTIONS: answered 200 after 0s")
		return m
	}
	callee := func(w *world) string { return probe(w, store.Callee, w.bob).Raw }
	cut := func(s, at string) string { return s[:strings.Index(s, at)] }
	for name, tt := range map[string]struct {
		to     string
		quoted func(w *world) string
		want   []string
	}{
		"a request of ours":            {bobAddr, callee, []string{refusedCallee}},
		"its beginning, up to our tag": {bobAddr, func(w *world) string { return cut(callee(w), "To:") }, []string{refusedCallee}},
		"a response of ours": {aliceAddr, func(w *world) string {
			w.alice.request("OPTIONS", "")
			m := w.alice.next("200 OPTIONS")
			w.obs.heard()
			return m.Raw
		}, []string{"disturbed caller: nothing listens at its port (ICMP)"}},
		"an IPv4 address as one of IPv6": {"[::ffff:127.0.0.1]:5072", callee, []string{refusedCallee}},
		"too little":                     {bobAddr, func(w *world) string { return cut(callee(w), "From:") }, nil},
		"half of our tag":                {bobAddr, func(w *world) string { return cut(callee(w), "To:")[:len(cut(callee(w), "To:"))-9] }, nil},
		"nothing":                        {bobAddr, func(*world) string { return "" }, nil},
		"another port":                   {"127.0.0.1:5099", callee, nil},
		"a tag that we did not make": {bobAddr, func(w *world) string {
			s := callee(w)
			tag := w.bob.remoteTag
			other := strings.Replace(tag, tag[len(tag)-6:], "000000", 1)
			return strings.ReplaceAll(s, tag, other)
		}, nil},
		"a request of the far end": {bobAddr, func(w *world) string { return w.bob.build("OPTIONS", 9, "") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				quoted := tt.quoted(w)
				for range 3 { // each retransmission is refused
					w.agent.Undelivered(tt.to, quoted)
				}
				w.heard()
				pass(100 * time.Millisecond)
				w.heard(tt.want...)
				pass(time.Minute)
				w.heard()
				w.alice.nothing()
				w.bob.nothing()
			})
		})
	}
}

func TestAnInviteThatIsRefusedByICMPGoesOnAtOnce(t *testing.T) {
	inZone(t, carrier, toCarrier, func(w *world, _ *zone.Zone) {
		w.dial()
		first := w.invite
		w.agent.Undelivered(bobAddr, first.Raw)
		w.take(w.carol)
		again(w, first, w.invite)
		w.agent.Undelivered(bobAddr, first.Raw) // late news of the first
		w.carol.respond(w.invite, 200, answer)
		w.answered()
		w.carol.next("ACK")
		pass(time.Minute)
		w.bob.nothing()
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

func TestTheLastAddressHasItsTimeThoughItIsRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.agent.Undelivered(bobAddr, w.invite.Raw)
		pass(time.Second)
		w.bob.all() // repetitions
		w.accept()
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

func TestAnInviteThatRingsIsNotGivenUpForAnICMPError(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 180, "")
		w.alice.next("180 INVITE")
		w.agent.Undelivered(bobAddr, w.invite.Raw)
		pass(time.Second)
		w.accept()
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

func TestAClosedConnectionDisturbsItsLegs(t *testing.T) {
	overTCP(t, func(w *world) {
		w.connect()
		_ = w.alice.stream.Close()
		pass(time.Second)
		if heard := w.obs.heard(); !slices.Contains(heard, "disturbed caller: its connection is closed") {
			t.Errorf("heard %q", heard)
		}
	})
}
