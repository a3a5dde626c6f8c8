package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
	"sipvigil/test/zone"
)

// servedBy starts a daemon that sends calls to carrier.example, which this zone
// knows.
func servedBy(t *testing.T, z *zone.Zone) *sipvigil {
	t.Helper()
	addr, stop, err := z.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	path := filepath.Join(t.TempDir(), "sipvigil.yaml")
	if err := os.WriteFile(path, []byte(fmt.Sprintf(`
sip: {dns: %q}
trunks: [{name: carrier, targets: ["sip:carrier.example"]}]
routes: [{to: [carrier]}]
`, addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	redisURL, _ := storetest.Redis(t)
	return serve(t, redisURL, "--config", path)
}

// pair is a zone in which carrier.example has two servers for a transport.
func pair(transport, first, second string) *zone.Zone {
	_, one, _ := net.SplitHostPort(first)
	_, two, _ := net.SplitHostPort(second)
	return zone.New(strings.NewReplacer("TRANSPORT", transport, "LETTER", transport[:1], "ONE", one, "TWO", two).Replace(`
carrier.example.                 60 IN NAPTR 10 10 "s" "SIP+D2LETTER" "" _sip._TRANSPORT.carrier.example.
_sip._TRANSPORT.carrier.example. 60 IN SRV   1 0 ONE one.carrier.example.
_sip._TRANSPORT.carrier.example. 60 IN SRV   2 0 TWO two.carrier.example.
one.carrier.example.             60 IN A     127.0.0.1
two.carrier.example.             60 IN A     127.0.0.1
`))
}

// through calls over the daemon, has the phone answer, and ends the call after
// some probes.
func through(t *testing.T, d *sipvigil, callee *ua.Phone) {
	t.Helper()
	ctx := limit(t, patience)
	alice := phone(t, "alice", "udp")
	call := alice.Dial("sip:"+d.udp, "sip:+15550100@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
	in, err := callee.Invited(ctx)
	if err != nil {
		t.Fatalf("no call came: %v, %v", err, waited(call))
	}
	if cseq, _ := in.Request.CSeq(); cseq != 1 || in.Request.RequestURI != "sip:+15550100@carrier.example" {
		t.Errorf("the INVITE is %v for %s", cseq, in.Request.RequestURI)
	}
	callee1, err := in.Accept(ua.SDP(40002))
	if err != nil {
		t.Fatal(err)
	}
	caller, err := call.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &talk{callerPhone: alice, calleePhone: callee, caller: caller, callee: callee1}
	probed(t, c.callee, 2)
	hangUp(t, c.caller, c.callee)
	c.check(t)
}

func TestACallToANameCompletesAtItsSecondAddress(t *testing.T) {
	t.Parallel()
	t.Run("the first is silent", func(t *testing.T) {
		t.Parallel()
		dead, carrier := phone(t, "dead", "udp"), phone(t, "carrier", "udp")
		dead.Drop(func(ua.Direction, *ua.Message) bool { return true })
		z := pair("udp", dead.Addr(), carrier.Addr())
		through(t, servedBy(t, z), carrier)
		want := "carrier.example NAPTR, _sip._udp.carrier.example SRV, one.carrier.example A, two.carrier.example A"
		var asked []string
		for _, q := range z.Asked() {
			if !slices.Contains(asked, q) { // else its answer was late, and it came once more
				asked = append(asked, q)
			}
		}
		if len(asked) != 4 || !strings.HasPrefix(want, asked[0]+", "+asked[1]) { // the last two come in any order
			t.Errorf("asked %v, want %s", asked, want)
		}
	})
	t.Run("the first refuses connections", func(t *testing.T) {
		t.Parallel()
		dead, err := net.Listen("tcp4", "127.0.0.9:0") // where nobody else listens
		if err != nil {
			t.Fatal(err)
		}
		carrier := phone(t, "carrier", "tcp")
		_ = dead.Close()
		through(t, servedBy(t, pair("tcp", dead.Addr().String(), carrier.Addr())), carrier)
	})
	t.Run("the first is out of service", func(t *testing.T) {
		t.Parallel()
		busy, carrier := phone(t, "busy", "udp"), phone(t, "carrier", "udp")
		busy.Handle(func(in *ua.Incoming) { in.Reject(503, "") })
		through(t, servedBy(t, pair("udp", busy.Addr(), carrier.Addr())), carrier)
	})
}
