package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sipvigil/test/ua"
)

// registrarConfig makes kamailio a registrar that knows Path, and a proxy for
// who is registered.
const registrarConfig = `
debug=2
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:ADDR
listen=tcp:ADDR
alias="phones.example"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 1)
request_route {
	if (!mf_process_maxfwd_header("20")) { sl_send_reply("483", "Too Many Hops"); exit; }
	if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
	if (has_totag()) {
		if (loose_route() || uri != myself) { t_relay(); } else if (!is_method("ACK")) { sl_send_reply("481", "Unknown"); }
		exit;
	}
	if (is_method("REGISTER")) { save("location"); exit; }
	if (is_method("INVITE|SUBSCRIBE")) { record_route(); }
	if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
	t_relay();
}
`

// registrarHost is an address of this machine that is not the phones'.
const registrarHost = "127.0.0.2"

// registrar runs kamailio, and returns its address. Its tests run before those
// that run together: its processes would slow the load of SIPp, which minds.
func registrar(t *testing.T) string { return kamailio(t, registrarHost, registrarConfig) }

// edge is a daemon between phones on this machine and the registrar.
func edge(t *testing.T, registrar string) *secured {
	t.Helper()
	return serveSecured(t, fmt.Sprintf(`
trunks:
  - {name: phones, sources: [127.0.0.0/8]}
  - {name: registrar, targets: ["sip:%s"], sources: [%s]}
routes:
  - {from: phones, to: [registrar]}
`, registrar, registrarHost))
}

// natted is a phone that believes to be where nobody can reach it. In a browser
// that is so by itself.
func (s *secured) natted(user, transport string) *ua.Phone {
	cfg := ua.Config{User: user, Transport: transport, TLS: s.authority.config("127.0.0.1")}
	if transport != "ws" && transport != "wss" {
		cfg.Inner = "10.255.255.1:5060"
	}
	return s.phoneWith(cfg)
}

// register has a phone register through the daemon.
func (s *secured) register(p *ua.Phone, transport string) {
	s.t.Helper()
	var headers []ua.Header
	if transport != "udp" { // so that there is one phone of each kind
		headers = []ua.Header{ua.H("Supported", "path")}
	}
	res, err := p.Register(limit(s.t, patience), s.at(transport, 4), "phones.example", headers...)
	if err != nil || res.Status != 200 {
		s.t.Fatalf("REGISTER: %v, %v", res, err)
	}
	if path := res.Get("Path"); len(headers) > 0 && !strings.HasSuffix(path, ";lr;ob>") {
		s.t.Errorf("the registrar remembers the Path %q", path)
	}
}

func TestAPhoneBehindANATThatRegistersThroughUsIsCalledBackThroughUs(t *testing.T) {
	registrar := registrar(t)
	d := edge(t, registrar)
	for _, transport := range []string{"udp", "tcp", "tls", "ws", "wss"} {
		t.Run(transport, func(t *testing.T) {
			ctx := limit(t, patience)
			dave := d.natted("dave-"+transport, transport)
			d.register(dave, transport)
			for caller, dial := range map[string]func() *ua.Outgoing{
				"from the registrar's side": func() *ua.Outgoing {
					return phone(t, "alice", "udp").Dial(registrar, "sip:dave-"+transport+"@phones.example", ua.Offer{SDP: ua.SDP(40000)})
				},
				"from another phone behind a NAT": func() *ua.Outgoing {
					return d.natted("erin", transport).Dial(d.at(transport, 4), "sip:dave-"+transport+"@phones.example", ua.Offer{SDP: ua.SDP(40000)})
				},
			} {
				theirs, ours := answered(ctx, t, dial(), dave)
				eventually(t, "both legs are watched", func() bool { return options(theirs) > 1 && options(ours) > 1 })
				if _, err := ours.Request(ctx, "INVITE", ua.SDP(40004)); err != nil {
					t.Fatalf("%s: re-INVITE: %v", caller, err)
				}
				if caller == "from the registrar's side" {
					hangUp(t, ours, theirs)
				} else {
					hangUp(t, theirs, ours)
				}
				for _, leg := range []*ua.Dialog{theirs, ours} {
					if err := leg.CheckCSeq(); err != nil {
						t.Errorf("%s: %v", caller, err)
					}
				}
			}
			eventually(t, "all calls are over", func() bool { return d.metric(`sipvigil_calls_active`) == 0 })
			if transport == "udp" {
				return
			}
			dave.Close()
			connections := fmt.Sprintf(`sipvigil_b2bua_connections{transport=%q}`, transport)
			eventually(t, "the connections are gone", func() bool { return d.metric(connections) <= 1 }) // erin's may stay
			_, err := phone(t, "alice", "udp").Call(ctx, registrar, "sip:dave-"+transport+"@phones.example", ua.Offer{SDP: ua.SDP(40000)})
			var answer *ua.StatusError
			if !errors.As(err, &answer) || answer.Status != 430 { // RFC 5626 section 5.3.1
				t.Errorf("a call by a flow that is gone: %v, want 430", err)
			}
		})
	}
}

