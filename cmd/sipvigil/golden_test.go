package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/web"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// goldens are the command lines whose output stands in testdata/golden, by
// command. One that has --output is run in all formats, and for terminals of two
// widths.
var goldens = map[string][]golden{
	"sipvigil":           {{}},
	"calls":              {{}, watching},
	"calls list":         {{args: []string{"--limit", "2"}}},
	"calls show":         {{args: []string{"a/2@phone"}}, {args: []string{"nobody"}, bare: true}},
	"calls hangup":       {{args: []string{"a/1@phone", "--reason", "stuck"}}, {args: []string{"a/1@phone", "b-2", "x"}}},
	"calls release":      {{}},
	"calls probe":        {{args: []string{"a/1@phone"}}},
	"cdrs":               {{}, {args: []string{"--ended-by", "callee-silent", "--since", "12h"}, bare: true}, {args: []string{"--limit", "1"}, bare: true}, {args: []string{"--until", "noon"}, bare: true}},
	"trunks":             {{}, watching},
	"trunks show":        {{args: []string{"carrier"}}},
	"trunks maintenance": {{args: []string{"carrier"}}, {args: []string{"carrier", "on", "--reason", "fibre cut"}, bare: true}, {args: []string{"carrier", "maybe"}, bare: true}},
	"trunks reconcile":   {{args: []string{"pbx", "--carrier-count", "1"}}},
	"nodes":              {{}, watching},
	"nodes maintenance":  {{}, {args: []string{"off"}, bare: true}},
	"events":             {{ends: 9}, {args: []string{"--type", "progress,ended"}, ends: 2, bare: true}},
	"progress":           {{}, watching},
	"ping": {{args: []string{"sip:192.0.2.1", "--server", "http://sipvigil", "-c", "2", "-i", "0s"}},
		{args: []string{"192.0.2.1", "--server", "http://sipvigil", "--watch", "-i", "0s"}, bare: true, ends: 3}},
	"top":          {{}},
	"config":       {{}},
	"config check": {{}, {args: []string{"--probe-misses", "few", "--listen", "5060"}}},
	"config print": {{args: []string{"--node", "edge-1"}}},
	"doctor":       {{}},
	"token":        {{}},
	"token new":    {{args: []string{"--name", "ann", "--role", "operator"}}, {args: []string{"--name", "ann"}}},
	"version":      {{}},
	"serve":        {{args: []string{"--listen", "5060", "--log-level", "loud"}}},
	"demo":         {{args: []string{"--for", "long"}}},
}

// golden is one command line, without the command.
type golden struct {
	args []string
	bare bool     // is run once, as it is
	ends int      // it goes on until Ctrl-C, which comes after so many writes
	on   terminal // of the first run
}

var watching = golden{args: []string{"--watch"}, ends: 1, bare: true, on: terminal{width: 100, colour: true}}

// paths are the commands that there are, without those of cobra itself.
func paths(cmd *cobra.Command) []string {
	list := []string{strings.TrimPrefix(cmd.CommandPath(), "sipvigil ")}
	for _, c := range cmd.Commands() {
		list = append(list, paths(c)...)
	}
	return list
}

func TestEveryCommandHasItsOutputInTestdata(t *testing.T) {
	root := (&tool{getenv: os.Getenv}).root()
	want, have := slices.Sorted(slices.Values(paths(root))), slices.Sorted(maps.Keys(goldens))
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("commands without golden output, or the other way round (-commands +goldens):\n%s", d)
	}
	files, err := filepath.Glob("testdata/golden/*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range have {
		have[i] = goldenFile(have[i])
	}
	slices.Sort(have)
	if d := cmp.Diff(have, files); d != "" {
		t.Errorf("files (-wanted +there): run go test ./cmd/sipvigil -run Golden -update\n%s", d)
	}
}

func goldenFile(path string) string {
	return filepath.Join("testdata", "golden", strings.ReplaceAll(path, " ", "-")+".txt")
}

