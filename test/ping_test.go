package test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

const optionsConfig = `#!KAMAILIO
debug=2
log_stderror=yes
children=2
auto_aliases=no
listen=udp:ADDR
listen=tcp:ADDR
server_header="Server: kamailio"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
request_route {
	if ($rU == "nobody") { sl_send_reply("404", "Not Here"); exit; }
	append_to_reply("Allow: INVITE, ACK, REFER\r\n");
	append_to_reply("Accept-Language: en, de;q=0.5\r\n");
	sl_send_reply("200", "Keepalive");
}
`

// golden is what a ping prints, but for what differs from one to the next.
func golden(t *testing.T, want string, code int, args ...string) {
	t.Helper()
	out, errs, got := tool(t, append([]string{"ping", "--timeout", "20s"}, args...)...)
	for _, r := range [][2]string{{`127\.0\.0\.1:\d+`, "ADDR"}, {`\d+\.\d ms`, "RTT"}} {
		out = regexp.MustCompile(r[0]).ReplaceAllString(out, r[1])
		errs = regexp.MustCompile(r[0]).ReplaceAllString(errs, r[1])
	}
	if diff := cmp.Diff(fmt.Sprintf("%d\n%s", code, want), fmt.Sprintf("%d\n%s%s", got, out, errs)); diff != "" {
		t.Errorf("sipvigil ping %s (-want +got):\n%s", strings.Join(args, " "), diff)
	}
}

func TestPingShowsWhoAnsweredAndWhatItCanDo(t *testing.T) {
	t.Parallel()
	carrier := kamailio(t, "127.0.0.1", optionsConfig)
	const fromKamailio = `
Server     kamailio
Saw us at  ADDR
Allow      INVITE ACK REFER
Languages  en de

refer      update     info       message    subscribe  100rel     timer      replaces
yes        no         no         no         no         unknown    unknown    unknown
`
	golden(t, "200 Keepalive from udp ADDR in RTT\n"+fromKamailio, 0, "sip:"+carrier)
	golden(t, "200 Keepalive from tcp ADDR in RTT\n200 Keepalive from tcp ADDR in RTT\n\n"+
		"2 sent, 2 answered, RTT RTT least, RTT on average, RTT most\n"+fromKamailio,
		0, carrier, "--transport", "tcp", "--count", "2", "--interval", "10ms")
	golden(t, "404 Not Here from udp ADDR in RTT\n\nServer     kamailio\nSaw us at  ADDR\nsipvigil: the answer is 404 Not Here\n", 1, "sip:nobody@"+carrier)

	port := storetest.FreePort(t)
	sipp(t, "options.xml", load{transport: "u1", calls: 1}, port)
	eventually(t, "SIPp listens", func() bool { return bound(port) })
	golden(t, `200 OK from udp ADDR in RTT

Server     SIPp
Allow      INVITE ACK BYE CANCEL OPTIONS UPDATE
Codecs     audio G729/8000, audio opus/48000/2

refer      update     info       message    subscribe  100rel     timer      replaces
no         yes        no         no         no         no         no         no
`, 0, fmt.Sprintf("127.0.0.1:%d", port))

	p := phone(t, "bob", "udp")
	p.Respond("OPTIONS", func(*ua.Message) ua.Reply {
		return ua.Reply{Status: 486, Headers: []ua.Header{ua.H("User-Agent", "ua \x1b[2J"), ua.H("Contact", "<sip:bob@192.0.2.7>")}}
	})
	golden(t, "486 Busy Here from udp ADDR in RTT\n\nServer     ua �[2J\nContact    <sip:bob@192.0.2.7>\nSaw us at  ADDR\nsipvigil: the answer is 486 Busy Here\n", 1, p.URI())
	p.Silence()
	golden(t, "no answer from udp ADDR\nsipvigil: no answer from ADDR\n", 3, p.URI(), "--timeout", "300ms")
	golden(t, "not sent: connection refused\nsipvigil: OPTIONS could not be sent: connection refused\n", 2, "sip:127.0.0.1:1;transport=tcp")
	golden(t, "sipvigil: \"sip:bob@\" is not a SIP URI such as sip:192.0.2.10:5060;transport=tcp\nsipvigil: --output: \"xml\" is none of table, wide, json, jsonl, csv\n",
		2, "bob@", "-o", "xml")
}

func TestPingThroughADaemonAndOfATrunk(t *testing.T) {
	t.Parallel()
	up, down := phone(t, "up", "udp"), phone(t, "down", "udp")
	down.Answer("OPTIONS", 503, "")
	d := serve(t, "embedded", "--config", file(t, "sipvigil.yaml",
		fmt.Sprintf("trunks: [{name: carrier, targets: [\"sip:%s\", \"sip:%s\"]}]\n", up.Addr(), down.Addr())))
	golden(t, "503 Service Unavailable from udp ADDR in RTT\n\nSaw us at  ADDR\nsipvigil: the answer is 503 Service Unavailable\n", 1,
		"sip:"+down.Addr(), "--server", "http://"+d.admin)
	for _, r := range down.Received() {
		if via := r.Message.Get("Via"); !strings.Contains(via, d.udp) {
			t.Errorf("the daemon did not send it: %s", via)
		}
	}
	status, body := d.post("/api/v1/ping", `{"trunk": "carrier", "timeout_ms": 20000}`)
	for _, want := range []string{`"peer":"` + up.Addr() + `"`, `"peer":"` + down.Addr() + `"`, `"status":200`, `"status":503`} {
		if status != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("ping of a trunk: %d, no %s in %s", status, want, body)
		}
	}
}