// answered is a call that the callee took, from both sides.
func answered(ctx context.Context, t *testing.T, call *ua.Outgoing, callee *ua.Phone) (caller, taken *ua.Dialog) {
	t.Helper()
	in, err := callee.Invited(ctx)
	if err != nil {
		t.Fatalf("no call came: %v", errors.Join(err, waited(call)))
	}
	in.Ring(180)
	if taken, err = in.Accept(ua.SDP(40002)); err != nil {
		t.Fatalf("accept: %v", err)
	}
	if caller, err = call.Wait(ctx); err != nil {
		t.Fatalf("call: %v", err)
	}
	select {
	case <-taken.Confirmed():
	case <-ctx.Done():
		t.Fatal("the callee saw no ACK")
	}
	return caller, taken
}

func TestMessagesAndSubscriptionsPassThroughUs(t *testing.T) {
	d := edge(t, registrar(t))
	ctx := limit(t, patience)
	dave, erin := d.natted("dave", "udp"), d.natted("erin", "tcp")
	d.register(dave, "udp")
	d.register(erin, "tcp")
	const body = "binary\x00\xff\r\n\r\nand more"
	dave.Answer("MESSAGE", 200, "")
	erin.Answer("MESSAGE", 202, "")
	for _, m := range []struct {
		from, to  *ua.Phone
		at, user  string
		wantReply int
	}{{dave, erin, d.at("udp", 4), "erin", 202}, {erin, dave, d.at("tcp", 4), "dave", 200}} {
		res, err := m.from.Request(ctx, m.at, "MESSAGE", "sip:"+m.user+"@phones.example", body, ua.H("Content-Type", "application/octet-stream"))
		if err != nil || res.Status != m.wantReply {
			t.Fatalf("MESSAGE to %s: %v, %v", m.user, res, err)
		}
		got, err := m.to.Wait(ctx, ua.Method("MESSAGE"))
		if err != nil || string(got.Message.Body) != body {
			t.Errorf("%s got %q, %v", m.user, got.Message.Body, err)
		}
	}

	erin.Answer("SUBSCRIBE", 202, "", ua.H("Expires", "60"))
	res, err := dave.Request(ctx, d.at("udp", 4), "SUBSCRIBE", "sip:erin@phones.example", "", ua.H("Event", "presence"))
	if err != nil || res.Status != 202 {
		t.Fatalf("SUBSCRIBE: %v, %v", res, err)
	}
	got, err := erin.Wait(ctx, ua.Method("SUBSCRIBE"))
	if err != nil {
		t.Fatal(err)
	}
	notify := notification(erin, got.Message)
	dave.AnswerUnknown("NOTIFY", 200, "")
	if res, err = erin.Send(ctx, d.at("tcp", 4), notify); err != nil || res.Status != 200 {
		t.Fatalf("NOTIFY: %v, %v", res, err)
	}
}

// notification is the NOTIFY for a SUBSCRIBE that the phone answered, with the
// route set that this gave.
func notification(p *ua.Phone, subscribe *ua.Message) *ua.Message {
	contact, _, _ := strings.Cut(strings.TrimPrefix(subscribe.Get("Contact"), "<"), ">")
	m := &ua.Message{Method: "NOTIFY", RequestURI: contact}
	add := func(name, value string) { m.Headers = append(m.Headers, ua.H(name, value)) }
	for _, r := range subscribe.Values("Record-Route") {
		add("Route", r)
	}
	add("Max-Forwards", "70")
	add("From", subscribe.Get("To")+";tag=notifier")
	add("To", subscribe.Get("From"))
	add("Call-ID", subscribe.CallID())
	add("CSeq", "1 NOTIFY")
	add("Contact", "<"+p.URI()+">")
	add("Event", "presence")
	add("Subscription-State", "active")
	return m
}
