package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCalls is behind the real HTTP API.
type fakeCalls struct {
	calls   []store.Call
	down    bool
	answers [2]store.Answer
	events  []supervisor.Event // nil = another node has them
	hungUp  []string
	held    int
	queries []store.Query
}

func (f *fakeCalls) Calls(_ context.Context, q store.Query) (store.Page, error) {
	f.queries = append(f.queries, q)
	var p store.Page
	for i := range f.calls {
		switch c := &f.calls[i]; {
		case c.ID <= q.Cursor || q.State != "" && c.State != q.State:
		case len(p.Calls) == q.PageLimit():
			p.Next = p.Calls[len(p.Calls)-1].ID
			return p, nil
		default:
			p.Calls = append(p.Calls, *c)
		}
	}
	if f.down {
		return p, store.ErrUnavailable
	}
	return p, nil
}

func (f *fakeCalls) Call(_ context.Context, id string) (store.Call, error) {
	for _, c := range f.calls {
		if c.ID == id || c.Legs[0].CallID == id {
			return c, nil
		}
	}
	return store.Call{}, store.ErrNotFound
}

func (f *fakeCalls) Probe(context.Context, string) ([2]store.Answer, error) { return f.answers, nil }

func (f *fakeCalls) Events(_ context.Context, id string) ([]supervisor.Event, error) {
	if f.events == nil {
		return nil, &supervisor.Elsewhere{ID: id, Node: "edge-2"}
	}
	return f.events, nil
}

func (f *fakeCalls) Rows(context.Context, string, func(*supervisor.Row) bool) error { return nil }

func (f *fakeCalls) ReleaseHeld() int                { return f.held }
func (f *fakeCalls) Local(string) (store.Call, bool) { return store.Call{}, false }
func (f *fakeCalls) Overview() supervisor.Overview   { return supervisor.Overview{} }
func (f *fakeCalls) Follow(supervisor.Follower)      {}

func (f *fakeCalls) Hangup(_ context.Context, id, text string) error {
	f.hungUp = append(f.hungUp, id+": "+text)
	return nil
}

