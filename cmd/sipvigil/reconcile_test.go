package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

func TestCallIDsAreReadFromWhatCarriersSend(t *testing.T) {
	for _, c := range []struct{ name, text, column, want, fault string }{
		{"a list", "a@h\nb@h\n", "", "a@h b@h", ""},
		{"each once, without the last line end, with empty lines", "a\n\nb\na", "", "a b", ""},
		{"a column with a name", "start,Call-ID,to\n1,a,x\n2,b,y\n", "", "a b", ""},
		{"semicolons, a byte order mark, line ends of Windows", "\xef\xbb\xbfto;sip_call_id\r\nx;a\r\ny;b\r\n", "", "a b", ""},
		{"tabs, line ends of old", "to\tCALL ID\rx\ta\ry\tb\r", "", "a b", ""},
		{"the only column may have a name, too", "callid\na\n", "", "a", ""},
		{"quotes", "to,call_id\n\"x, y\",\"a\"\"b\"\n", "", `a"b`, ""},
		{"a column of another name", "leg,id\nx,a\n", "LEG", "x", ""},
		{"nothing at all", "", "", "", ""},
		{"only a name", "Call-ID\n", "", "", ""},
		{"which column?", "a,b\nc,d\n", "", "", "does not say which column holds the Call-IDs, name it with --column: a, b"},
		{"no such column", "a,b\n", "c", "", `has no column "c", there are a, b`},
		{"two of them", "call_id,Call-ID\n1,2\n", "", "", "has 2 columns of Call-IDs: call_id, Call-ID"},
		{"a row without one", "to,call_id\nx,a\ny\n", "", "", "row 3 has no Call-ID"},
		{"another column", "when\n2026-03-01 12:00:00\n", "when", "", `row 2: "2026-03-01 12:00:00" is no Call-ID: is it another column? name it with --column`},
		{"an open quote", "call_id\n\"a\nb\n", "", "", `cannot be read as CSV: record on line 2; parse error on line 3, column 3: extraneous or missing " in quoted-field`},
		{"UTF-16", "\xff\xfea\x00", "", "", "is UTF-16 or no text at all: save it as CSV in UTF-8"},
		{"no UTF-8", "call_id\n\xe4\n", "", "", "is not UTF-8: save it as CSV in UTF-8"},
		{"far too long", strings.Repeat("a", 2000), "", "", `row 1: "` + strings.Repeat("a", 40) + `" is no Call-ID: is it another column? name it with --column`},
	} {
		ids, err := parseCallIDs(strings.NewReader(c.text), c.column)
		fault := ""
		if err != nil {
			fault = err.Error()
		}
		if got := strings.Join(ids, " "); got != c.want || fault != c.fault {
			t.Errorf("%s: got %q, %q; want %q, %q", c.name, got, fault, c.want, c.fault)
		}
	}
}

func FuzzCallIDsOfAnyFile(f *testing.F) {
	for _, s := range []string{"a\nb", "x,call_id\n1,a", "\"", "\xff\xfe", "a;b\tc,d\n", "call_id\n\"a\nb\""} {
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, text, column string) {
		ids, err := parseCallIDs(strings.NewReader(text), column)
		if err != nil && ids != nil {
			t.Errorf("%d Call-IDs and %v", len(ids), err)
		}
		seen := make(map[string]bool)
		for _, id := range ids {
			if id == "" || seen[id] || strings.ContainsAny(id, " \t\r\n") {
				t.Errorf("Call-ID %q", id)
			}
			seen[id] = true
		}
	})
}

