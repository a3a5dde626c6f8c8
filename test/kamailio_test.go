package test

import (
	"strings"
	"testing"
	"time"

	"sipvigil/test/ua"
)

// kamailioConfig is a registrar and proxy that records its route. What is not
// for itself goes to sipvigil. It asks sipvigil about each call every 30 s, its
// least, with an OPTIONS of a number that is too low on purpose: who knows the
// dialog answers 500, who does not 481, and then it ends the call.
const kamailioConfig = `#!KAMAILIO
debug=2
log_stderror=yes
children=2
disable_tcp=yes
auto_aliases=no
listen=udp:ADDR
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "dialog.so"
modparam("dialog", "ka_timer", 1)
modparam("dialog", "ka_interval", 30)
modparam("dialog", "ka_failed_limit", 1)
modparam("dialog", "track_cseq_updates", 0)
request_route {
	if (!mf_process_maxfwd_header("70")) { sl_send_reply("483", "Too Many Hops"); exit; }
	if (has_totag()) {
		if (loose_route() || is_method("ACK")) { t_relay(); exit; }
		sl_send_reply("404", "No Route");
		exit;
	}
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (is_method("REGISTER")) { save("location"); exit; }
	if (is_method("INVITE")) {
		record_route();
		dlg_manage();
	}
	if (uri == myself) {
		if (is_method("INVITE")) dlg_set_property("ka-src");
		if (!lookup("location")) { sl_send_reply("404", "Not Registered"); exit; }
	} else {
		if (is_method("INVITE")) dlg_set_property("ka-dst");
		$du = "sip:SIPVIGIL";
	}
	t_relay();
}
`

func TestKamailioAsAProxyBehindAndInFront(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded", "--probe-timeout", "10s")
	addr := kamailio(t, "127.0.0.1", strings.ReplaceAll(kamailioConfig, "SIPVIGIL", d.udp))
	for _, c := range []struct {
		name string
		dial func(t *testing.T, c *talk)
	}{
		{"behind, as the registrar of the callee", func(t *testing.T, c *talk) {
			aor := "sip:bob@" + addr
			res, err := c.calleePhone.Request(limit(t, patience), addr, "REGISTER", "sip:"+addr, "",
				ua.H("To", "<"+aor+">"), ua.H("Contact", "<"+c.calleePhone.URI()+">"), ua.H("Expires", "300"))
			if err != nil || res.Status != 200 {
				t.Fatalf("REGISTER: %v, %v", res, err)
			}
			c.connectVia(t, d, "sip:"+d.udp, aor)
			if routes := c.callee.Routes(); len(routes) != 1 || !strings.Contains(routes[0], addr) {
				t.Errorf("the callee's requests take the route %q, want kamailio", routes)
			}
		}},
		{"in front, as the proxy of the caller", func(t *testing.T, c *talk) {
			c.connectVia(t, d, "sip:"+addr, c.calleePhone.URI())
			if routes := c.caller.Routes(); len(routes) != 1 || !strings.Contains(routes[0], addr) {
				t.Errorf("the caller's requests take the route %q, want kamailio", routes)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			call := &talk{callerPhone: phone(t, "alice", "udp"), calleePhone: phone(t, "bob", "udp")}
			c.dial(t, call)
			defer call.check(t)
			proven(t, d, call) // probes pass through the proxy
			everyMethod(t, call.caller, call.callee, 40010)
			everyMethod(t, call.callee, call.caller, 40020)

			// It would end the call on 481, ten seconds later.
			within(t, 75*time.Second, "kamailio asked about both calls, and was answered 500", func() bool {
				return d.metric(`sipvigil_b2bua_responses_total{class="5xx"}`) >= 2
			})
			probed(t, call.caller, 2)
			probed(t, call.callee, 1)
			if got, ok := d.call(call.id); !ok || got.State != "confirmed" || got.Caller.Liveness != "alive" || got.Callee.Liveness != "alive" {
				t.Errorf("the call was touched: %+v", got)
			}
			hangUp(t, call.callee, call.caller)
			if got := d.terminated(call.id).EndedBy; got != "callee-bye" {
				t.Errorf("ended by %q", got)
			}
		})
	}
}
