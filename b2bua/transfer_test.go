package b2bua_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
)

// byRequestURI has calls go where their Request-URI says.
func byRequestURI(cfg *b2bua.Config) { cfg.NextHop = "" }

// line is a phone with a dialog of its own at the same address.
func (p *phone) line(n int) *phone {
	q := *p
	q.callID = fmt.Sprintf("call-%d@%s", n, p.user)
	q.tag = fmt.Sprintf("%s-%d", p.user, n)
	q.remoteTag, q.cseq, q.sent = "", uint32(1000*n), 1000*n
	return &q
}

// talk sets up a call from one line to another and returns the INVITE as it
// arrived. The Request-URI is the callee's Contact unless the caller has one.
func (w *world) talk(from, to *phone, extra ...string) *ua.Message {
	w.Helper()
	if from.target == "" {
		from.target = fmt.Sprintf("sip:%s@%s", to.user, to.host.addr)
	}
	from.uri = "<" + from.target + ">"
	from.request("INVITE", offer, append([]string{"Content-Type: application/sdp"}, extra...)...)
	from.next("100 INVITE")
	w.take(to)
	to.respond(w.invite, 200, answer, "Content-Type: application/sdp")
	m := from.next("200 INVITE")
	from.remoteTag, from.target = m.ToTag(), uri(m.Get("Contact"))
	from.say(from.build("ACK", from.cseq, ""))
	to.next("ACK")
	return w.invite
}

// asKnownBy is a dialog as it is named to who is at the far end of it.
func (p *phone) asKnownBy() string {
	return p.callID + ";to-tag=" + p.remoteTag + ";from-tag=" + p.tag
}

// asOwn is a dialog as it is named to the phone itself.
func (p *phone) asOwn() string { return p.callID + ";to-tag=" + p.tag + ";from-tag=" + p.remoteTag }

