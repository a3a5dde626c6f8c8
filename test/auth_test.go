package test

import (
	"fmt"
	"strings"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// proxy runs kamailio as a carrier's edge: it lets requests from this port pass
// only with the credentials us:secret, counts the uses of each nonce, and
// forgets nonces after a second.
func proxy(t *testing.T, algorithm string, from, to string) (addr string) {
	t.Helper()
	return kamailio(t, "127.0.0.1", strings.NewReplacer("ALGORITHM", algorithm, "FROM", port(from), "TO", to).Replace(`#!KAMAILIO
log_stderror=yes
debug=2
children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:ADDR
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "auth.so"
modparam("auth", "algorithm", "ALGORITHM")
modparam("auth", "qop", "auth")
modparam("auth", "nonce_count", 1)
modparam("auth", "nonce_expire", 1)
request_route {
	if (is_method("CANCEL")) {
		if (t_check_trans()) t_relay();
		exit;
	}
	if (is_method("ACK")) {
		if (loose_route()) t_relay();
		exit;
	}
	if ($sp == FROM) {
		if (!pv_proxy_authenticate("edge.example", "secret", "0") || $au != "us") {
			proxy_challenge("edge.example", "1");
			exit;
		}
		consume_credentials();
	}
	if (has_totag()) {
		loose_route();
	} else {
		record_route();
		$du = "TO";
	}
	t_relay();
}
`))
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

func TestKamailioAcceptsOurCredentialsForAWholeCall(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			c := &talk{callerPhone: phone(t, "alice", "udp"), calleePhone: phone(t, "bob", "udp"), leaps: true}
			listen := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
			edge := proxy(t, algorithm, listen, c.calleePhone.URI())
			redisURL, _ := storetest.Redis(t)
			d := serveAt(t, &sipvigil{udp: listen, tcp: "127.0.0.1:0", admin: "127.0.0.1:0"}, redisURL, "--config", file(t, "sipvigil.yaml", `
sip: {next_hop: "sip:`+edge+`"}
trunks:
  - {name: carrier, targets: ["sip:`+edge+`"], credentials: {username: us, password_file: `+file(t, "password", "secret\n")+`}}
`))
			c.connect(t, d)
			t.Cleanup(func() { c.check(t) })
			probed(t, c.callee, 2)
			for _, method := range []string{"INFO", "UPDATE", "INVITE"} {
				body := ""
				if method == "INVITE" {
					body = ua.SDP(40000)
				}
				if res, err := c.caller.Request(limit(t, patience), method, body); err != nil || res.Status != 200 {
					t.Errorf("%s: %v %v", method, res, err)
				}
			}
			const challenges = `sipvigil_b2bua_challenges_total{result=%q,trunk="carrier"}`
			eventually(t, "nonces go stale and are replaced", func() bool { return d.metric(fmt.Sprintf(challenges, "answered")) >= 3 })
			hangUp(t, c.caller, c.callee)
			shown := d.terminated(c.id)
			if shown.EndedBy != "caller-bye" || shown.Callee.Released != "confirmed" {
				t.Errorf("the call ended %+v", shown)
			}
			if n := d.metric(fmt.Sprintf(challenges, "refused")); n != 0 {
				t.Errorf("%v challenges were refused", n)
			}
		})
	}
}

func TestAWrongPasswordFailsTheCallOnceAndIsSaidOnce(t *testing.T) {
	t.Parallel()
	alice, bob := phone(t, "alice", "udp"), phone(t, "bob", "udp")
	listen := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	edge := proxy(t, "SHA-256", listen, bob.URI())
	redisURL, _ := storetest.Redis(t)
	d := serveAt(t, &sipvigil{udp: listen, tcp: "127.0.0.1:0", admin: "127.0.0.1:0"}, redisURL, "--config", file(t, "sipvigil.yaml", `
sip: {next_hop: "sip:`+edge+`"}
trunks:
  - {name: carrier, targets: ["sip:`+edge+`"], credentials: {username: us, password_file: `+file(t, "password", "Secret\n")+`}}
`))
	for range 2 {
		_, err := alice.Call(limit(t, patience), d.udp, bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
		if err == nil || !strings.Contains(err.Error(), "407") {
			t.Errorf("the call: %v", err)
		}
	}
	if n := d.metric(`sipvigil_b2bua_challenges_total{result="refused",trunk="carrier"}`); n != 2 {
		t.Errorf("%v challenges were counted as refused", n)
	}
	eventually(t, "the log says so", func() bool { return len(d.entries("trunk wants other credentials")) > 0 })
	if n := len(d.entries("trunk wants other credentials")); n != 1 {
		t.Errorf("the log says %d times that credentials are wrong", n)
	}
	if strings.Contains(d.log.String(), "Secret") {
		t.Error("the log holds the password")
	}
}