// serve returns the URL of an API over these calls.
func serve(t *testing.T, calls *fakeCalls) string {
	t.Helper()
	handler, err := web.New(web.Config{Listen: "127.0.0.1:8080", Probe: time.Minute}, calls,
		func() store.Status { return store.Status{} }, func() []string { return nil }, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// ran is what a command line came to.
type ran struct {
	Code        int
	Out, Errors string
}

// run runs a command line where SIPVIGIL_SERVER is server.
func run(t *testing.T, server string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	tool := tool{now: time.Now, stdout: &out, stderr: &errs, getenv: func(name string) string {
		return map[string]string{"SIPVIGIL_SERVER": server}[name]
	}}
	code := tool.run(t.Context(), args)
	return ran{code, out.String(), errs.String()}
}

func wantRun(t *testing.T, got, want ran) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("command (-want +got):\n%s", d)
	}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// sample are three calls: one alive, one with a silent callee, one that ended.
func sample() []store.Call {
	calls := []store.Call{
		{
			ID: "0198c0de-0000-7000-8000-000000000001", State: store.Confirmed, Node: "edge-1", TrunkIn: "pbx", TrunkOut: "carrier-a",
			Started: at("2026-03-01T11:00:00Z"), Answered: at("2026-03-01T11:00:07Z"),
		},
		{
			ID: "0198c0de-0000-7000-8000-000000000002", State: store.Confirmed, Node: "edge-2", TrunkIn: "pbx", TrunkOut: "carrier-b",
			Started: at("2026-03-01T11:20:00Z"), Answered: at("2026-03-01T11:20:09Z"),
		},
		{
			ID: "0198c0de-0000-7000-8000-000000000003", State: store.Terminated, Node: "edge-1", TrunkIn: "pbx", TrunkOut: "_other",
			Started: at("2026-03-01T11:00:00Z"), Answered: at("2026-03-01T11:00:07Z"),
			End: store.End{
				Reason: store.Callee.Silent(), Status: 408, Text: "no answer to 2 probes", At: at("2026-03-01T11:25:00Z"),
				Released: [2]store.Outcome{store.ReleaseConfirmed, store.ReleaseUnconfirmed},
			},
		},
	}
	for i := range calls {
		caller, callee := &calls[i].Legs[0], &calls[i].Legs[1]
		caller.Dialog = store.Dialog{
			CallID: "a/" + calls[i].ID[35:] + "@phone", RemoteURI: `"Ann <3" <sip:+4930123456@pbx.example>`, Target: "sip:ann@192.0.2.9",
			Transport: "udp", Peer: "192.0.2.9:5060", UserAgent: "phone/1", LocalCSeq: 12, RemoteCSeq: 2,
			Session: store.Session{Interval: 30 * time.Minute, Refresher: store.Peer},
		}
		callee.Dialog = store.Dialog{
			CallID: "b-" + calls[i].ID[35:], RemoteURI: "<sip:carrier.example;user=phone>", Target: "sip:198.51.100.7",
			Transport: "tcp", Peer: "198.51.100.7:5060", LocalCSeq: 3,
		}
		caller.Health = store.Health{
			Liveness: store.Alive, LastAlive: at("2026-03-01T11:24:48Z"), LastEvidence: "200 OPTIONS",
			RTT: 12300 * time.Microsecond, Method: "OPTIONS", Calibration: "discriminating",
		}
		callee.Health = caller.Health
	}
	silent := &calls[1].Legs[1].Health
	silent.Liveness, silent.LastAlive, silent.Misses = store.Silent, at("2026-03-01T11:22:10Z"), 2
	calls[2].Legs[1].LastAlive = time.Time{}
	return calls
}

func TestWrongCommandLinesExitWith2(t *testing.T) {
	test := func(errors string, args ...string) {
		t.Helper()
		wantRun(t, run(t, "", args...), ran{Code: 2, Errors: errors})
	}
	test("sipvigil: there is no command \"sipvigil dance\" (see sipvigil --help)\n", "dance")
	test("sipvigil: there is no command \"sipvigil cals\", is calls or cdrs meant? (see sipvigil --help)\n", "cals")
	test("sipvigil: there is no command \"sipvigil calls hang-up\", is hangup meant? (see sipvigil calls --help)\n", "calls", "hang-up")
	test("sipvigil: there is no command \"sipvigil cals\", is calls or cdrs meant? (see sipvigil --help)\n", "help", "cals")
	test("sipvigil: 1 arguments, where the form is sipvigil serve [flags] (see sipvigil serve --help)\n", "serve", "now")
	test("sipvigil: argument 2 is empty (see sipvigil calls hangup --help)\n", "calls", "hangup", "x", "")
	test("sipvigil: --limit: \"x\" is not a whole number (see sipvigil calls --help)\n", "calls", "--limit", "x")
	test("sipvigil: --for: \"x\" is not a length of time such as 500ms, 30s or 3m (see sipvigil demo --help)\n", "demo", "--for", "x")
	test("sipvigil: --watch: \"no\" is not true or false (see sipvigil nodes --help)\n", "nodes", "--watch=no")
	test("sipvigil: --per-second: \"many\" is not a number (see sipvigil calls hangup --help)\n", "calls", "hangup", "x", "--per-second", "many")
	test("sipvigil: --name: \"a b\" is not a name of at most 63 letters, digits, '.', '_', '@' and '-'\n"+
		"sipvigil: --role: \"boss\" is none of viewer, operator, admin\n", "token", "new", "--name", "a b", "--role", "boss")
	test("sipvigil: --limit: -1 is below 0\n"+
		"sipvigil: --since: \"noon\" is neither a time such as 2026-03-01T12:00:00Z nor a length of time such as 2h\n", "cdrs", "--limit", "-1", "--since", "noon")
	test("sipvigil: unknown flag: --foo (see sipvigil calls --help)\n", "calls", "--foo")
	test("sipvigil: there is no command \"sipvigil calls dance\" (see sipvigil calls --help)\n", "calls", "dance")
	test("sipvigil: 0 arguments, where the form is sipvigil calls show ID [flags] (see sipvigil calls show --help)\n", "calls", "show")
	test("sipvigil: --limit: -1 is below 0\n"+
		"sipvigil: --output: \"xml\" is none of table, wide, json, jsonl, csv\n"+
		"sipvigil: --server: \"localhost\" is not a URL such as http://127.0.0.1:8080\n",
		"calls", "-o", "xml", "--server", "localhost", "--limit", "-1")
	test("sipvigil: --probe-misses: \"few\" is not a whole number\n"+
		"sipvigil: --listen: \"5060\" is not udp://host:port, or the like with tcp, tls, ws or wss\n"+
		"sipvigil: --log-level: \"loud\" is none of debug, info, warn, error\n",
		"serve", "--node", "n", "--listen", "5060", "--probe-misses", "few", "--log-level", "loud")
	test("sipvigil: --probe-timeout: \"1\" is not a length of time such as 500ms, 30s or 3m\n",
		"config", "check", "--node", "n", "--probe-timeout", "1")
}

func TestConfigCheckReadsTheFilesThatAreNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"sipvigil.yaml": "node: n\nadmin: {tokens_file: tokens, tls: {cert: admin.pem, key: admin.key}}\nsip: {tls: {ca: roots.pem, cert: sip.pem}}\n",
		"tokens":        "ann viewer\n# bob\ncarol boss sha256:00\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantRun(t, run(t, "", "config", "check", "--config", "sipvigil.yaml"), ran{Code: 2, Errors: "" +
		"sipvigil: sipvigil.yaml:3: sip.tls.cert: is without sip.tls.key, the key that it is for\n" +
		"sipvigil: sip.tls.ca: open roots.pem: no such file or directory\n" +
		"sipvigil: admin.tls.cert and admin.tls.key: open admin.pem: no such file or directory\n" +
		"sipvigil: admin.tokens_file: tokens: line 1: is not NAME ROLE sha256:HEX; line 3: its role is none of viewer, operator, admin\n"})
}

