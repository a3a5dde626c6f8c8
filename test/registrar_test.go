package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// registrarConfig makes kamailio a registrar that knows Path, and a proxy for
// who is registered.
var registrarConfig = template.Must(template.New("").Parse(`
debug=2
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:{{.Addr}}
listen=tcp:{{.Addr}}
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
`))

// registrarHost is an address of this machine that is not the phones'.
const registrarHost = "127.0.0.2"

// registrar runs kamailio, and returns its address. Its tests run before those
// that run together: its processes would slow the load of SIPp, which minds.
func registrar(t *testing.T) string {
	t.Helper()
	addr := net.JoinHostPort(registrarHost, strconv.Itoa(storetest.FreePort(t)))
	var config bytes.Buffer
	if err := registrarConfig.Execute(&config, struct{ Addr string }{addr}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var output lines
	// -DD keeps the first process in the foreground.
	cmd := exec.Command("kamailio", "-f", file, "-DD", "-E", "-m", "64", "-M", "4", "-Y", dir, "-w", dir)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatalf("start kamailio: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("kamailio:\n%s", tail(output.String(), 3000))
		}
	})
	eventually(t, "kamailio listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("kamailio ended:\n%s", tail(output.String(), 3000))
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	return addr
}

// edge is a daemon between phones on this machine and the registrar.
func edge(t *testing.T, registrar string) *sipvigil {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sipvigil.yaml")
	config := fmt.Sprintf(`
trunks:
  - {name: phones, sources: [127.0.0.0/8]}
  - {name: registrar, targets: ["sip:%s"], sources: [%s]}
routes:
  - {from: phones, to: [registrar]}
`, registrar, registrarHost)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, "embedded", "--config", file)
}

// natted is a phone that believes to be where nobody can reach it.
func natted(t *testing.T, user, transport string) *ua.Phone {
	t.Helper()
	p, err := ua.Listen(ua.Config{User: user, Transport: transport, Inner: "10.255.255.1:5060"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Faults(); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		p.Close()
	})
	return p
}

// at is where a phone of this transport finds the daemon.
func (d *sipvigil) at(transport string) string {
	if transport == "tcp" {
		return "sip:" + d.tcp + ";transport=tcp"
	}
	return "sip:" + d.udp
}

// register has a phone register through the daemon.
func (d *sipvigil) register(p *ua.Phone, transport string) {
	d.t.Helper()
	var headers []ua.Header
	if transport == "tcp" { // so that there is one phone of each kind
		headers = []ua.Header{ua.H("Supported", "path")}
	}
	res, err := p.Register(limit(d.t, patience), d.at(transport), "phones.example", headers...)
	if err != nil || res.Status != 200 {
		d.t.Fatalf("REGISTER: %v, %v", res, err)
	}
	if path := res.Get("Path"); len(headers) > 0 && !strings.HasSuffix(path, ";lr;ob>") {
		d.t.Errorf("the registrar remembers the Path %q", path)
	}
}

func TestAPhoneBehindANATThatRegistersThroughUsIsCalledBackThroughUs(t *testing.T) {
	kamailio := registrar(t)
	d := edge(t, kamailio)
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			ctx := limit(t, patience)
			dave := natted(t, "dave-"+transport, transport)
			d.register(dave, transport)
			for caller, dial := range map[string]func() *ua.Outgoing{
				"from the registrar's side": func() *ua.Outgoing {
					return phone(t, "alice", "udp").Dial(kamailio, "sip:dave-"+transport+"@phones.example", ua.Offer{SDP: ua.SDP(40000)})
				},
				"from another phone behind a NAT": func() *ua.Outgoing {
					return natted(t, "erin", transport).Dial(d.at(transport), "sip:dave-"+transport+"@phones.example", ua.Offer{SDP: ua.SDP(40000)})
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
	kamailio := registrar(t)
	d := edge(t, kamailio)
	ctx := limit(t, patience)
	dave, erin := natted(t, "dave", "udp"), natted(t, "erin", "tcp")
	d.register(dave, "udp")
	d.register(erin, "tcp")
	const body = "binary\x00\xff\r\n\r\nand more"
	dave.Answer("MESSAGE", 200, "")
	erin.Answer("MESSAGE", 202, "")
	for _, m := range []struct {
		from, to  *ua.Phone
		at, user  string
		wantReply int
	}{{dave, erin, d.at("udp"), "erin", 202}, {erin, dave, d.at("tcp"), "dave", 200}} {
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
	res, err := dave.Request(ctx, d.at("udp"), "SUBSCRIBE", "sip:erin@phones.example", "", ua.H("Event", "presence"))
	if err != nil || res.Status != 202 {
		t.Fatalf("SUBSCRIBE: %v, %v", res, err)
	}
	got, err := erin.Wait(ctx, ua.Method("SUBSCRIBE"))
	if err != nil {
		t.Fatal(err)
	}
	notify := notification(erin, got.Message)
	dave.AnswerUnknown("NOTIFY", 200, "")
	if res, err = erin.Send(ctx, d.at("tcp"), notify); err != nil || res.Status != 200 {
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