func TestGoldenOutput(t *testing.T) {
	server := goldenServer(t)
	for path, lines := range goldens {
		t.Run(path, func(t *testing.T) {
			var b bytes.Buffer
			s := &transcript{t: t, server: server, out: &b, command: strings.Fields(strings.TrimPrefix(path, "sipvigil"))}
			s.run(golden{args: []string{"--help"}}, terminal{})
			cmd, _, err := (&tool{getenv: os.Getenv}).root().Find(s.command)
			if err != nil {
				t.Fatal(err)
			}
			output := cmd.Flag("output")
			for _, g := range lines {
				s.run(g, g.on)
				if g.bare || output == nil || output.Hidden {
					continue
				}
				for _, format := range formats[1:] {
					other := g
					other.args = append(slices.Clip(g.args), "-o", format)
					s.run(other, terminal{})
				}
				s.run(g, terminal{width: 100, colour: true})
				s.run(g, terminal{width: 50})
			}
			if path == "top" {
				s.top(terminal{width: 120, colour: true})
				s.top(terminal{width: 60})
			}
			file := goldenFile(path)
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), b.String()); d != "" {
				t.Errorf("%s (-want +got), with -update it is written anew:\n%s", file, d)
			}
		})
	}
}

// transcript writes down what commands print.
type transcript struct {
	t       *testing.T
	server  string
	out     *bytes.Buffer
	command []string
}

var noon2026 = at("2026-03-01T12:00:00Z")

func (s *transcript) run(g golden, on terminal) {
	args := append(slices.Clone(s.command), g.args...)
	fmt.Fprintf(s.out, "$ %s%s\n", strings.Join(append([]string{"sipvigil"}, args...), " "), s.on(on))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "http://sipvigil", s.server)
	}
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	var errs bytes.Buffer
	out := &interrupting{after: g.ends, stop: stop}
	tool := tool{stdout: out, stderr: &errs, terminal: on, now: func() time.Time { return noon2026 }, getenv: func(name string) string {
		return map[string]string{"SIPVIGIL_SERVER": s.server}[name]
	}}
	code := tool.run(ctx, args)
	s.write(out.text.String())
	for line := range strings.Lines(errs.String()) {
		s.write("2> " + line)
	}
	if code != 0 {
		fmt.Fprintf(s.out, "exit code %d\n", code)
	}
	s.out.WriteByte('\n')
}

func (s *transcript) on(on terminal) string {
	text := ""
	if on.width > 0 {
		text = fmt.Sprintf("  # terminal of %d columns", on.width)
	}
	if on.width > 0 && !on.colour {
		text += ", NO_COLOR"
	}
	return text
}

// What is another one in each run, or on each machine.
var (
	secrets = regexp.MustCompile(`(sipvigil_)[A-Za-z0-9]+|(sha256:)[0-9a-f]+`)
	builds  = regexp.MustCompile(`sipvigil \(devel\).*`)
)

func (s *transcript) write(text string) {
	text = strings.ReplaceAll(text, s.server, "http://sipvigil")
	text = secrets.ReplaceAllString(text, "$1$2…")
	text = builds.ReplaceAllString(text, "sipvigil (devel)…")
	s.out.WriteString(strings.ReplaceAll(text, "\x1b", "␛"))
}

// top writes the screen down, as it begins and with a call open.
func (s *transcript) top(on terminal) {
	c, err := newClient(s.server)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.close()
	c.name = "http://sipvigil" // a part of the first line
	screen := newScreen(s.t.Context(), c)
	screen.now, screen.colour = func() time.Time { return noon2026 }, on.colour
	screen.Update(tea.WindowSizeMsg{Width: on.width, Height: 12})
	screen.connected()
	fmt.Fprintf(s.out, "$ sipvigil top%s\n", s.on(on))
	s.write(screen.text() + "\n\n")
	screen.press("down", "enter")
	fmt.Fprintf(s.out, "$ sipvigil top%s; Down, Enter\n", s.on(on))
	s.write(screen.text() + "\n\n")
}

// interrupting is an output at which an operator presses Ctrl-C.
type interrupting struct {
	text  bytes.Buffer
	after int
	stop  func()
}

func (w *interrupting) Write(b []byte) (int, error) {
	if w.after--; w.after == 0 {
		defer w.stop()
	}
	return w.text.Write(b)
}

