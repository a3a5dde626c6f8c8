package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store/storetest"
)

// tool runs the binary as an operator does and returns what it wrote and its
// exit code.
func tool(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(limit(t, patience), binary, args...)
	cmd.Env = cleanEnv()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // how it ended is in ProcessState
	if cmd.ProcessState == nil {
		t.Fatalf("sipvigil %s cannot be run", strings.Join(args, " "))
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// ask runs a client command against a daemon and decodes what it prints.
func ask(t *testing.T, d *sipvigil, code int, into any, args ...string) {
	t.Helper()
	out, errs, got := tool(t, append(args, "--server", "http://"+d.admin, "-o", "json")...)
	if got != code {
		t.Errorf("sipvigil %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, errs)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Errorf("sipvigil %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func TestOperatorListsShowsProbesAndHangsUp(t *testing.T) {
	t.Parallel()
	redisURL, server := storetest.Redis(t)
	d, r := serve(t, redisURL), look(t, server)
	c := dial(t, d)

	var list struct{ Calls []shown }
	ask(t, d, 0, &list, "calls")
	if len(list.Calls) != 1 || list.Calls[0].ID != c.id || list.Calls[0].State != "confirmed" {
		t.Errorf("calls: %+v", list.Calls)
	}
	var one shown
	ask(t, d, 0, &one, "calls", "show", c.callee.CallID)
	if one.ID != c.id || one.Caller.CallID != c.caller.CallID || one.Callee.CallID != c.callee.CallID {
		t.Errorf("calls show: %+v", one)
	}
	type leg struct {
		Kind, Method string
		Status       int
	}
	var answers struct{ Caller, Callee leg }
	ask(t, d, 0, &answers, "calls", "probe", c.caller.CallID)
	if ok := (leg{"answered", "OPTIONS", 200}); answers.Caller != ok || answers.Callee != ok {
		t.Errorf("calls probe: %+v", answers)
	}
	if options(c.caller) == 0 || options(c.callee) == 0 {
		t.Error("calls probe asked no phone")
	}

	var ended struct{ ID string }
	ask(t, d, 0, &ended, "calls", "hangup", c.callee.CallID, "--reason", "stuck for days")
	if ended.ID != c.id {
		t.Errorf("calls hangup: %+v", ended)
	}
	wantReason(t, released(t, c.caller), "Q.850;cause=31")
	wantReason(t, released(t, c.callee), "Q.850;cause=31")
	wantEnd(t, d, r, c.id, outcome{"operator", "confirmed", "confirmed"})
	ask(t, d, 0, &one, "calls", "show", c.id)
	if one.EndedBy != "operator" || !strings.Contains(one.EndText, "stuck for days") {
		t.Errorf("the ended call: %+v", one)
	}
	var records struct{ CDRs []shown }
	for _, id := range []string{c.id, c.caller.CallID, c.callee.CallID} {
		eventually(t, "the record of the call is found by "+id, func() bool {
			ask(t, d, 0, &records, "cdrs", "--number", id, "--ended-by", "operator", "--since", "1h")
			return len(records.CDRs) > 0
		})
		if len(records.CDRs) != 1 || records.CDRs[0].ID != c.id {
			t.Errorf("cdrs --number %s: %+v", id, records.CDRs)
		}
	}
	ask(t, d, 0, &records, "cdrs", "--number", c.id, "--ended-by", "callee-bye")
	if len(records.CDRs) != 0 {
		t.Errorf("cdrs of another end: %+v", records.CDRs)
	}
	_, errs, code := tool(t, "calls", "hangup", c.id, "--server", "http://"+d.admin)
	if code != 1 || !strings.Contains(errs, "terminated already") {
		t.Errorf("hanging up twice: exit code %d, %s", code, errs)
	}
	_, errs, code = tool(t, "calls", "show", "nobody", "--server", "http://"+d.admin)
	if code != 1 || !strings.Contains(errs, "no call has this id") {
		t.Errorf("a call that is not there: exit code %d, %s", code, errs)
	}
}

func TestPagesForMachinesAnswer(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	c := dial(t, d)
	got := make(map[string]int)
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/", "/api/v1/calls", "/api/v1/calls/nobody", "/nowhere"} {
		got[path] = d.status(path)
	}
	if diff := cmp.Diff(map[string]int{
		"/livez": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusOK, "/": http.StatusOK,
		"/api/v1/calls": http.StatusOK, "/api/v1/calls/nobody": http.StatusNotFound, "/nowhere": http.StatusNotFound,
	}, got); diff != "" {
		t.Errorf("status of pages (-want +got):\n%s", diff)
	}
	if n := d.metric("sipvigil_calls_active"); n != 1 {
		t.Errorf("%v calls are active, want 1", n)
	}
	hangUp(t, c.caller, c.callee)
	d.terminated(c.id)
	if n := d.metric(`sipvigil_calls_ended_total{reason="caller-bye"}`); n != 1 {
		t.Errorf("%v calls were ended by their caller, want 1", n)
	}
}

func TestEveryFaultOfFlagsAndFileIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	test := func(want []string, args ...string) {
		t.Helper()
		out, errs, code := tool(t, args...)
		if code != 2 || out != "" {
			t.Errorf("sipvigil %s: exit code %d, want 2, output %q", strings.Join(args, " "), code, out)
		}
		for _, w := range want {
			if !strings.Contains(errs, w) {
				t.Errorf("sipvigil %s does not name %q:\n%s", strings.Join(args, " "), w, errs)
			}
		}
	}
	test([]string{"carrier-pigeon", "soon", "gopher", "many", "loud", "nobody@"}, "serve", "--listen", "carrier-pigeon://x",
		"--probe-interval", "soon", "--store", "gopher://x", "--probe-misses", "many", "--log-level", "loud", "--next-hop", "nobody@")
	test([]string{"--no-such-flag"}, "serve", "--no-such-flag")
	test([]string{"yaml", "xml", "nowhere"}, "calls", "-o", "yaml/xml", "--server", "nowhere")

	path := filepath.Join(t.TempDir(), "edge.yaml")
	text := "nod: edge\nsip: {listen: [udp://127.0.0.1:nine]}\nsupervise: {misses: 0}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	faults := []string{"edge.yaml:1", `"nod"`}
	test(faults, "serve", "--config", path)
	test(faults, "config", "check", "--config", path)
	test([]string{"missing.yaml"}, "serve", "--config", filepath.Join(t.TempDir(), "missing.yaml"))
}

func TestTakenPortEndsWithAHint(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded")
	_, errs, code := tool(t, "serve", "--listen", "udp://"+d.udp, "--admin", "127.0.0.1:0")
	if code != 1 || !strings.Contains(errs, "--listen") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	_, errs, code = tool(t, "serve", "--listen", "udp://127.0.0.1:0", "--admin", d.admin)
	if code != 1 || !strings.Contains(errs, "--admin") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestDemoShowsBothReleases(t *testing.T) {
	t.Parallel()
	p := launch(t, "demo", "--for", "90s", "--admin", "127.0.0.1:0")
	var causes string
	within(t, 80*time.Second, "both releases show", func() bool {
		if !p.running() {
			t.Fatal("the demo ended")
		}
		causes = ""
		for _, e := range p.entries("sipvigil noticed") {
			causes += e.field("reason") + "\n"
		}
		return strings.Contains(causes, "SIP;cause=481") && strings.Contains(causes, "SIP;cause=408")
	})
	if !strings.Contains(p.stdout.String(), "The page:       http://127.0.0.1:") {
		t.Errorf("the demo does not say where its page is:\n%s", p.stdout)
	}
	if failed := p.entries("call failed"); len(failed) > 0 {
		t.Errorf("calls of the demo failed: %v", failed)
	}
}

func TestDemoEndsWhenItsTimeIsUp(t *testing.T) {
	t.Parallel()
	p := launch(t, "demo", "--for", "2s", "--admin", "127.0.0.1:0")
	eventually(t, "the demo ends by itself", func() bool { return !p.running() })
}
