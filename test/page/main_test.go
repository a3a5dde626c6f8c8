// Package page opens the operator's page in Chromium, over a real daemon, the
// demo, and a server with as many calls as it should be able to show.
package page

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// library is what looks for what people with a screen reader cannot use.
const library = "../../supervisor/web/page/src/node_modules/axe-core/axe.min.js"

var (
	browser context.Context // with Chromium in it
	axe     string          // the library
)

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	flag.Parse()
	if _, err := exec.LookPath("chromium"); err != nil {
		fmt.Fprintf(os.Stderr, "these tests need chromium (Debian: apt-get install chromium): %v\n", err)
		return 1
	}
	source, err := os.ReadFile(library)
	if err != nil {
		fmt.Fprintf(os.Stderr, "these tests need axe-core: run `make page` first: %v\n", err)
		return 1
	}
	axe = string(source)
	if err := os.MkdirAll(artifacts, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var stop context.CancelFunc
	if browser, stop, err = browse(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}
