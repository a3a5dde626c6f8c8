package b2bua_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sipvigil/b2bua"
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
		from.target = fmt.Sprintf("sip:%s@%s", to.user, to.host.Addr)
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

// trunkOut is the trunk that the latest call went to.
func (w *world) trunkOut() string {
	rec, _ := w.agent.Call(w.obs.last.ID)
	return rec.TrunkOut
}
