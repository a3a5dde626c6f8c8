package test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// metric is the value of one series, as /metrics writes its name, -1 when there
// is none.
func (d *sipvigil) metric(series string) float64 {
	d.t.Helper()
	_, body := d.http(http.MethodGet, "/metrics")
	for line := range strings.Lines(string(body)) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				d.t.Fatalf("metric %s: %v", series, err)
			}
			return v
		}
	}
	return -1
}

// listens says whether anyone accepts connections on a port of this host.
func listens(port int) bool {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// Names in the README's table, between its heading and the next one.
var metricRow = regexp.MustCompile("(?m)^\\| *`(sipvigil_[a-z0-9_]+)")

func TestREADMENamesEveryMetricAndNoOther(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "\n## Metrics\n")
	if !ok {
		t.Fatal("README.md has no section \"## Metrics\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	documented := make(map[string]bool)
	for _, m := range metricRow.FindAllStringSubmatch(section, -1) {
		documented[m[1]] = true
	}

	// A call that is made and one that is refused fill the series that have
	// labels of what happened; a trunk with credentials, and one that is
	// watched or has a capacity, has its own from the start.
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", file(t, "sipvigil.yaml", `trunks:
  - {name: carrier, targets: ["sip:192.0.2.1"], capacity: 1, credentials: {username: us, password_file: `+file(t, "password", "secret")+`}, monitor: {probe: none}}
`))
	c := dial(t, d)
	hangUp(t, c.caller, c.callee)
	var refused *ua.StatusError
	_, err = phone(t, "alice", "udp").Call(limit(t, patience), d.udp, "sip:nobody@"+d.udp, ua.Offer{})
	if !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("a call to nobody: %v", err)
	}
	registered := make(map[string]bool)
	_, body := d.http(http.MethodGet, "/metrics")
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (sipvigil_[a-z0-9_]+) `).FindAllStringSubmatch(string(body), -1) {
		registered[m[1]] = true
	}
	if diff := cmp.Diff(registered, documented); diff != "" {
		t.Errorf("metrics of the daemon (-) and of README.md (+):\n%s", diff)
	}
	checkMonitoring(t, string(body))
}

// file makes a file of the test's own.
func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
