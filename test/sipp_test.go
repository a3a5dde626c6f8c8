package test

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sipvigil/store/storetest"
)

// load is a run of SIPp callers against SIPp callees.
type load struct {
	transport  string // as SIPp names it
	calls      int
	rate       int // calls a second
	port, peer int // of callee and caller
}

func TestSIPpCallsOverUDPAreProbedAndEndWithoutAFailure(t *testing.T) {
	t.Parallel()
	run(t, load{transport: "u1", calls: 300, rate: 25})
}

func TestSIPpCallsOverTCPAreProbedAndEndWithoutAFailure(t *testing.T) {
	t.Parallel()
	run(t, load{transport: "t1", calls: 60, rate: 10})
}

func run(t *testing.T, l load) {
	l.port, l.peer = storetest.FreePort(t), storetest.FreePort(t)
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", optionsOnly(t), "--probe-timeout", "5s", "--next-hop", l.nextHop())
	callee := sipp(t, "uas.xml", l, l.port)
	if l.transport == "t1" {
		eventually(t, "SIPp listens", func() bool { return listens(l.port) })
	}
	caller := sipp(t, "uac.xml", l, l.peer, "-r", strconv.Itoa(l.rate), "-recv_timeout", "20000", d.target(l))
	if !caller.succeeded(l.calls) {
		t.Fatal(callee.report()) // what went wrong may show there only
	}
	if !callee.succeeded(l.calls) {
		return
	}
	eventually(t, "all calls are over", func() bool { return d.metric(`sipvigil_calls_active`) == 0 })
	if n := d.metric(`sipvigil_calls_ended_total{reason="caller-bye"}`); n != float64(l.calls) {
		t.Errorf("%v calls ended by the caller's BYE, want %d", n, l.calls)
	}
}

// optionsOnly is a configuration without calibration, with what else is given: SIPp takes OPTIONS in a
// dialog that it does not know for a call that begins wrongly.
func optionsOnly(t *testing.T, more ...string) string {
	return file(t, "sipvigil.yaml", "supervise: {method: options}\n"+strings.Join(more, ""))
}

func (l load) nextHop() string {
	if l.transport == "t1" {
		return fmt.Sprintf("sip:127.0.0.1:%d;transport=tcp", l.port)
	}
	return fmt.Sprintf("sip:127.0.0.1:%d", l.port)
}

func (d *sipvigil) target(l load) string {
	if l.transport == "t1" {
		return d.tcp
	}
	return d.udp
}

// sippRun is one process of SIPp.
type sippRun struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	output *lines
	ended  chan struct{}
	stats  string // file with its statistics
	errors string // file with what it found wrong
}

func sipp(t *testing.T, scenario string, l load, port int, args ...string) *sippRun {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("sipp", scenario))
	if err != nil {
		t.Fatal(err)
	}
	return sippFile(t, path, l, port, args...)
}

// sippFile is sipp for a scenario anywhere.
func sippFile(t *testing.T, path string, l load, port int, args ...string) *sippRun {
	t.Helper()
	dir := t.TempDir()
	r := &sippRun{
		t: t, name: filepath.Base(path), output: &lines{}, ended: make(chan struct{}),
		stats: filepath.Join(dir, "stats.csv"), errors: filepath.Join(dir, "errors.log"),
	}
	r.cmd = exec.Command("sipp", append([]string{"-sf", path, "-i", "127.0.0.1", "-p", strconv.Itoa(port), "-t", l.transport,
		"-m", strconv.Itoa(l.calls), "-l", strconv.Itoa(l.calls), "-nostdin",
		"-max_recv_loops", "1", // else a message may come before the one that it follows was dealt with
		// What does not fit is lost over UDP, and sent in parts over TCP: then SIPp fails at what comes meanwhile.
		"-buff_size", "1000000",
		"-trace_stat", "-stf", r.stats, "-trace_err", "-error_file", r.errors}, args...)...)
	r.cmd.Dir = dir
	r.cmd.Env = append(os.Environ(), "TERM=xterm")
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("start SIPp: %v", err)
	}
	go func() {
		_ = r.cmd.Wait() // how it ended is in ProcessState
		close(r.ended)
	}()
	t.Cleanup(func() {
		select {
		case <-r.ended:
		default:
			_ = r.cmd.Process.Kill()
			<-r.ended
		}
	})
	return r
}

// succeeded demands that all calls succeeded.
func (r *sippRun) succeeded(calls int) bool {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(90 * time.Second):
		r.t.Errorf("%s does not end\n%s", r.name, r.report())
		return false
	}
	got := fmt.Sprintf("exit code %d, %s successful, %s failed", r.cmd.ProcessState.ExitCode(), r.stat("SuccessfulCall(C)"), r.stat("FailedCall(C)"))
	if want := fmt.Sprintf("exit code 0, %d successful, 0 failed", calls); got != want {
		r.t.Errorf("%s: %s, want %s\n%s", r.name, got, want, r.report())
		return false
	}
	return true
}

// stat is one of the last statistics that SIPp wrote.
func (r *sippRun) stat(column string) string {
	r.t.Helper()
	f, err := os.Open(r.stats)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	table := csv.NewReader(f)
	table.Comma, table.FieldsPerRecord = ';', -1
	rows, err := table.ReadAll()
	if err != nil || len(rows) < 2 {
		return fmt.Sprintf("no statistics (%v)", err)
	}
	for i, name := range rows[0] {
		if last := rows[len(rows)-1]; name == column && i < len(last) {
			return last[i]
		}
	}
	return "no column " + column
}

func (r *sippRun) report() string {
	text, err := os.ReadFile(r.errors)
	if err != nil {
		text = []byte(err.Error())
	}
	screen, _, _ := strings.Cut(r.output.String(), "-- Statistics Screen") // the messages, how often each came
	// What went wrong first is the reason for the rest.
	return r.name + ":\n" + string(text[:min(len(text), 3000)]) + "\n" + tail(screen, 3000)
}
