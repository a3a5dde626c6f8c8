package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
	"sipvigil/test/zone"
)

// trunk is what is looked at of a trunk in the API.
type trunk struct {
	Name, State string
	Addresses   []struct {
		Address, State, Use, Last string
		RTT                       float64 `json:"rtt_ms"`
	}
}

func (d *sipvigil) trunk(name string) trunk {
	d.t.Helper()
	var list struct{ Trunks []trunk }
	if status, body := d.http(http.MethodGet, "/api/v1/trunks"); status == http.StatusOK {
		if err := json.Unmarshal(body, &list); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, one := range list.Trunks {
		if one.Name == name {
			return one
		}
	}
	return trunk{}
}

// states are those of a trunk and of its addresses.
func (d *sipvigil) states(name string) string {
	one := d.trunk(name)
	all := []string{one.State}
	for _, a := range one.Addresses {
		all = append(all, a.State)
	}
	return strings.Join(all, " ")
}

// takes has a phone answer calls, and count them.
func takes(p *ua.Phone) *atomic.Int32 {
	calls := new(atomic.Int32)
	p.Handle(func(in *ua.Incoming) {
		calls.Add(1)
		_, _ = in.Accept(ua.SDP(40002))
	})
	return calls
}

// quickly monitors at short intervals. Answers have time on a busy machine.
const quickly = `monitor: {interval: 1s, interval_down: 1s, timeout: 10s, down_after: 2, up_after: 2}`

func TestCallsKeepAwayFromACarrierThatAnswers503ToOPTIONS(t *testing.T) {
	t.Parallel()
	first, second := phone(t, "first", "udp"), phone(t, "second", "udp")
	calledFirst, calledSecond := takes(first), takes(second)
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: first, targets: ["sip:%s"], %s}
  - {name: second, targets: ["sip:%s"], %s}
routes: [{to: [first, second]}]
`, first.Addr(), quickly, second.Addr(), quickly)))
	call := func() {
		t.Helper()
		leg, err := phone(t, "alice", "udp").Call(limit(t, patience), d.udp, "sip:+15550100@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
		if err != nil {
			t.Fatal(err)
		}
		if err := leg.Bye(limit(t, patience)); err != nil {
			t.Error(err)
		}
	}
	wantCalls := func(one, two int32) {
		t.Helper()
		if n, m := calledFirst.Load(), calledSecond.Load(); n != one || m != two {
			t.Errorf("%d and %d calls have come, want %d and %d", n, m, one, two)
		}
	}

	eventually(t, "both are up", func() bool { return d.states("first")+d.states("second") == "up upup up" })
	call()
	wantCalls(1, 0)

	first.Answer("OPTIONS", 503, "")
	eventually(t, "the first is down", func() bool { return d.states("first") == "down down" })
	call()
	wantCalls(1, 1)
	if a := d.trunk("first").Addresses[0]; a.Use != "never" || !strings.HasPrefix(a.Last, "503 ") {
		t.Errorf("the first carrier is shown as %+v", a)
	}

	first.Answer("OPTIONS", 200, "")
	eventually(t, "the first is up again", func() bool { return d.states("first") == "up up" })
	call()
	wantCalls(2, 1)
	if n := d.metric(`sipvigil_trunk_addresses{state="up",trunk="first"}`); n != 1 {
		t.Errorf("%v addresses of the first are up in the metrics, want 1", n)
	}
	var list struct{ Trunks []trunk }
	if ask(t, d, 0, &list, "trunks", "-o", "json"); len(list.Trunks) != 2 || list.Trunks[0].State != "up" {
		t.Errorf("sipvigil trunks shows %+v", list)
	}
	for _, r := range first.Received() {
		if m := r.Message; m.Method == "OPTIONS" && (strings.Contains(m.RequestURI, "@") || strings.Contains(m.Get("Contact"), "@") || m.Get("Contact") == "") {
			t.Fatalf("OPTIONS names a user, or has no Contact:\n%s", m.Raw)
		}
	}
}

func TestATrunkWithADeadAddressIsPartial(t *testing.T) {
	t.Parallel()
	dead, carrier := phone(t, "dead", "udp"), phone(t, "carrier", "udp")
	dead.Drop(everything)
	z := zone.New(strings.NewReplacer("ONE", port(dead.Addr()), "TWO", port(carrier.Addr())).Replace(`
_sip._udp.carrier.example. 1 IN SRV 1 0 ONE one.carrier.example.
_sip._udp.carrier.example. 1 IN SRV 2 0 TWO two.carrier.example.
one.carrier.example.       1 IN A   127.0.0.1
two.carrier.example.       1 IN A   127.0.0.1
`))
	addr, stop, err := z.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", file(t, "sipvigil.yaml", fmt.Sprintf(`sip: {dns: %q}
trunks: [{name: carrier, targets: ["sip:carrier.example"], monitor: {interval: 1s, interval_down: 1s, timeout: 5s, down_after: 1, up_after: 2}}]
routes: [{to: [carrier]}]
`, addr)))
	eventually(t, "one address is down", func() bool { return d.states("carrier") == "partial down up" })
	called := takes(carrier)
	leg, err := phone(t, "alice", "udp").Call(limit(t, patience), d.udp, "sip:+15550100@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
	if err != nil {
		t.Fatal(err)
	}
	if err := leg.Bye(limit(t, patience)); err != nil || called.Load() != 1 {
		t.Errorf("the carrier got %d calls, and BYE %v", called.Load(), err)
	}

	// The name leads elsewhere: the old address is forgotten.
	z.Set("carrier.example. 1 IN A 127.0.0.1\n_sip._udp.carrier.example. 1 IN SRV 1 0 " + port(carrier.Addr()) + " carrier.example.\n")
	eventually(t, "the trunk is up", func() bool { return d.states("carrier") == "up up" })
}

func TestACallIsNotEndedForTheSilenceOfItsTrunk(t *testing.T) {
	t.Parallel()
	carrier := trunkPhone(t, "carrier", "127.0.0.3")
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, targets: ["sip:127.0.0.2"], sources: [127.0.0.2]}
  - {name: carrier, targets: ["sip:%s"], sources: [127.0.0.3], monitor: {interval: 1s, interval_down: 1s, timeout: 3s, down_after: 2}}
routes: [{from: pbx, to: [carrier]}]
`, carrier.Addr())))
	c := &talk{callerPhone: trunkPhone(t, "pbx", "127.0.0.2"), calleePhone: carrier}
	c.connect(t, d)
	probed(t, c.callee, 2)
	held := func() string { s, _ := d.call(c.id); return s.Callee.Held }

	carrier.Drop(everything)
	eventually(t, "the call is held", func() bool { return held() == "trunk carrier does not answer either" })
	eventually(t, "the trunk is down", func() bool { return d.states("carrier") == "down down" })
	carrier.Drop(nil)
	eventually(t, "the call is held no more", func() bool { return held() == "" && d.states("carrier") == "up up" })
	if n := d.metric(`sipvigil_supervisor_brake_total{reason="trunk"}`); n < 1 {
		t.Error("the brake does not show in the metrics")
	}
	if s, ok := d.call(c.id); !ok || s.State != "confirmed" {
		t.Fatalf("the call is %+v", s)
	}

	c.callee.Silence() // the phone, and not its trunk
	released(t, c.caller)
	c.callee.Speak()
	if end := d.terminated(c.id); end.EndedBy != "callee-silent" {
		t.Errorf("the call ended by %s, want callee-silent", end.EndedBy)
	}
}