func escaped(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// done answers a request and has the other phone read the answer.
func (w *world) done(req *ua.Message, by, asker *phone, status int, extra ...string) {
	w.Helper()
	_, method := req.CSeq()
	by.respond(req, status, "", extra...)
	asker.next(fmt.Sprintf("%d %s", status, method))
}

func TestAnAttendedTransferLeadsToTheCallThatItReplaces(t *testing.T) {
	for _, tt := range []string{"the transferee comes through us", "with the dialog as the transferor wrote it"} {
		t.Run(tt, func(t *testing.T) {
			inWorld(t, byRequestURI, func(w *world) {
				a1, b1, a2, c2 := w.alice.line(1), w.bob.line(1), w.alice.line(2), w.carol.line(2)
				w.talk(a1, b1)
				w.talk(a2, c2)
				same(w.T, a2.target, "sip:carol@127.0.0.1:5060")
				a1.request("REFER", "", `Refer-To: "C?" <sip:carol@127.0.0.1:5060?x=y&Replaces=`+escaped(a2.asKnownBy())+">;z", "Referred-By: <sip:alice@a>")
				refer := b1.next("REFER")
				same(w.T, refer.Get("Refer-To"), `"C?" <sip:carol@127.0.0.1:5060?x=y&Replaces=`+escaped(c2.asOwn())+">;z")
				same(w.T, refer.Get("Referred-By"), "<sip:alice@a>")
				w.done(refer, b1, a1, 202)

				// The transferor hangs up at once.
				a1.request("BYE", "")
				a1.next("200 BYE")
				b1.respond(b1.next("BYE"), 200, "")

				replaces := c2.asOwn()
				if strings.HasPrefix(tt, "with") {
					replaces = a2.asKnownBy()
				}
				b3, c3 := w.bob.line(3), w.carol.line(3)
				b3.target = "sip:carol@127.0.0.1:5060"
				m := w.talk(b3, c3, "Replaces: "+replaces+";early-only", "Require: replaces", "Referred-By: <sip:alice@a>")
				same(w.T, m.Get("Replaces"), c2.asOwn()+";early-only")
				same(w.T, m.Get("Require")+m.Get("Referred-By"), "replaces<sip:alice@a>")
				same(w.T, m.RequestURI, "sip:carol@127.0.0.1:5073")

				c2.request("BYE", "")
				c2.next("200 BYE")
				a2.respond(a2.next("BYE"), 200, "")

				b1.request("NOTIFY", "SIP/2.0 200 OK\r\n", "Event: refer", "Subscription-State: terminated;reason=noresource", "Content-Type: message/sipfrag")
				notify := a1.next("NOTIFY")
				same(w.T, notify.Get("CSeq")+string(notify.Body), "1 NOTIFYSIP/2.0 200 OK\r\n")
				w.done(notify, a1, b1, 200)
				b1.request("NOTIFY", "", "Event: refer", "Subscription-State: active")
				b1.next("481 NOTIFY")
			})
		})
	}
}

func TestADialogIsNamedAsItsReceiverKnowsIt(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		value        func(a, c *phone) string // of the call from alice to carol
		want         func(a, c *phone) string
	}{
		{"Replaces, from the caller's side", "Replaces", (*phone).known, func(_, c *phone) string { return c.asOwn() }},
		{"Replaces, from the callee's side", "Replaces", func(_, c *phone) string { return c.asKnownBy() }, func(a, _ *phone) string { return a.asOwn() }},
		{"Replaces, as the receiver knows it", "Replaces", func(_, c *phone) string { return c.asOwn() }, func(_, c *phone) string { return c.asOwn() }},
		{"Join", "Join", (*phone).known, func(_, c *phone) string { return c.asOwn() }},
		{"Target-Dialog", "Target-Dialog", func(a, _ *phone) string {
			return a.callID + ";local-tag=" + a.remoteTag + ";remote-tag=" + a.tag + ";x"
		},
			func(_, c *phone) string {
				return c.callID + ";local-tag=" + c.tag + ";remote-tag=" + c.remoteTag + ";x"
			}},
		{"another Call-ID", "Replaces", func(a, _ *phone) string { return "x" + a.asKnownBy() }, nil},
		{"another tag of the far end", "Replaces", func(a, _ *phone) string { return a.asKnownBy() + "x" }, nil},
		{"a tag of nobody", "Replaces", func(a, _ *phone) string { return a.callID + ";to-tag=1;from-tag=2" }, nil},
		{"a broken Target-Dialog", "Target-Dialog", func(a, _ *phone) string { return a.callID + ";local-tag=" + a.remoteTag }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, byRequestURI, func(w *world) {
				a, c := w.alice.line(1), w.carol.line(1)
				w.talk(a, c)
				value := tt.value(a, c)
				if tt.want == nil {
					tt.want = func(_, _ *phone) string { return value }
				}
				m := w.talk(w.bob.line(2), w.carol.line(2), tt.header+": "+value, "Require: tdialog", "Proxy-Require: tdialog")
				same(w.T, m.Get(tt.header), tt.want(a, c))
			})
		})
	}
}

func (p *phone) known(*phone) string { return p.asKnownBy() }

func TestAnInviteToOurselvesNeedsADialogOfOurs(t *testing.T) {
	inWorld(t, byRequestURI, func(w *world) {
		a, c := w.alice.line(1), w.carol.line(1)
		w.talk(a, c)
		for i, replaces := range []string{"", "Replaces: x" + a.asKnownBy(), "Replaces: x;to-tag=1;from-tag=2"} {
			b := w.bob.line(2 + i)
			b.target, b.uri = "sip:carol@127.0.0.1:5060", "<sip:carol@127.0.0.1:5060>"
			b.request("INVITE", offer, replaces)
			b.next("100 INVITE")
			b.next("404 INVITE")
			b.say(b.build("ACK", b.cseq, ""))
		}
		c.nothing()
	})
}

func TestADialogThatIsNotYetThereStaysAsItIsNamed(t *testing.T) {
	inWorld(t, byRequestURI, func(w *world) {
		a, c := w.alice.line(1), w.carol.line(1)
		a.target, a.uri = "sip:carol@127.0.0.1:5073", "<sip:carol@127.0.0.1:5073>"
		a.request("INVITE", offer)
		a.next("100 INVITE")
		w.take(c)
		c.tag = ""
		c.respond(w.invite, 180, "")
		a.remoteTag = a.next("180 INVITE").ToTag()
		same(w.T, w.talk(w.bob.line(2), w.carol.line(2), "Replaces: "+a.asKnownBy()).Get("Replaces"), a.asKnownBy())
	})
}

