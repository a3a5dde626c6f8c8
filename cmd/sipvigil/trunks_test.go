package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const twoTrunks = `{"trunks":[{"name":"carrier","state":"partial","since":"2026-03-01T12:00:00.000Z","preset":"","probe":"options","addresses":[` +
	`{"target":"sip:carrier.example","transport":"udp","address":"192.0.2.1:5060","state":"up","use":"first","since":"2026-03-01T12:00:00.000Z","rtt_ms":12.345,` +
	`"last":"200 OK to OPTIONS","last_at":"2026-03-01T12:00:01.000Z","next":"2026-03-01T12:02:00.000Z"},` +
	`{"target":"sip:nowhere.example","transport":"","address":"","state":"down","use":"never","rtt_ms":0,"last":"no such name"}]},` +
	`{"name":"pbx","state":"unknown","preset":"","probe":"none","addresses":[]}]}`

func TestTrunksAreListed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/trunks" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(twoTrunks))
	}))
	t.Cleanup(s.Close)
	wantRun(t, run(t, s.URL, "trunks", "-o", "csv"), ran{Out: "trunk,trunk_state,target,transport,address,state,use,since,rtt_ms,last,last_at,next,in,out,capacity_in,capacity_out,capacity_total,cps,suspect,silent,held,reclaimed,reclaimed_seconds\n" +
		"carrier,partial,sip:carrier.example,udp,192.0.2.1:5060,up,first,2026-03-01T12:00:00.000Z,12.345,200 OK to OPTIONS,2026-03-01T12:00:01.000Z,2026-03-01T12:02:00.000Z,0,0,0,0,0,0,0,0,0,0,0\n" +
		"carrier,partial,sip:nowhere.example,,,down,never,,0,no such name,,,0,0,0,0,0,0,0,0,0,0,0\n" +
		"pbx,unknown,,,,,,,0,,,,0,0,0,0,0,0,0,0,0,0,0\n"})
}

func TestTheTableOfTrunks(t *testing.T) {
	r, err := reportTrunks(json.RawMessage(twoTrunks))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.print(&b, "table", terminal{width: 100}, time.Date(2026, 3, 1, 12, 1, 5, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	const want = `TRUNK                  STATE    SINCE  CHANNELS  STALE  RECLAIMED  RTT      LAST               NEXT
carrier                partial  1m05s  -         -      -
  udp 192.0.2.1:5060   up       1m05s                              12.3 ms  200 OK to OPTIONS  55s
  sip:nowhere.example  down     -                                  -        no such name       -
pbx                    unknown  -      -         -      -
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
