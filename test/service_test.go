package test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// status is what a request of a phone outside of calls is answered.
func status(t *testing.T, from *ua.Phone, d *sipvigil, method string) *ua.Message {
	t.Helper()
	res, err := from.Request(limit(t, patience), d.udp, method, "sip:"+d.udp, "")
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return res
}

// refused checks that a call is refused with 503.
func refused(t *testing.T, from *ua.Phone, d *sipvigil) {
	t.Helper()
	_, err := from.Call(limit(t, patience), d.udp, "sip:+15550100@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a new call: %v, want 503", err)
	}
}

// maintained is what a node says of the maintenance of one of its trunks.
func (d *sipvigil) maintained(trunk string) string {
	d.t.Helper()
	_, body := d.http(http.MethodGet, "/api/v1/trunks/"+trunk+"/maintenance")
	return regexp.MustCompile(`"state":"([^"]*)"`).FindString(string(body))
}

func TestMaintenanceHoldsOnEveryNodeAndAfterARestart(t *testing.T) {
	t.Parallel()
	pbx, carrier := phone(t, "pbx", "udp"), phone(t, "carrier", "udp")
	called := takes(carrier)
	redisURL, _ := storetest.Redis(t)
	config := file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, sources: [127.0.0.0/8]}
  - {name: carrier, targets: ["sip:%s"]}
routes: [{to: [carrier]}]
`, carrier.Addr()))
	start := func(name string) *sipvigil { return serve(t, redisURL, "--config", config, "--node", name) }
	one, two := start("edge-1"), start("edge-2")
	leg, err := pbx.Call(limit(t, patience), one.udp, "sip:+15550100@"+one.udp, ua.Offer{SDP: ua.SDP(40000)})
	if err != nil {
		t.Fatal(err)
	}

	var shown struct{ State string }
	if ask(t, one, 0, &shown, "trunks", "maintenance", "carrier", "on"); shown.State != "maintenance" {
		t.Errorf("maintenance is shown as %q", shown.State)
	}
	refused(t, pbx, one)
	eventually(t, "the other node knows", func() bool { return two.maintained("carrier") == `"state":"maintenance"` })
	refused(t, pbx, two)
	two.stop()
	two = start("edge-2")
	eventually(t, "it knows after a restart", func() bool { return two.maintained("carrier") == `"state":"maintenance"` })
	refused(t, pbx, two)
	if n := called.Load(); n != 1 {
		t.Errorf("%d calls have come to the carrier, want the first only", n)
	}
	// Its own calls and OPTIONS would be refused; those of the other trunk are not.
	if res := status(t, pbx, one, "OPTIONS"); res.Status != 200 {
		t.Errorf("OPTIONS of another trunk: %d", res.Status)
	}

	// The call that goes on is touched by nothing, and a drain waits for it.
	if res, err := leg.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
		t.Errorf("INFO inside the call: %v, %v", res, err)
	}
	drain := launch(t, "trunks", "maintenance", "carrier", "on", "--drain", "--server", "http://"+two.admin)
	const said = "sipvigil: trunk carrier is draining, 1 call left\n"
	eventually(t, "it is draining, and says so", func() bool {
		return one.maintained("carrier") == `"state":"draining"` && drain.log.String() == said
	})
	if err := leg.Bye(limit(t, patience)); err != nil {
		t.Error(err)
	}
	drain.wait()
	if got := fmt.Sprint(drain.cmd.ProcessState.ExitCode(), " ", drain.log); got != "0 "+said {
		t.Errorf("the drain ended with %q, want %q", got, "0 "+said)
	}

	if ask(t, one, 0, &shown, "trunks", "maintenance", "carrier", "off"); shown.State != "in-service" {
		t.Errorf("after maintenance: %q", shown.State)
	}
	eventually(t, "the other node takes calls again", func() bool { return two.maintained("carrier") == `"state":"in-service"` })
	for _, d := range []*sipvigil{one, two} {
		leg, err := pbx.Call(limit(t, patience), d.udp, "sip:+15550100@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
		if err != nil {
			t.Fatal(err)
		}
		if err := leg.Bye(limit(t, patience)); err != nil {
			t.Error(err)
		}
	}
}

// The PBX counts any answer of ours, and any OPTIONS, as life: while nothing gets
// through to the carrier it gets neither 200 nor OPTIONS.
func TestACoupledTrunkIsToldThatThePathIsBroken(t *testing.T) {
	t.Parallel()
	pbx, carrier := phone(t, "pbx", "udp"), phone(t, "carrier", "udp")
	d := serve(t, "embedded", "--config", file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, targets: ["sip:%s"], sources: [127.0.0.0/8], coupled_to: carrier, %s}
  - {name: carrier, targets: ["sip:%s"], %s}
routes: [{to: [carrier]}]
`, pbx.Addr(), quickly, carrier.Addr(), quickly)))
	asked := func(p *ua.Phone) (n int) {
		for _, r := range p.Received() {
			if r.Message.Method == "OPTIONS" && !r.Retransmission {
				n++
			}
		}
		return n
	}
	eventually(t, "both are up", func() bool { return d.states("pbx")+d.states("carrier") == "up upup up" })
	if res := status(t, pbx, d, "OPTIONS"); res.Status != 200 {
		t.Errorf("OPTIONS while all is well: %d", res.Status)
	}

	carrier.Answer("OPTIONS", 503, "")
	eventually(t, "the carrier is down", func() bool { return d.states("carrier") == "down down" })
	if res := status(t, pbx, d, "OPTIONS"); res.Status != 503 || res.Get("Retry-After") != "30" {
		t.Errorf("OPTIONS while the carrier is down: %d, Retry-After %q", res.Status, res.Get("Retry-After"))
	}
	refused(t, pbx, d)
	// One may be on its way. The carrier is asked as often as the PBX would be.
	before, since := asked(pbx), asked(carrier)
	eventually(t, "the carrier was asked some more", func() bool { return asked(carrier) > since+3 })
	if n := asked(pbx) - before; n > 1 {
		t.Errorf("the PBX was asked %d times while the carrier was asked %d times", n, asked(carrier)-since)
	}

	carrier.Answer("OPTIONS", 200, "")
	eventually(t, "the carrier is up again", func() bool { return d.states("carrier") == "up up" })
	if res := status(t, pbx, d, "OPTIONS"); res.Status != 200 {
		t.Errorf("OPTIONS once the carrier is back: %d", res.Status)
	}
	before = asked(pbx)
	eventually(t, "the PBX is asked again", func() bool { return asked(pbx) > before })
}

