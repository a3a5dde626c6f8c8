package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completed are what a shell offers after a command line, the last word of which
// is begun.
func completed(t *testing.T, server string, args ...string) []string {
	t.Helper()
	got := run(t, server, append([]string{cobra.ShellCompRequestCmd}, args...)...)
	lines := strings.Split(strings.TrimSuffix(got.Out, "\n"), "\n")
	return lines[:len(lines)-1] // without the directive
}

func TestShellsAreToldWhatMayFollow(t *testing.T) {
	server := goldenServer(t)
	test := func(line string, want ...string) {
		t.Helper()
		if want == nil {
			want = []string{}
		}
		got := completed(t, server, strings.Split(line, " ")...)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", line, d)
		}
	}
	const (
		one   = "0198c0de-0000-7000-8000-000000000001\t+4930123456 → carrier.example, alive"
		two   = "0198c0de-0000-7000-8000-000000000002\t+4930123456 → carrier.example, silent callee"
		three = "0198c0de-0000-7000-8000-000000000003\t+4930123456 → carrier.example, callee-silent"
	)
	test("calls show ", one, two, three)
	test("calls probe ", one, two, three)
	test("calls hangup x ", one, two, three)
	test("calls show x ")
	test("calls --trunk ", "pbx", "carrier")
	test("calls list --node ", "edge-1\tup", "edge-2\tup", "edge-3\tdead")
	test("cdrs --node ", "edge-1\tup", "edge-2\tup", "edge-3\tdead")
	test("cdrs --ended-by ", endings()...)
	test("trunks show ", "pbx", "carrier")
	test("trunks reconcile ", "pbx", "carrier")
	test("trunks maintenance ", "pbx", "carrier")
	test("trunks maintenance pbx ", "on", "off")
	test("trunks maintenance pbx on ")
	test("nodes maintenance ", "on", "off")
	test("nodes maintenance --node ", "edge-1\tup", "edge-2\tup", "edge-3\tdead")
	test("progress -o ", formats...)
	if got := completed(t, "http://127.0.0.1:1", "calls", "show", ""); len(got) != 0 {
		t.Errorf("without a server: %q", got)
	}
}

func TestEveryValueThatIsAWordIsCompleted(t *testing.T) {
	// What only the operator can know, and names of files, which shells know.
	free := map[string]bool{"number": true, "older": true, "server": true, "token-file": true, "since": true, "until": true, "reason": true,
		"carrier-count": true, "csv": true, "column": true, "count": true, "interval": true, "timeout": true, "limit": true, "per-second": true,
		"name": true, "admin": true, "for": true, "config": true, "listen": true, "next-hop": true, "store": true, "data": true,
		"probe-interval": true, "probe-timeout": true, "probe-misses": true}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if _, ok := cmd.GetFlagCompletionFunc(f.Name); !ok && f.Value.Type() != "bool" && !free[f.Name] && !(f.Name == "node" && cmd.Flags().Lookup("config") != nil) {
				t.Errorf("%s --%s is not completed", cmd.CommandPath(), f.Name)
			}
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk((&tool{getenv: os.Getenv}).root())
}