// goldenServer answers for the golden output: with the real API for calls and
// records, and with what is always the same for what has a clock.
func goldenServer(t *testing.T) string {
	t.Helper()
	f := &fakeCalls{calls: sample(), held: 12}
	f.answers = [2]store.Answer{
		{Kind: store.Answered, Method: "OPTIONS", Status: 200, RTT: 1500 * time.Microsecond, At: noon2026},
		{Kind: store.Timeout, Method: "OPTIONS", At: noon2026},
	}
	f.events = []supervisor.Event{
		{At: at("2026-03-01T11:20:09Z"), Kind: supervisor.EventConfirmed},
		{At: at("2026-03-01T11:22:10Z"), Kind: supervisor.EventAnswer, Side: store.Callee, Text: "200 OPTIONS", RTT: 12 * time.Millisecond},
		{At: at("2026-03-01T11:23:14Z"), Kind: supervisor.EventMiss, Side: store.Callee, Text: "no answer to OPTIONS"},
	}
	handler, err := web.New(web.Config{Listen: "127.0.0.1:8080", Probe: time.Minute, Records: goldenRecords}, f,
		func() store.Status { return store.Status{} }, func() []string { return nil }, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	for pattern, body := range goldenAnswers(t) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body) // a client that has left is none of ours
		})
	}
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, goldenEvents)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func goldenRecords(_ context.Context, before string, _ int) ([]store.Record, error) {
	if before != "" {
		return nil, nil
	}
	leg := func(id, uri string) supervisor.CDRLeg {
		return supervisor.CDRLeg{CallID: id, URI: uri, Peer: "192.0.2.9:5060", Liveness: "alive", LastAlive: "2026-03-01T11:24:48.000Z",
			LastEvidence: "200 OPTIONS", Released: "confirmed"}
	}
	var list []store.Record
	for i, r := range []supervisor.CDR{
		{ID: "0198c0de-0000-7000-8000-000000000003", Node: "edge-1", Started: "2026-03-01T11:00:00.000Z", Answered: "2026-03-01T11:00:07.000Z",
			Ended: "2026-03-01T11:25:00.000Z", EndedBy: "callee-silent", Side: "callee", Status: 408, Text: "no answer to 2 probes",
			TrunkIn: "pbx", TrunkOut: "carrier", Billed: 1493, Proven: 1421.5,
			Caller: leg("a/3@phone", `"Ann" <sip:+4930123456@pbx.example>`), Callee: leg("b-3", "<sip:+15551234567@carrier.example>")},
		{ID: "0198c0de-0000-7000-8000-000000000000", Node: "edge-2", Started: "2026-03-01T10:00:00.000Z", Ended: "2026-03-01T10:00:20.250Z",
			EndedBy: "caller-cancel", Side: "caller", Status: 487, TrunkIn: "pbx", TrunkOut: "_other",
			Caller: leg("a/0@phone", "<sip:bob@pbx.example>"), Callee: leg("b-0", "<sip:192.0.2.77>"),
			Observed: &supervisor.Found{EndedBy: "callee-gone", At: "2026-03-01T10:00:19.000Z", Right: true}},
	} {
		line, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		list = append(list, store.Record{Place: fmt.Sprint(9 - i), Line: line})
	}
	return list, nil
}