const dispatcherConfig = `#!KAMAILIO
debug=2
log_stderror=yes
children=2
disable_tcp=yes
auto_aliases=no
listen=udp:ADDR
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "ctl.so"
loadmodule "dispatcher.so"
modparam("ctl", "binrpc", "unix:SOCKET")
modparam("dispatcher", "list_file", "LIST")
modparam("dispatcher", "ds_ping_interval", 1)
modparam("dispatcher", "ds_probing_mode", 1)
modparam("dispatcher", "ds_ping_from", "sip:dispatcher@ADDR")
request_route {
	sl_send_reply("200", "OK");
}
`

func TestKamailiosDispatcherSeesMaintenance(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded", "--config", file(t, "sipvigil.yaml", "trunks: [{name: edge, sources: [127.0.0.0/8]}]\n"))
	socket := filepath.Join(t.TempDir(), "ctl")
	addr := kamailio(t, "127.0.0.1", strings.NewReplacer("SOCKET", socket, "LIST", file(t, "dispatcher.list", "1 sip:"+d.udp+"\n")).Replace(dispatcherConfig))
	flags := func() string {
		out, _ := exec.CommandContext(limit(t, patience), "kamcmd", "-s", "unix:"+socket, "dispatcher.list").CombinedOutput()
		if m := regexp.MustCompile(`FLAGS: (\w+)`).FindSubmatch(out); m != nil {
			return string(m[1])
		}
		return string(out)
	}
	sees := func(want string) {
		t.Helper()
		var got string
		defer func() {
			if t.Failed() {
				t.Logf("kamailio at %s shows %s", addr, got)
			}
		}()
		eventually(t, "kamailio sees "+want, func() bool { got = flags(); return got == want })
	}
	asked := func() float64 { return d.metric(`sipvigil_b2bua_requests_total{method="OPTIONS"}`) }
	var shown struct{ State string }
	eventually(t, "kamailio asks", func() bool { return asked() > 0 })
	sees("AP")
	ask(t, d, 0, &shown, "trunks", "maintenance", "edge", "on")
	sees("IP")
	ask(t, d, 0, &shown, "trunks", "maintenance", "edge", "off")
	sees("AP")
	ask(t, d, 0, &shown, "nodes", "maintenance", "on")
	sees("IP")
	if code := d.status("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz of a node in maintenance: %d", code)
	}
	ask(t, d, 0, &shown, "nodes", "maintenance", "off")
	sees("AP")
}
