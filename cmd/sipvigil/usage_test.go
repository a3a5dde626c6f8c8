package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/supervisor/web"
)

const someTrunks = `{"trunks":[{"name":"pbx","state":"unwatched","preset":"","probe":"","addresses":[],"usage":{"in":7,"out":0,"all_nodes":false,` +
	`"capacity":{"in":0,"out":0,"total":0,"cps":0},"calls":7,"suspect":1,"silent":2,"held":2,"reclaimed":0,"reclaimed_seconds":0,"worst_peers":[],"worst_user_agents":[]}},` +
	`{"name":"carrier","state":"partial","since":"2026-03-01T11:00:00.000Z","preset":"","probe":"options","addresses":[` +
	`{"target":"sip:c.example","transport":"udp","address":"192.0.2.1:5060","state":"up","use":"first","since":"2026-03-01T11:00:00.000Z","rtt_ms":1.5,"last":"200 OPTIONS","last_at":"2026-03-01T11:00:00.000Z"}],` +
	`"usage":{"in":1,"out":40,"all_nodes":true,"capacity":{"in":0,"out":50,"total":0,"cps":10},"calls":20,"suspect":0,"silent":0,"held":0,"reclaimed":3,"reclaimed_seconds":240.5,` +
	`"worst_peers":[{"name":"192.0.2.1","legs":3}],"worst_user_agents":[{"name":"Old \u001b[31m PBX","legs":2}]}}]}`

func TestTrunksShowTheirChannels(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(someTrunks))
	}))
	t.Cleanup(s.Close)
	wantTable(t, reportTrunks, someTrunks, ""+
		"TRUNK                 STATE      SINCE  CHANNELS         STALE  RECLAIMED  RTT     LAST         NEXT\n"+
		"pbx                   unwatched  -      7                3      0\n"+
		"carrier               partial    1h00m  1 in, 40/50 out  0      3\n"+
		"  udp 192.0.2.1:5060  up         1h00m                                     1.5 ms  200 OPTIONS  -\n")
	wantRun(t, run(t, s.URL, "trunks", "-o", "csv"), ran{Out: "trunk,trunk_state,target,transport,address,state,use,since,rtt_ms,last,last_at,next," +
		"in,out,capacity_in,capacity_out,capacity_total,cps,suspect,silent,held,reclaimed,reclaimed_seconds\n" +
		"pbx,unwatched,,,,,,,0,,,,7,0,0,0,0,0,1,2,2,0,0\n" +
		"carrier,partial,sip:c.example,udp,192.0.2.1:5060,up,first,2026-03-01T11:00:00.000Z,1.5,200 OPTIONS,2026-03-01T11:00:00.000Z,,1,40,0,50,0,10,0,0,0,3,240.5\n"})
	show := func(body json.RawMessage) (report, error) {
		var list web.Trunks
		err := json.Unmarshal(body, &list)
		return reportTrunk(body, &list.Trunks[1]), err
	}
	wantTable(t, show, someTrunks, ""+
		"TRUNK                 STATE    SINCE  CHANNELS         STALE  RECLAIMED  RTT     LAST         NEXT\n"+
		"carrier               partial  1h00m  1 in, 40/50 out  0      3\n"+
		"  udp 192.0.2.1:5060  up       1h00m                                     1.5 ms  200 OPTIONS  -\n\n"+
		"CHANNELS                                      NUMBER  CALLS\n"+
		"in use by calls from it, all nodes            1       sipvigil calls --trunk carrier\n"+
		"in use by calls to it, all nodes              40/50   sipvigil calls --trunk carrier\n"+
		"calls that may begin in a second              10\n"+
		"suspect calls                                 0       sipvigil calls --trunk carrier --liveness suspect\n"+
		"silent calls                                  0       sipvigil calls --trunk carrier --liveness silent\n"+
		"held calls                                    0       sipvigil calls --trunk carrier --held\n"+
		"reclaimed since the start                     3       sipvigil calls --trunk carrier --state terminated\n"+
		"seconds of these after the last sign of life  240\n"+
		"found dead at peer 192.0.2.1                  3\n"+
		"found dead with User-Agent Old �[31m PBX      2\n")
	if got := run(t, s.URL, "trunks", "show", "carrier", "-o", "jsonl"); !strings.HasPrefix(got.Out, `{"name":"carrier","state":"partial"`) {
		t.Errorf("show: %+v", got)
	}
	wantRun(t, run(t, s.URL, "trunks", "show", "carier"), ran{Code: 1, Errors: "sipvigil: " + s.URL + " has no trunk \"carier\", there are pbx, carrier\n"})
}

// wantTable checks a report as a table, at noon of the day of the samples.
func wantTable(t *testing.T, report func(json.RawMessage) (report, error), body, want string) {
	t.Helper()
	r, err := report(json.RawMessage(body))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := r.table(&got, terminal{}, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
}