// goldenAnswers are those that are always the same, as the types of the API.
func goldenAnswers(t *testing.T) map[string]any {
	t.Helper()
	var trunks web.Trunks
	dec := json.NewDecoder(strings.NewReader(someTrunks))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&trunks); err != nil {
		t.Fatal(err)
	}
	when := func(s string) web.Time { return web.Time{Time: at(s)} }
	maintained := web.Maintained{Scope: "trunk", Name: "carrier", State: "draining", Since: when("2026-03-01T11:59:00Z"), Calls: 3}
	node := web.Maintained{Scope: "node", Name: "edge-1", State: "in-service", Calls: 12}
	return map[string]any{
		"GET /api/v1/trunks": trunks,
		"GET /api/v1/nodes": web.Nodes{Nodes: []web.Node{
			{Name: "edge-1", State: "up", Calls: 1200, Epoch: 7, Since: when("2026-02-27T12:00:00Z"), Seen: when("2026-03-01T11:59:58Z"),
				Addr: "192.0.2.5:5060", Doing: "adoption of edge-3: 1200 of 5000"},
			{Name: "edge-2", State: "up", Maintenance: "draining", Calls: 3, Epoch: 9, Since: when("2026-03-01T11:00:00Z"), Seen: when("2026-03-01T11:59:59Z"), Addr: "192.0.2.6:5060"},
			{Name: "edge-3", State: "dead", Seen: when("2026-03-01T11:59:40Z")},
		}},
		"GET /api/v1/progress": web.ProgressList{Progress: []web.Progress{
			{ID: "A", Node: "edge-1", What: "adoption", Of: "edge-3", Done: 1200, Total: 5000, Began: when("2026-03-01T11:59:57Z")},
			{ID: "B", Node: "edge-1", What: "hangup", Of: "K3JQ7XWA2MNB", Done: 40, Total: 100, Began: when("2026-03-01T11:59:30Z"), Ended: when("2026-03-01T11:59:34Z")},
			{ID: "C", Node: "edge-2", What: "drain", Of: "trunk carrier", Done: 4, Total: 7, Began: when("2026-03-01T11:50:00Z")},
			{ID: "D", Node: "edge-2", What: "start", Of: "edge-2", Done: 7, Began: when("2026-03-01T11:59:58Z")},
		}},
		"GET /api/v1/trunks/{name}/maintenance": maintained,
		"PUT /api/v1/trunks/{name}/maintenance": maintained,
		"GET /api/v1/nodes/{name}/maintenance":  node,
		"PUT /api/v1/nodes/{name}/maintenance":  node,
		"POST /api/v1/brake/release": web.Released{Calls: 12, Nodes: []web.NodeReleased{{Node: "edge-1", Calls: 10}, {Node: "edge-2", Calls: 2},
			{Node: "edge-3", Failed: "node edge-3 cannot be asked: it has said nothing for 5s. Nothing was done there"}}},
		"POST /api/v1/calls/hangup": web.Batch{ID: "K3JQ7XWA2MNB", By: "anybody", State: "done", PerSecond: 10, Total: 3, Ended: 1, Gone: 1, Failed: 1,
			Failures: []web.BatchFailure{{ID: "x", Detail: "no call has this id or Call-ID, or it ended a while ago"}}, Began: when("2026-03-01T12:00:00Z")},
		"POST /api/v1/ping": web.Pings{Pings: []web.Pinged{{Target: "sip:192.0.2.1", Kind: "answered", Status: 200, Phrase: "OK", RTT: 12.34, Transport: "udp",
			Peer: "192.0.2.1:5060", From: "192.0.2.1:5060", Server: "PBX/7", Contact: "<sip:192.0.2.1:5060>",
			Can:   web.CanOf([]string{"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "REFER"}, []string{"timer"}),
			Allow: []string{"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "REFER"}, Supported: []string{"timer"}, Codecs: []string{"PCMA/8000", "opus/48000/2"}}}},
	}
}

// goldenEvents are one of each kind.
const goldenEvents = `retry: 2000

event: overview
data: {"active":7}

event: call
data: {"id":"0198c0de-0000-7000-8000-000000000001","state":"confirmed","liveness":"suspect","caller":{"uri":"<sip:ann@pbx>","liveness":"alive","last_evidence":"200 OPTIONS"},"callee":{"uri":"<sip:bob@pbx>","liveness":"suspect"}}

event: ended
data: {"id":"0198c0de-0000-7000-8000-000000000002","ended_by":"callee-silent","end_text":"no answer to 2 probes","caller":{"uri":"<sip:ann@pbx>"},"callee":{"uri":"<sip:bob@pbx>"}}

event: trunk
data: {"name":"carrier","state":"down","addresses":[]}

event: node
data: {"name":"edge-2","state":"dead","calls":3}

event: store
data: {"state":"degraded","backend":"redis","pending":3,"error":"no answer"}

event: brake
data: {"engaged":true,"reason":"peer","trunk":"carrier","ill":12,"legs":30}

event: batch
data: {"id":"K3JQ7XWA2MNB","state":"running","total":100,"ended":40}

event: progress
data: {"id":"A","node":"edge-1","what":"adoption","of":"edge-3","done":1200,"total":5000,"began":"2026-03-01T11:59:57.000Z"}

event: reset
data: {}

`
