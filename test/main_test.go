// Package test runs the whole daemon: the real binary as a process of its own,
// real sockets, a real redis-server, SIPp, baresip, kamailio,
// sipsak, sngrep and scripted phones.
package test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the sipvigil under test, built once, with the race detector unless it is measured.
var binary string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	flag.Parse()
	// These tests wait much more than they work: for Timer F, for silence.
	if err := flag.Set("test.parallel", "24"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, need := range []struct{ command, debian string }{
		{"redis-server", "redis-server"}, {"sipp", "sip-tester"}, {"baresip", "baresip-core"},
		{"kamailio", "kamailio"}, {"sipsak", "sipsak"}, {"sngrep", "sngrep"}, {"ip", "iproute2"},
	} {
		if _, err := exec.LookPath(need.command); err != nil {
			fmt.Fprintf(os.Stderr, "these tests need %s (Debian: apt-get install %s): %v\n", need.command, need.debian, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "sipvigil-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "sipvigil")
	if out, err := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", binary, "sipvigil/cmd/sipvigil")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build sipvigil: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
