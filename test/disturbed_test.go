package test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"sipvigil/test/ua"
	"sipvigil/test/zone"
)

// eventsOf are those of a call's events that are of one of these kinds.
func (d *sipvigil) eventsOf(t *testing.T, id string, kinds ...string) []happened {
	t.Helper()
	return slices.DeleteFunc(d.events(t, id), func(e happened) bool { return !slices.Contains(kinds, e.Kind) })
}

// calm are intervals so long that a probe that comes soon was brought forward.
var calm = []string{"--probe-interval", "10m"}

// asked waits until both legs of a call have answered a probe. The first one is
// long to come: the operator asks.
func asked(t *testing.T, d *sipvigil, c *talk) {
	t.Helper()
	if status, body := d.http(http.MethodPost, "/api/v1/calls/"+c.id+"/probe"); status != http.StatusOK {
		t.Fatalf("probe: %d %s", status, body)
	}
}

func TestAPhoneWhosePortIsClosedIsAskedAtOnceAndEndedByItsMissesOnly(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]string{"IPv4": "127.0.0.8", "IPv6": "[::1]"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := serve(t, "embedded", append([]string{"--listen", "udp://[::1]:0"}, calm...)...)
			c := dialVanishing(t, d, "udp", host)
			asked(t, d, c)
			c.calleePhone.Close() // without BYE
			closed := time.Now()
			go func() { _, _ = c.caller.Request(t.Context(), "INFO", "") }() // gets no answer
			end := released(t, c.caller)
			took := time.Since(closed)
			if took < 6*time.Second || took > time.Minute {
				t.Errorf("released after %v, want two probes of 3s, and no interval of 10m", took)
			}
			wantReason(t, end, `SIP;cause=408;text="No answer inside the dialog"`, "Q.850;cause=102")
			if shown := d.terminated(c.id); shown.EndedBy != "callee-silent" {
				t.Errorf("ended by %s", shown.EndedBy)
			}
			got := d.eventsOf(t, c.id, "disturbed", "miss", "verdict")
			if len(got) != 4 || got[0].Kind != "disturbed" || got[0].Text != "nothing listens at its port (ICMP)" ||
				got[1].Kind != "miss" || got[2].Kind != "miss" || got[3].Kind != "verdict" {
				t.Errorf("the history is %v", got)
			}
		})
	}
}

func TestAPhoneWhoseConnectionIsClosedIsAskedOverANewOne(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded", calm...)
	c := dialOver(t, d, "udp", "tcp")
	asked(t, d, c)
	seen := options(c.callee)
	c.calleePhone.Disconnect()
	within(t, patience, "the probe is brought forward", func() bool { return options(c.callee) > seen })
	within(t, patience, "the answer is in the history", func() bool {
		list := d.eventsOf(t, c.id, "disturbed", "answer", "miss")
		n := len(list)
		return n >= 2 && list[n-2].Text == "its connection is closed" && list[n-1].Text == "200 OPTIONS"
	})
	if shown, _ := d.call(c.id); shown.State != "confirmed" || shown.Callee.Liveness != "alive" {
		t.Errorf("the call is %+v", shown)
	}
	hangUp(t, c.caller, c.callee)
}

// Eight addresses that had to be waited for, 4 s each, would outlast its patience.
func TestACarrierWhosePortIsClosedIsSkippedAtOnce(t *testing.T) {
	t.Parallel()
	carrier := phone(t, "carrier", "udp")
	records := "carrier.example. 60 IN A 127.0.0.1\n" +
		"_sip._udp.carrier.example. 60 IN SRV 9 0 " + port(carrier.Addr()) + " carrier.example.\n" +
		"closed.example. 60 IN A 127.0.0.9\n" // where nobody listens
	for i := range 8 {
		records += fmt.Sprintf("_sip._udp.carrier.example. 60 IN SRV %d 0 %d closed.example.\n", i+1, 5060+i)
	}
	d := servedBy(t, zone.New(records))
	caller := phone(t, "alice", "udp")
	call := caller.Dial("sip:"+d.udp, "sip:bob@carrier.example", ua.Offer{SDP: ua.SDP(40000)})
	in, err := carrier.Invited(limit(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	callee, err := in.Accept(ua.SDP(40002))
	if err != nil {
		t.Fatal(err)
	}
	dialog, err := call.Wait(limit(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	hangUp(t, dialog, callee)
}
