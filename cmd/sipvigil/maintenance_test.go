package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maintained answers one state after the other, and notes what was asked.
func maintained(t *testing.T, states ...string) (url string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body)))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, states[0])
		states = states[1:]
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestMaintenanceIsSetAndShown(t *testing.T) {
	const on = `{"scope":"trunk","name":"carrier","state":"maintenance","since":"2026-03-01T12:00:00.000Z","calls":3}`
	const off = `{"scope":"node","name":"edge-1","state":"in-service","calls":12}`
	url, asked := maintained(t, on, on, off, off)
	csv := func(row string) ran { return ran{Out: "scope,name,state,since,calls\n" + row + "\n"} }
	wantRun(t, run(t, url, "trunks", "maintenance", "carrier", "on", "-o", "csv"), csv("trunk,carrier,maintenance,2026-03-01T12:00:00.000Z,3"))
	wantRun(t, run(t, url, "trunks", "maintenance", "carrier", "-o", "jsonl"), ran{Out: on + "\n"})
	wantRun(t, run(t, url, "nodes", "maintenance", "off"), ran{Out: "OF    NAME    STATE       SINCE  CALLS\nnode  edge-1  in-service  -      12\n"})
	wantRun(t, run(t, url, "nodes", "maintenance", "--node", "edge-1", "-o", "csv"), csv("node,edge-1,in-service,,12"))
	if diff := cmp.Diff([]string{
		`PUT /api/v1/trunks/carrier/maintenance {"on":true}`,
		`GET /api/v1/trunks/carrier/maintenance`,
		`PUT /api/v1/nodes/-/maintenance {"on":false}`,
		`GET /api/v1/nodes/edge-1/maintenance`,
	}, *asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	for _, args := range [][]string{{"trunks", "maintenance", "carrier", "maybe"}, {"trunks", "maintenance", "carrier", "--drain"},
		{"nodes", "maintenance", "off", "--drain"}, {"trunks", "maintenance"}} {
		if got := run(t, url, args...); got.Code != 2 {
			t.Errorf("%v: exit code %d", args, got.Code)
		}
	}
}

func TestDrainWaitsAndSaysHowManyAreLeft(t *testing.T) {
	const state = `{"scope":"trunk","name":"carrier","state":"%s","since":"2026-03-01T12:00:00.000Z","calls":%d}`
	drain := []string{"trunks", "maintenance", "carrier", "on", "--drain", "-o", "csv"}
	url, _ := maintained(t, fmt.Sprintf(state, "draining", 2), fmt.Sprintf(state, "draining", 1), fmt.Sprintf(state, "drained", 0))
	wantRun(t, run(t, url, drain...), ran{
		Out:    "scope,name,state,since,calls\ntrunk,carrier,drained,2026-03-01T12:00:00.000Z,0\n",
		Errors: "sipvigil: trunk carrier is draining, 2 calls left\nsipvigil: trunk carrier is draining, 1 call left\n",
	})
	url, _ = maintained(t, fmt.Sprintf(state, "draining", 1), fmt.Sprintf(state, "in-service", 1))
	if got := run(t, url, drain...); got.Code != 1 || !strings.Contains(got.Errors, "not to be drained any more: it is in-service") {
		t.Errorf("when somebody else ends it: %+v", got)
	}
}
