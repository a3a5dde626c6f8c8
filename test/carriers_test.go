package test

import (
	"fmt"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// The carriers are SIPp: one is out of service, and comes back.
func TestSIPpCarriersGetCallsByWhatTheyAnswerToOPTIONS(t *testing.T) {
	t.Parallel()
	first, second := storetest.FreePort(t), storetest.FreePort(t)
	many := load{transport: "u1", calls: 100_000}
	out := sipp(t, "carrier503.xml", many, first, "-fd", "1")
	sipp(t, "carrier.xml", many, second)
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", optionsOnly(t, fmt.Sprintf(`trunks:
  - {name: first, targets: ["sip:127.0.0.1:%d"], %s}
  - {name: second, targets: ["sip:127.0.0.1:%d"], %s}
routes: [{to: [first, second]}]
`, first, quickly, second, quickly)))
	call := func(port int) {
		t.Helper()
		leg, err := phone(t, "alice", "udp").Call(limit(t, patience), d.udp, "sip:+15550100@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := d.call(leg.CallID); !ok || c.Callee.Peer != fmt.Sprintf("127.0.0.1:%d", port) {
			t.Errorf("the call went to %s, want port %d", c.Callee.Peer, port)
		}
		if err := leg.Bye(limit(t, patience)); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "only the second is up", func() bool { return d.states("first")+", "+d.states("second") == "down down, up up" })
	call(second)
	call(second)
	eventually(t, "SIPp has counted what it got", func() bool { return out.stat("SuccessfulCall(C)") != "0" })
	if n := out.stat("FailedCall(C)"); n != "0" {
		t.Errorf("the carrier that is down got %s messages that are no OPTIONS\n%s", n, out.report())
	}

	_ = out.cmd.Process.Kill()
	<-out.ended
	sipp(t, "carrier.xml", many, first)
	eventually(t, "the first is up again", func() bool { return d.states("first") == "up up" })
	call(first)
}