func TestATakeoverFollowsTheRouteSetOfItsLeg(t *testing.T) {
	inWorld(t, func(cfg *b2bua.Config) {
		cfg.NextHop = ""
		cfg.Trunks = []b2bua.Trunk{
			{Name: "in", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
			{Name: "carols", Targets: []string{"sip:" + carolAddr}},
			{Name: "others", Targets: []string{"sip:192.0.2.1"}},
		}
		cfg.Routes = []b2bua.Route{{User: regexp.MustCompile("^to-carol$"), To: []string{"carols"}}, {To: []string{"others"}}}
	}, func(w *world) {
		a, c := w.alice.line(1), w.carol.line(1)
		a.target, a.uri = "sip:to-carol@h", "<sip:to-carol@h>"
		a.request("INVITE", offer)
		a.next("100 INVITE")
		w.take(c)
		c.respond(w.invite, 200, answer, "Record-Route: <sip:127.0.0.1:5073;lr;x>", "Contact: <sip:carol@192.0.2.77>")
		a.remoteTag = a.next("200 INVITE").ToTag()
		a.say(a.build("ACK", a.cseq, ""))
		c.next("ACK")
		b := w.bob.line(2)
		b.target, b.uri = "sip:carol@127.0.0.1:5060", "<sip:carol@127.0.0.1:5060>"
		b.request("INVITE", offer, "Replaces: "+a.asKnownBy())
		b.next("100 INVITE")
		m := c.next("INVITE")
		same(w.T, m.Get("Route"), "<sip:127.0.0.1:5073;lr;x>")
		same(w.T, m.Get("To")+m.Get("Replaces"), "<sip:carol@127.0.0.1:5060>"+c.asOwn())
		same(w.T, w.trunkOut(), "carols")
		c.respond(m, 486, "")
		b.next("486 INVITE")
		c.next("ACK")
	})
}

func TestReplacesThatNoInviteMayHaveGets400(t *testing.T) {
	const good = "Replaces: a;to-tag=1;from-tag=2"
	inWorld(t, nil, func(w *world) {
		w.connect()
		for _, tt := range []struct {
			method string
			lines  []string
		}{
			{"INVITE", []string{good, good}},
			{"INVITE", []string{good, "Join: b;to-tag=1;from-tag=2"}},
			{"INVITE", []string{"Replaces: a;to-tag=1"}},
			{"INVITE", []string{"Join: a, b;to-tag=1;from-tag=2"}},
			{"REFER", []string{good}}, {"INFO", []string{good}}, {"BYE", []string{good}}, {"OPTIONS", []string{good}},
		} {
			p := w.alice.line(9)
			p.request(tt.method, "", tt.lines...)
			p.next("400 " + tt.method)
			w.alice.request(tt.method, "", tt.lines...)
			w.alice.next("400 " + tt.method)
			if tt.method == "INVITE" {
				p.all()
			}
		}
		w.bob.nothing()
	})
}

// notify has one phone notify the other one, and returns the Event that
// arrived.
func (w *world) notify(from, to *phone, event, state string, status int) string {
	w.Helper()
	from.request("NOTIFY", "SIP/2.0 100 Trying\r\n", "Event: "+event, "Subscription-State: "+state)
	m := to.next("NOTIFY")
	w.done(m, to, from, status)
	return m.Get("Event")
}

func TestTheIdOfAReferIsItsNumberOnEachLeg(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.cseq = 70
		w.connect() // 71 of alice is 1 of bob
		w.bob.cseq = 3
		refer := func(from, to *phone) {
			w.Helper()
			from.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.done(to.next("REFER"), to, from, 202)
		}
		refer(w.alice, w.bob) // 72 and 2
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		refer(w.alice, w.bob) // 73 and 4
		refer(w.bob, w.alice) // 4 and 1: the same number as the one before, but bob's

		same(w.T, w.notify(w.bob, w.alice, "refer", "active", 200), "refer")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "active", 200), "refer;id=73")
		same(w.T, w.notify(w.bob, w.alice, "Refer ; x=1;id=2", "active", 200), "Refer ; x=1;id=72")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=9", "active", 200), "refer;id=9")
		same(w.T, w.notify(w.bob, w.alice, "dialog;id=4", "active", 200), "dialog;id=4")
		same(w.T, w.notify(w.alice, w.bob, "refer;id=1", "active", 200), "refer;id=4")

		w.alice.request("SUBSCRIBE", "", "o: refer;id=73", "Expires: 0")
		m := w.bob.next("SUBSCRIBE")
		same(w.T, m.Get("Event"), "refer;id=4")
		w.done(m, w.bob, w.alice, 200)
		w.bob.request("SUBSCRIBE", "", "Event: refer;id=4")
		m = w.alice.next("SUBSCRIBE")
		same(w.T, m.Get("Event"), "refer;id=1")
		w.done(m, w.alice, w.bob, 200)

		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "terminated;reason=timeout", 401), "refer;id=73")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "terminated;reason=timeout", 200), "refer;id=73")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=4", "active", 481), "refer;id=4") // is over
	})
}

