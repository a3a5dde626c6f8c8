package test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sipvigil/store/storetest"
)

// process is one run of the binary. What it writes to stderr is its log.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout *lines
	log    *lines
	ended  chan struct{} // closed when the process has ended
	killed bool
}

// launch starts the binary. At the end of the test it is asked to stop, must do
// so without an error, and must have logged neither an error nor a panic nor a
// race.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), stdout: &lines{}, log: &lines{}, ended: make(chan struct{})}
	p.cmd.Env = cleanEnv()
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start sipvigil: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(p.finish)
	return p
}

// cleanEnv is the environment without what would configure sipvigil.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SIPVIGIL_") {
			env = append(env, v)
		}
	}
	return env
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.t.Helper()
	p.killed = true
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatalf("kill sipvigil: %v", err)
	}
	<-p.ended
}

// stop ends the process as an operator would.
func (p *process) stop() {
	p.terminate()
	p.wait()
}

// terminate asks the process to stop. Asked twice it does not hand anything over.
func (p *process) terminate() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("stop sipvigil: %v", err)
	}
}

// wait waits until the process has ended, which may take no longer than its
// bounds allow.
func (p *process) wait() {
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.t.Error("sipvigil does not stop")
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func (p *process) finish() {
	if p.running() {
		p.stop()
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && !p.killed {
		p.t.Errorf("sipvigil ended with exit code %d", code)
	}
	text := p.log.String()
	for _, word := range []string{"panic", "DATA RACE"} {
		if i := strings.Index(text, word); i >= 0 {
			p.t.Errorf("the log of sipvigil holds %q:\n%.8000s", word, text[i:])
		}
	}
	for _, e := range p.entries("") {
		if e.field("level") == "error" {
			p.t.Errorf("sipvigil logged an error: %v", e)
		}
	}
	if p.t.Failed() {
		p.t.Logf("log of sipvigil:\n%s%s", p.stdout, tail(text, 4000))
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// entry is one line of the log.
type entry map[string]any

// entries are the lines of the log so far whose message contains this text.
func (p *process) entries(text string) []entry {
	var found []entry
	for line := range strings.Lines(p.log.String()) {
		var e entry
		if json.Unmarshal([]byte(line), &e) != nil {
			continue // not complete yet
		}
		if msg, _ := e["msg"].(string); strings.Contains(msg, text) {
			found = append(found, e)
		}
	}
	return found
}

// field is the text of a field, empty when there is none.
func (e entry) field(name string) string {
	s, _ := e[name].(string)
	return s
}

// lines collects what a process writes.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is all that was written so far.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// sipvigil is a daemon under test: `sipvigil serve`.
type sipvigil struct {
	*process
	udp, tcp, admin string // host:port
	redisURL, name  string
}

// serve starts a daemon that probes every second, and waits until it is ready.
// Its phones have time to answer on a busy machine. Nobody takes its ports while
// it is started again. Flags that are given come last and so decide.
func serve(t testing.TB, redisURL string, flags ...string) *sipvigil {
	t.Helper()
	free := func() string { return fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t)) }
	return serveAt(t, &sipvigil{udp: free(), tcp: free(), admin: free()}, redisURL, flags...)
}

// again starts another daemon on the ports of one that has ended.
func (d *sipvigil) again(redisURL string, flags ...string) *sipvigil {
	d.t.Helper()
	return serveAt(d.t, d, redisURL, flags...)
}

func serveAt(t testing.TB, at *sipvigil, redisURL string, flags ...string) *sipvigil {
	t.Helper()
	d := &sipvigil{redisURL: redisURL, name: nodeName(flags), process: launch(t, append([]string{"serve",
		"--listen", "udp://" + at.udp, "--listen", "tcp://" + at.tcp, "--admin", at.admin, "--store", redisURL,
		"--node", "edge-1", "--probe-interval", "1s", "--probe-timeout", "3s"}, flags...)...)}
	eventually(t, "sipvigil is ready", func() bool {
		if !d.running() {
			t.Fatal("sipvigil ended")
		}
		for _, e := range d.entries("listening") {
			switch e.field("transport") {
			case "udp":
				d.udp = cmp.Or(d.udp, e.field("addr"))
			case "tcp":
				d.tcp = cmp.Or(d.tcp, e.field("addr"))
			}
		}
		for _, e := range d.entries("serving") {
			d.admin = strings.TrimSuffix(strings.TrimPrefix(e.field("page"), "http://"), "/")
		}
		return d.udp != "" && d.tcp != "" && d.admin != "" && d.status("/readyz") == http.StatusOK
	})
	return d
}

// nodeName is that of the last --node.
func nodeName(flags []string) string {
	name := "edge-1"
	for i, f := range flags {
		if f == "--node" {
			name = flags[i+1]
		}
	}
	return name
}

// status is the status of a page, 0 when there is no answer.
func (d *sipvigil) status(path string) int {
	status, _ := d.http(http.MethodGet, path)
	return status
}

var client = http.Client{Timeout: 15 * time.Second}

func (d *sipvigil) http(method, path string) (int, []byte) {
	d.t.Helper()
	return d.send(method, path, "")
}

// post sends a body in JSON.
func (d *sipvigil) post(path, body string) (int, []byte) {
	d.t.Helper()
	return d.send(http.MethodPost, path, body)
}

func (d *sipvigil) send(method, path, text string) (int, []byte) {
	d.t.Helper()
	req, err := http.NewRequest(method, "http://"+d.admin+path, strings.NewReader(text))
	if err != nil {
		d.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, body
}

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// eventually waits until a condition holds, and fails the test when it does
// not.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	within(t, patience, what, condition)
}

func within(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}
