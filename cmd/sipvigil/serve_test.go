package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestServeRunsUntilItIsTold(t *testing.T) {
	logs, w := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan int, 1)
	go func() {
		tool := tool{stdout: io.Discard, stderr: w, getenv: func(string) string { return "" }}
		done <- tool.run(ctx, []string{"serve", "--node", "test", "--listen", "udp://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0",
			"--admin", "127.0.0.1:0", "--probe-interval", "0"})
		w.Close()
	}()
	for lines := bufio.NewScanner(logs); lines.Scan(); {
		var line struct{ Time, Level, Msg, Page string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Time == "" || line.Level == "" {
			t.Errorf("log line is not as expected: %v\n%s", err, lines.Text())
		}
		if line.Page == "" {
			continue
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get(line.Page + "livez")
		if err != nil {
			t.Error(err)
		} else if res.Body.Close(); res.StatusCode != http.StatusOK {
			t.Errorf("livez answered %d", res.StatusCode)
		}
		stop()
	}
	if code := <-done; code != 0 {
		t.Errorf("exit code is %d", code)
	}
}

func TestServeThatCannotListenFails(t *testing.T) {
	got := run(t, "", "serve", "--node", "test", "--listen", "udp://192.0.2.1:5060", "--admin", "127.0.0.1:0")
	if got.Code != 1 || !strings.Contains(got.Errors, "udp://192.0.2.1:5060") {
		t.Errorf("got %+v", got)
	}
}

func TestLogLevelIsThatOfTheFlagOrItsVariable(t *testing.T) {
	test := func(env string, args []string, want string) {
		t.Helper()
		tool := tool{getenv: func(name string) string { return map[string]string{"SIPVIGIL_LOG_LEVEL": env}[name] }}
		cmd := tool.serve()
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		level, err := tool.logLevel(cmd)
		got := level.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q %q: %s, want %s", env, args, got, want)
		}
	}
	test("", nil, "info")
	test("warn", nil, "warn")
	test("warn", []string{"--log-level", "debug"}, "debug")
	test("loud", nil, `SIPVIGIL_LOG_LEVEL: "loud" is none of debug, info, warn, error`)
}

func TestLogIsJSONAndQuietBelowItsLevel(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(&b, zap.WarnLevel)
	log.Info("quiet")
	log.Warn("store away", zap.Int("pending", 3))
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["msg"] != "store away" || line["pending"] != 3.0 {
		t.Errorf("%v: %s", err, b.Bytes())
	}
}

func TestConfigIsCheckedAndPrintedWithItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge.yaml")
	text := "node: edge-1\nstore: {url: redis://:secret@redis.example}\nsip: {lisen: []}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	faults := ran{Code: 2, Errors: `sipvigil: edge.yaml:3: sip: unknown key "lisen", there are listen, advertise, next_hop, ring_timeout, dns, unknown, source_check, takeover, tls` + "\n"}
	wantRun(t, run(t, "", "config", "check", "--config", path), faults)
	wantRun(t, run(t, "", "config", "print", "--config", path), faults)

	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "lisen: []", "advertise: sip.example")), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRun(t, run(t, "", "config", "check", "--config", path), ran{Out: "The configuration has no faults.\n"})
	wantRun(t, run(t, "", "config", "print", "--config", path, "--admin", "localhost:1", "--next-hop", "sip:pbx.example"), ran{Out: `node: edge-1
sip:
    listen: ['udp://127.0.0.1:5060', 'tcp://127.0.0.1:5060']
    advertise: sip.example
    next_hop: sip:pbx.example
    ring_timeout: 3m0s
    unknown: reject
    source_check: enforce
    takeover: none
store:
    url: redis://:xxxxx@redis.example
    on_outage: accept
supervise:
    interval: 30s
    jitter: 0.1
    timeout: 32s
    misses: 2
    method: auto
    policy: rfc3261
    action: hangup
    max_duration: 0s
    brake:
        share: 0.2
        floor: 10
        per_minute: 0.01
cdr:
    max_mb: 100
    keep: 10
admin:
    listen: localhost:1
`})
}

func TestVersionNamesCommitAndToolchain(t *testing.T) {
	built := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	test := func(want, version string, settings ...debug.BuildSetting) {
		t.Helper()
		if got := versionLine(&debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	test("sipvigil (devel), "+built, "")
	test("sipvigil v1.2.3, commit 0123456789ab of 2026-03-01T11:00:00Z, changed since, "+built, "v1.2.3",
		debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"},
		debug.BuildSetting{Key: "vcs.time", Value: "2026-03-01T11:00:00Z"},
		debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	if got := run(t, "", "version"); got.Code != 0 || !strings.HasPrefix(got.Out, "sipvigil ") {
		t.Errorf("got %+v", got)
	}
}