// hangUp has alice end the call.
func (w *world) hangUp() {
	w.Helper()
	w.alice.request("BYE", "")
	w.alice.next("200 BYE")
	w.bob.respond(w.bob.next("BYE"), 200, "")
}

func TestASubscriptionOutlivesTheBye(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
		w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
		w.alice.request("SUBSCRIBE", "", "Event: dialog")
		w.done(w.bob.next("SUBSCRIBE"), w.bob, w.alice, 200)
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		bye := w.bob.next("BYE")
		same(w.T, w.notify(w.bob, w.alice, "refer", "active", 200), "refer") // before the BYE was answered
		w.bob.respond(bye, 200, "")
		w.heard("evidence caller: REFER", "evidence callee: 202 REFER", "evidence caller: SUBSCRIBE", "evidence callee: 200 SUBSCRIBE",
			"ending caller-bye", "ended caller-bye confirmed/confirmed")
		delete(w.store.saved, w.id)
		w.store.marks = nil
		if _, ok := w.agent.Call(w.id); ok {
			w.Error("the call goes on")
		}
		w.bob.cseq += 5
		same(w.T, w.notify(w.bob, w.alice, "refer", "active;expires=60", 200), "refer")
		w.alice.request("SUBSCRIBE", "", "Event: refer", "Expires: 0")
		m := w.bob.next("SUBSCRIBE")
		same(w.T, m.Get("CSeq"), "5 SUBSCRIBE")
		w.done(m, w.bob, w.alice, 200)
		for _, method := range []string{"INFO", "OPTIONS", "INVITE", "REFER", "UPDATE"} {
			w.bob.request(method, "", "Refer-To: <sip:carol@h>")
			w.bob.next("481 " + method)
			if method == "INVITE" {
				w.bob.say(w.bob.build("ACK", w.bob.cseq, ""))
			}
		}
		w.bob.request("NOTIFY", "", "Event: presence", "Subscription-State: active")
		w.bob.next("481 NOTIFY")
		w.bob.cseq -= 2
		w.bob.request("NOTIFY", "", "Event: refer", "Subscription-State: active")
		w.bob.next("500 NOTIFY") // an old number
		w.bob.cseq += 2
		w.notify(w.bob, w.alice, "refer", "terminated;reason=noresource", 200)
		w.notify(w.bob, w.alice, "dialog", "active", 481)
		w.bob.request("NOTIFY", "", "Event: dialog", "Subscription-State: active")
		w.bob.next("481 NOTIFY")
		w.alice.nothing()
		w.heard()
		if len(w.store.saved)+len(w.store.marks) > 0 {
			w.Errorf("the store got %v and %v of a call that had ended", w.store.saved, w.store.marks)
		}
	})
}

