package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

func TestTableIsWrittenInBatches(t *testing.T) {
	odd := supervisor.Row{Call: store.Call{ID: "x", State: store.Trying}}
	odd.Legs[store.Caller].RemoteURI = "\"Zoë\" <sip:z\\\"\x01@h>"
	f := &fakeCalls{rows: []supervisor.Row{{Call: confirmed(), Strips: [2][]supervisor.Tick{[]supervisor.Tick("ea"), []supervisor.Tick("am")}}, odd}}
	w := do(newServer(t, f, healthy), "GET", "/api/v1/table")
	want := `{"texts":["confirmed","pbx","carrier","edge-1","alive","200 OPTIONS","","suspect","12 of 30 legs","trying"],"calls":[` +
		`["0198c0de-0000-7000-8000-000000000001",0,"\"Ann\" <sip:ann@pbx.example>","<sip:+1555@carrier.example>",1,2,3,` +
		`1772362800500,1772362807250,[4,0,1772363100000,5,"ea",6],[7,1,0,6,"am",8]],` +
		`["x",9,"\"Zoë\" <sip:z\\\"\u0001@h>","",6,6,6,0,0,[6,0,0,6,"",6],[6,0,0,6,"",6]]]}` + "\n" + `{"end":true}` + "\n"
	if got := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(w.Body.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := w.Header().Get("Content-Type"); got != "application/jsonl" {
		t.Errorf("Content-Type is %q", got)
	}
	for node, calls := range map[string]int{"edge-1": 1, "edge-2": 0} {
		body := do(newServer(t, f, healthy), "GET", "/api/v1/table?node="+node).Body.String()
		if strings.Count(body, "confirmed") != calls || strings.Contains(body, "trying") || !strings.HasSuffix(body, `{"end":true}`+"\n") {
			t.Errorf("the calls of %s:\n%s", node, body)
		}
	}
}

func TestTableOfManyCallsRepeatsNoText(t *testing.T) {
	const calls = 2*batchRows + 1
	f := &fakeCalls{}
	for i := range calls {
		c := confirmed()
		c.ID = fmt.Sprint("call-", i)
		f.rows = append(f.rows, supervisor.Row{Call: c})
	}
	w := do(newServer(t, f, healthy), "GET", "/api/v1/table", "Accept-Encoding", "br, gzip")
	if w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatal("the table is not compressed")
	}
	z, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Texts []string
		Calls [][]any
		End   bool
	}
	var sizes, texts []int
	in := bufio.NewScanner(z)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		sizes, texts = append(sizes, len(l.Calls)), append(texts, len(l.Texts))
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{batchRows, batchRows, 1, 0}, sizes); diff != "" {
		t.Errorf("rows of the lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{9, 0, 0, 0}, texts); diff != "" {
		t.Errorf("texts of the lines (-want +got):\n%s", diff)
	}
}

func TestTableSaysWhetherItIsComplete(t *testing.T) {
	test := func(err error, want string) {
		t.Helper()
		w := do(newServer(t, &fakeCalls{err: err}, healthy), "GET", "/api/v1/table")
		if got := w.Body.String(); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
	test(nil, "{\"end\":true}\n")
	test(fmt.Errorf("read: %w", store.ErrUnavailable), "{\"end\":true,\"partial\":true}\n")
	test(errors.New("broken"), "")
}