func TestShowTellsWhatHappenedToACall(t *testing.T) {
	f := &fakeCalls{calls: sample()[:1]}
	server := serve(t, f)
	without := run(t, server, "calls", "show", f.calls[0].ID)
	if want := "sipvigil: what happened to it is not known: "; without.Code != 0 || !strings.HasPrefix(without.Errors, want) {
		t.Errorf("without events: %d, %q, want %q", without.Code, without.Errors, want)
	}
	f.events = []supervisor.Event{
		{At: at("2026-03-01T11:00:07Z"), Kind: supervisor.EventConfirmed},
		{At: at("2026-03-01T11:00:12Z"), Kind: supervisor.EventAnswer, Side: store.Caller, Text: "200 OPTIONS", RTT: 12 * time.Millisecond},
		{At: at("2026-03-01T11:00:42Z"), Kind: supervisor.EventAnswer, Side: store.Caller, Text: "200 OPTIONS"}, // whole milliseconds are kept
		{At: at("2026-03-01T11:01:12Z"), Kind: supervisor.EventMiss, Side: store.Callee, Text: "no answer to OPTIONS"},
	}
	want := without
	want.Errors = ""
	want.Out += `
AT                        LEG     EVENT    WHAT                  RTT
2026-03-01T11:00:07.000Z          confirm
2026-03-01T11:00:12.000Z  caller  answer   200 OPTIONS           12.0 ms
2026-03-01T11:00:42.000Z  caller  answer   200 OPTIONS           <1 ms
2026-03-01T11:01:12.000Z  callee  miss     no answer to OPTIONS
`
	// How long ago something was changes from run to run.
	ago := regexp.MustCompile(`\(.* ago\) *`)
	got := run(t, server, "calls", "show", f.calls[0].ID)
	want.Out, got.Out = ago.ReplaceAllString(want.Out, ""), ago.ReplaceAllString(got.Out, "")
	wantRun(t, got, want)
}

func TestHelpIsNoFault(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"config"}, {"calls", "--help"}} {
		if got := run(t, "", args...); got.Code != 0 || got.Errors != "" || !strings.Contains(got.Out, "Usage:\n") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}