func TestANotifyThatCrossesTheByeIsAnswered(t *testing.T) {
	for _, released := range []bool{false, true} {
		inWorld(t, nil, func(w *world) {
			w.connect()
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
			w.bob.request("NOTIFY", "", "Event: refer", "Subscription-State: active")
			w.bob.request("INFO", "")
			m := w.alice.next("NOTIFY")
			w.alice.next("INFO")
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.next("487 INFO")
			bye := w.bob.next("BYE")
			if released {
				w.bob.respond(bye, 200, "")
			}
			w.alice.respond(m, 200, "")
			w.bob.next("200 NOTIFY")
			if !released {
				w.bob.respond(bye, 200, "")
			}
			w.notify(w.bob, w.alice, "refer", "terminated;reason=noresource", 200)
		})
	}
}

func TestWhatOutlivesACallIsForgottenInTime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
		w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
		w.hangUp()
		const rings = 3*time.Minute + 32*time.Second
		pass(rings - time.Second)
		w.notify(w.bob, w.alice, "refer", "active", 200)
		pass(time.Second)
		w.bob.request("NOTIFY", "", "Event: refer", "Subscription-State: active")
		w.bob.next("481 NOTIFY")
		w.alice.nothing()
	})
}

func TestNothingOutlivesACallWithoutSubscription(t *testing.T) {
	for name, script := range map[string]func(w *world){
		"no REFER":      func(*world) {},
		"REFER refused": func(w *world) { w.refer(603, "") },
		"Refer-Sub":     func(w *world) { w.refer(200, "Refer-Sub: false;x=y") },
		"nosub": func(w *world) {
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>", "Require: tdialog, NoSub")
			w.done(w.bob.next("REFER"), w.bob, w.alice, 200)
		},
		"NOTIFY refused": func(w *world) { w.refer(202, ""); w.notify(w.bob, w.alice, "refer", "active", 489) },
		"terminated":     func(w *world) { w.refer(202, ""); w.notify(w.bob, w.alice, "refer", "Terminated ;reason=x", 200) },
		"refreshed": func(w *world) {
			w.subscribe(200)
			w.subscribe(200)
			w.notify(w.bob, w.alice, "dialog", "terminated", 200)
		},
		"lost":    func(w *world) { w.subscribe(200); w.subscribe(481) },
		"refused": func(w *world) { w.subscribe(403) },
		"unanswered": func(w *world) {
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.bob.next("REFER")
			pass(time.Minute)
			w.bob.all()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				script(w)
				w.hangUp()
				for _, event := range []string{"refer", "dialog"} {
					w.bob.request("NOTIFY", "", "Event: "+event, "Subscription-State: active")
					w.bob.next("481 NOTIFY")
				}
				w.alice.nothing()
			})
		})
	}
}

func (w *world) subscribe(status int) {
	w.Helper()
	w.alice.request("SUBSCRIBE", "", "Event: dialog")
	w.done(w.bob.next("SUBSCRIBE"), w.bob, w.alice, status)
}

func TestARefreshThatFailsLeavesTheSubscription(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.subscribe(200)
		w.subscribe(423)
		w.hangUp()
		w.notify(w.bob, w.alice, "dialog", "terminated", 200)
	})
}

// trunkOut is the trunk that the latest call went to.
func (w *world) trunkOut() string {
	rec, _ := w.agent.Call(w.obs.last.ID)
	return rec.TrunkOut
}

func (w *world) refer(status int, extra string) {
	w.Helper()
	w.alice.request("REFER", "", "Refer-To: <sip:carol@h>", "Refer-Sub: false", "Require: norefersub")
	w.done(w.bob.next("REFER"), w.bob, w.alice, status, extra)
}

func TestAReferWithoutReferSubInTheAnswerMakesASubscription(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.refer(200, "")
		w.hangUp()
		w.notify(w.bob, w.alice, "refer", "terminated", 200)
	})
}

func TestACallRemembersNoMoreThanItsLatestSubscriptions(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.cseq = 100
		w.connect()
		for range 17 { // 102 to 118 are 2 to 18
			w.alice.request("REFER", "", "Refer-To: <sip:carol@h>")
			w.done(w.bob.next("REFER"), w.bob, w.alice, 202)
		}
		same(w.T, w.notify(w.bob, w.alice, "refer;id=2", "active", 200), "refer;id=2")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=3", "active", 200), "refer;id=103")
		same(w.T, w.notify(w.bob, w.alice, "refer;id=18", "active", 200), "refer;id=118")
	})
}
