package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/web"
)

var noon = time.Date(2026, 3, 1, 11, 25, 0, 0, time.UTC)

// fetched are calls as a client reads them.
func fetched(t *testing.T, calls []store.Call) listing {
	t.Helper()
	c, err := newClient(serve(t, &fakeCalls{calls: calls}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	l, err := c.list(t.Context(), map[string][]string{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTableFitsTheTerminal(t *testing.T) {
	r, err := reportCalls(fetched(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	test := func(width int, want string) {
		t.Helper()
		var b bytes.Buffer
		if err := r.print(&b, "table", terminal{width: width}, noon); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, b.String()); d != "" {
			t.Errorf("width %d (-want +got):\n%s", width, d)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(line) - 1; width > 0 && n > width {
				t.Errorf("width %d: a line has %d characters", width, n)
			}
		}
	}
	test(0, `ID                                    STATUS         AGE     FROM         TO               EVIDENCE   IN   OUT        NODE
0198c0de-0000-7000-8000-000000000001  alive          25m00s  +4930123456  carrier.example  12s/12s    pbx  carrier-a  edge-1
0198c0de-0000-7000-8000-000000000002  silent callee  5m00s   +4930123456  carrier.example  12s/2m50s  pbx  carrier-b  edge-2
0198c0de-0000-7000-8000-000000000003  callee-silent  25m00s  +4930123456  carrier.example  12s/-      pbx  _other     edge-1
`)
	test(110, `ID                                    STATUS       AGE     FROM         TO           EVIDENCE   IN   OUT
0198c0de-0000-7000-8000-000000000001  alive        25m00s  +4930123456  carrier.ex…  12s/12s    pbx  carrier-a
0198c0de-0000-7000-8000-000000000002  silent cal…  5m00s   +4930123456  carrier.ex…  12s/2m50s  pbx  carrier-b
0198c0de-0000-7000-8000-000000000003  callee-sil…  25m00s  +4930123456  carrier.ex…  12s/-      pbx  _other
`)
	test(80, `ID                                    STATUS    AGE     FROM         TO
0198c0de-0000-7000-8000-000000000001  alive     25m00s  +4930123456  carrier.ex…
0198c0de-0000-7000-8000-000000000002  silent …  5m00s   +4930123456  carrier.ex…
0198c0de-0000-7000-8000-000000000003  callee-…  25m00s  +4930123456  carrier.ex…
`)
	test(60, `ID                                    STATUS     FROM
0198c0de-0000-7000-8000-000000000001  alive      +4930123456
0198c0de-0000-7000-8000-000000000002  silent c…  +4930123456
0198c0de-0000-7000-8000-000000000003  callee-s…  +4930123456
`)
	test(40, `ID                                    S…
0198c0de-0000-7000-8000-000000000001  a…
0198c0de-0000-7000-8000-000000000002  s…
0198c0de-0000-7000-8000-000000000003  c…
`)
}

func TestNothingInATableReachesTheTerminal(t *testing.T) {
	calls := sample()[:1]
	calls[0].Legs[0].RemoteURI = "\x1b[2J\u202e\r\n<sip:x@y>"
	calls[0].TrunkIn = "a\tb"
	r, err := reportCalls(fetched(t, calls))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.print(&b, "table", terminal{}, noon); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.ContainsAny(got, "\x1b\u202e\r\t") || strings.Count(got, "\n") != 2 {
		t.Errorf("got %q", got)
	}
}

func TestShowStandsSideBySideWhereItFits(t *testing.T) {
	l := fetched(t, sample()[2:])
	r, err := reportCall(l.items[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	test := func(width int, want string) {
		t.Helper()
		var b bytes.Buffer
		if err := r.print(&b, "table", terminal{width: width}, noon.Add(2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, b.String()); d != "" {
			t.Errorf("width %d (-want +got):\n%s", width, d)
		}
	}
	test(0, `id         0198c0de-0000-7000-8000-000000000003
state      terminated
liveness   alive
node       edge-1
trunks     pbx → _other
started    2026-03-01T11:00:00.000Z (2h25m ago)
answered   2026-03-01T11:00:07.000Z (2h24m ago)
ended      2026-03-01T11:25:00.000Z (2h00m ago), callee-silent, 408, no answer to 2 probes

             CALLER                                  CALLEE
uri          "Ann <3" <sip:+4930123456@pbx.example>  <sip:carrier.example;user=phone>
call-id      a/3@phone                               b-3
peer         192.0.2.9:5060 udp                      198.51.100.7:5060 tcp
target       sip:ann@192.0.2.9                       sip:198.51.100.7
user agent   phone/1
cseq         local 12, remote 2                      local 3, remote 0
liveness     alive                                   alive
last alive   2026-03-01T11:24:48.000Z (2h00m ago)
evidence     200 OPTIONS                             200 OPTIONS
held
misses       0                                       0
rtt          12.3 ms                                 12.3 ms
method       OPTIONS                                 OPTIONS
calibration  discriminating                          discriminating
session      expires after 1800s, refreshed by peer
released     confirmed                               unconfirmed
`)
	test(80, `id         0198c0de-0000-7000-8000-000000000003
state      terminated
liveness   alive
node       edge-1
trunks     pbx → _other
started    2026-03-01T11:00:00.000Z (2h25m ago)
answered   2026-03-01T11:00:07.000Z (2h24m ago)
ended      2026-03-01T11:25:00.000Z (2h00m ago), callee-silent, 408, no answer to 2 probes

CALLER
uri          "Ann <3" <sip:+4930123456@pbx.example>
call-id      a/3@phone
peer         192.0.2.9:5060 udp
target       sip:ann@192.0.2.9
user agent   phone/1
cseq         local 12, remote 2
liveness     alive
last alive   2026-03-01T11:24:48.000Z (2h00m ago)
evidence     200 OPTIONS
held
misses       0
rtt          12.3 ms
method       OPTIONS
calibration  discriminating
session      expires after 1800s, refreshed by peer
released     confirmed
CALLEE
uri          <sip:carrier.example;user=phone>
call-id      b-3
peer         198.51.100.7:5060 tcp
target       sip:198.51.100.7
user agent
cseq         local 3, remote 0
liveness     alive
last alive
evidence     200 OPTIONS
held
misses       0
rtt          12.3 ms
method       OPTIONS
calibration  discriminating
session
released     unconfirmed
`)
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59900 * time.Millisecond: "59s", time.Minute: "1m00s", 3599 * time.Second: "59m59s",
		time.Hour + 5*time.Minute: "1h05m", 24 * time.Hour: "1d00h", 75 * time.Hour: "3d03h",
	} {
		if got := ago(web.Time{Time: noon.Add(-d)}, noon); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := ago(web.Time{}, noon); got != "-" {
		t.Errorf("never: %q", got)
	}
}

func TestStatusIsTheOneThingToKnow(t *testing.T) {
	test := func(call, want string) {
		t.Helper()
		var c web.Call
		if err := json.Unmarshal([]byte(call), &c); err != nil {
			t.Fatal(err)
		}
		if got := status(&c); got != want {
			t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
	test(`{"state": "early"}`, "early")
	test(`{"state": "ending", "ended_by": "operator"}`, "ending")
	test(`{"state": "terminated", "ended_by": "caller-gone"}`, "caller-gone")
	test(`{"state": "confirmed", "caller": {"liveness": "alive"}, "callee": {"liveness": "alive"}, "liveness": "alive"}`, "alive")
	test(`{"state": "confirmed", "caller": {"liveness": "alive"}, "callee": {"liveness": "suspect"}, "liveness": "suspect"}`, "suspect callee")
	test(`{"state": "confirmed", "caller": {"liveness": "alive"}, "callee": {"liveness": "silent", "held": "so"}, "liveness": "silent"}`, "silent (held)")
	test(`{"state": "confirmed", "caller": {"liveness": "gone"}, "callee": {"liveness": "silent"}, "liveness": "gone"}`, "gone caller")
}

func TestPartyIsTheUserOrTheHost(t *testing.T) {
	for addr, want := range map[string]string{
		`"Ann <3" <sip:ann@host;x=y>;p`: "ann", "sip:+1555@host": "+1555", "<sip:host:5070>": "host", "<tel:+1555;x=y>": "+1555",
		"garbage": "garbage", "": "",
	} {
		if got := party(addr); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

func TestANarrowTerminalLeavesOutWhatCanBeDoneWithoutNotWhyACallEnded(t *testing.T) {
	var b strings.Builder
	records := []supervisor.CDR{{Ended: "2026-03-01T11:25:00.000Z", EndedBy: "callee-rejected", Proven: 7}}
	if err := cdrsTable(records).print(&b, terminal{width: 60}); err != nil {
		t.Fatal(err)
	}
	if want := "ENDED                 BY               FROM  TO  BILLED\n2026-03-01T11:25:00Z  callee-rejected            -\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