// twoCalls is a server with trunk carrier, which has a call in each direction,
// and one that has ended without the carrier's confirmation. The list of one state
// is partial if it is named: confirmed stands for what goes on.
func twoCalls(t *testing.T, partial store.State) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := `{"trunks":[{"name":"pbx"},{"name":"carrier"}]}`
		if r.URL.Path == "/api/v1/calls" {
			q := r.URL.Query()
			if q.Get("trunk") != "carrier" {
				t.Errorf("asked for calls of trunk %q", q.Get("trunk"))
			}
			body = `{"calls":[` +
				`{"id":"1","state":"confirmed","started":"2026-03-01T11:00:00.000Z","trunk_in":"pbx","trunk_out":"carrier",` +
				`"caller":{"call_id":"in-1","uri":"<sip:200@pbx>","liveness":"alive"},"callee":{"call_id":"out-1","liveness":"silent","last_alive":"2026-03-01T11:10:00.000Z"}},` +
				`{"id":"2","state":"confirmed","started":"2026-03-01T11:30:00.000Z","trunk_in":"carrier","trunk_out":"pbx",` +
				`"caller":{"call_id":"in-2","liveness":"alive"},"callee":{"call_id":"out-2","uri":"<sip:201@pbx>","liveness":"alive"}}]`
			state := store.Confirmed
			if q.Get("state") == "terminated" {
				state = store.Terminated
				body = `{"calls":[{"id":"3","state":"terminated","ended_by":"callee-silent","trunk_in":"pbx","trunk_out":"carrier",` +
					`"caller":{"uri":"<sip:=202@pbx>"},"callee":{"call_id":"out-3","released":"unconfirmed"}},` +
					`{"id":"4","state":"terminated","ended_by":"caller-bye","trunk_in":"pbx","trunk_out":"carrier","callee":{"call_id":"out-4","released":"confirmed"}}]`
			}
			if partial == state {
				body += `,"partial":true`
			}
			body += "}"
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestReconcilingTwoLists(t *testing.T) {
	url := twoCalls(t, "")
	list := func(text string) string {
		path := filepath.Join(t.TempDir(), "carrier.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wantRun(t, run(t, url, "trunks", "reconcile", "carrier", "--csv", list("in-2\nout-1\n"), "-o", "jsonl"), ran{})
	compare := func(body json.RawMessage) (report, error) {
		var s sides
		err := json.Unmarshal(body, &s)
		r, _ := s.report()
		return r, err
	}
	got := run(t, url, "trunks", "reconcile", "carrier", "--csv", list("call_id,to\nin-2,1\nlost,2\n"), "-o", "json")
	wantTable(t, compare, got.Out, ""+
		"ONLY     CALL-ID  STATE   AGE    EVIDENCE  NUMBER  CALL\n"+
		"ours     out-1    silent  1h00m  50m00s    200     1\n"+
		"carrier  lost     -       -      -\n")
	csv := run(t, url, "trunks", "reconcile", "carrier", "--csv", list("in-2\n=lost\n"), "-o", "csv")
	wantRun(t, csv, ran{Code: 1, Out: "side,call_id,call,state,started,evidence,number,sure\n" +
		"ours,out-1,1,silent,2026-03-01T11:00:00.000Z,2026-03-01T11:10:00.000Z,200,true\n" +
		"carrier,'=lost,,,,,,true\n", Errors: "sipvigil: trunk carrier: 2 here, 2 at the carrier, 2 calls are on one side only\n"})
}

func TestReconcilingACount(t *testing.T) {
	url := twoCalls(t, "")
	wantRun(t, run(t, url, "trunks", "reconcile", "carrier", "--carrier-count", "2"), ran{Out: "ONLY  CALL-ID  STATE  AGE  EVIDENCE  NUMBER  CALL\n"})
	wantRun(t, run(t, url, "trunks", "reconcile", "carrier", "--carrier-count", "0", "-o", "csv"), ran{Code: 1, Out: "" +
		"side,call_id,call,state,started,evidence,number,sure\n" +
		"ours,out-1,1,silent,2026-03-01T11:00:00.000Z,2026-03-01T11:10:00.000Z,200,false\n", Errors: "sipvigil: trunk carrier: 2 here, 0 at the carrier, 2 more here\n"})
	more := run(t, url, "trunks", "reconcile", "carrier", "--carrier-count", "5", "-o", "json")
	want := `{
  "trunk": "carrier",
  "ours": 2,
  "carrier": 5,
  "both": 2,
  "only": [
    {
      "side": "carrier",
      "call_id": "out-3",
      "call": "3",
      "state": "ended by callee-silent, release unconfirmed",
      "number": "=202",
      "sure": false
    }
  ]
}
`
	if d := cmp.Diff(ran{Code: 1, Out: want, Errors: "sipvigil: trunk carrier: 2 here, 5 at the carrier, 3 more at the carrier\n"}, more); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestReconcilingIsRefused(t *testing.T) {
	url := twoCalls(t, "")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"without a side":        {[]string{"carrier"}, 2, "give one of --carrier-count and --csv"},
		"with both":             {[]string{"carrier", "--carrier-count", "1", "--csv", "x"}, 2, "give one of --carrier-count and --csv"},
		"a count below 0":       {[]string{"carrier", "--carrier-count", "-2"}, 2, "--carrier-count: -2 is below 0"},
		"a column of a count":   {[]string{"carrier", "--carrier-count", "2", "--column", "x"}, 2, "--column is for --csv"},
		"no such file":          {[]string{"carrier", "--csv", "/nonexistent"}, 2, "--csv: open /nonexistent: no such file or directory"},
		"a trunk that is none":  {[]string{"carier", "--carrier-count", "1"}, 1, `has no trunk "carier", there are pbx, carrier`},
		"no trunk at all":       {[]string{"--carrier-count", "1"}, 2, "0 arguments, where the form is sipvigil trunks reconcile NAME"},
		"a list that is a list": {[]string{"carrier", "--csv", "/dev/null", "-o", "xml"}, 2, `--output: "xml" is none of table, wide, json, jsonl, csv`},
	} {
		got := run(t, url, append([]string{"trunks", "reconcile"}, c.args...)...)
		if got.Code != c.code || !strings.Contains(got.Errors, c.want) {
			t.Errorf("%s: exit %d, %q; want %d, %q", name, got.Code, got.Errors, c.code, c.want)
		}
	}
	got := run(t, twoCalls(t, store.Confirmed), "trunks", "reconcile", "carrier", "--carrier-count", "2")
	if got.Code != 1 || !strings.Contains(got.Errors, "cannot reach the store") {
		t.Errorf("without the store: exit %d, %q", got.Code, got.Errors)
	}
	got = run(t, twoCalls(t, store.Terminated), "trunks", "reconcile", "carrier", "--carrier-count", "3", "-o", "csv")
	if !strings.HasPrefix(got.Errors, "sipvigil: not all nodes can be reached: calls that ended at others are missing\n") || !strings.Contains(got.Out, "out-3") {
		t.Errorf("without a node: exit %d, %q, %q", got.Code, got.Out, got.Errors)
	}
}
