package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// module is how our own packages begin.
const module = "sipvigil/"

// arrows says which of our packages each package may import, tests excepted.
var arrows = map[string][]string{
	"cmd/sipvigil":        {"b2bua/dialog", "b2bua/nap", "cmd/sipvigil/daemon", "store", "supervisor", "supervisor/web", "test/ua"},
	"cmd/sipvigil/daemon": {"b2bua", "b2bua/dialog", "b2bua/hep", "b2bua/locate", "b2bua/nap", "store", "store/embedded", "store/redis", "supervisor", "supervisor/links", "supervisor/maintenance", "supervisor/progress", "supervisor/web"},
	"b2bua":               {"b2bua/dialog", "b2bua/locate", "b2bua/nap", "store"},
	"b2bua/dialog":        {"store"},
	"b2bua/hep":           {},
	"b2bua/locate":        {"b2bua/dialog"},
	"b2bua/nap":           {},
	"supervisor":          {"store"},
	"supervisor/links":    {},
	"supervisor/web":      {"supervisor", "supervisor/links", "supervisor/progress", "store"},
	"store":               {},
	"store/redis":         {"store"},
	"store/embedded":      {"store"},
	"store/storetest":     {"store"},
	"test":                {},
	"test/page":           {},
	"test/bubble":         {},
	"test/load":           {},
	"test/load/sipload":   {"test/load"},
	"test/ua":             {},
	"test/udp":            {},
	"test/zone":           {},

	"supervisor/maintenance": {"store"},
	"supervisor/progress":    {"store"},
}

// homes says which packages alone may import a library, tests excepted.
var homes = map[string][]string{
	"github.com/emiago/sipgo":                   {"b2bua"},
	"github.com/miekg/dns":                      {"b2bua/locate", "test/zone"},
	"github.com/redis/go-redis":                 {"store/redis", "store/storetest"},
	"github.com/spf13/cobra":                    {"cmd/sipvigil"},
	"charm.land/bubbletea":                      {"cmd/sipvigil"},
	"github.com/prometheus/client_golang":       {"b2bua", "supervisor", "supervisor/links", "supervisor/web", "cmd/sipvigil/daemon"},
	"go.yaml.in/yaml":                           {"cmd/sipvigil/daemon"},
	"github.com/alicebob/miniredis":             {},
	"gopkg.in/yaml":                             {},
	"github.com/testcontainers/testcontainers-": {},
}

// source is a package as `go list` describes it.
type source struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func sources(t *testing.T) []source {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []source
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var s source
		if err := dec.Decode(&s); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		list = append(list, s)
	}
}

func TestPackagesImportOnlyWhatLiesBelowThem(t *testing.T) {
	t.Parallel()
	found := make(map[string]bool)
	for _, s := range sources(t) {
		name := strings.TrimPrefix(s.ImportPath, module)
		allowed, known := arrows[name]
		if !known {
			t.Errorf("package %s is not in the plan of this test", name)
		}
		found[name] = true
		for _, path := range s.Imports {
			ours, ok := strings.CutPrefix(path, module)
			if ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
			if !ok && strings.Contains(path, ".") && (name == "store" || name == "test/ua") {
				t.Errorf("%s imports %s, and may use the standard library only", name, path)
			}
			for library, home := range homes {
				if strings.HasPrefix(path, library) && !slices.Contains(home, name) {
					t.Errorf("%s imports %s", name, path)
				}
			}
		}
	}
	for name := range arrows {
		if !found[name] {
			t.Errorf("there is no package %s any more", name)
		}
	}
}

// A test may look further, but the parts that must not know each other do not
// meet in theirs either.
func TestTestsOfAPartKeepToIt(t *testing.T) {
	t.Parallel()
	apart := map[string][]string{"b2bua": {"supervisor"}, "supervisor": {"b2bua"}, "test/ua": {"b2bua", "supervisor", "store"}}
	for _, s := range sources(t) {
		name := strings.TrimPrefix(s.ImportPath, module)
		for _, path := range append(s.TestImports, s.XTestImports...) {
			for part, others := range apart {
				for _, other := range others {
					if within := inside(name, part) && inside(strings.TrimPrefix(path, module), other); within {
						t.Errorf("a test of %s imports %s", name, path)
					}
				}
			}
		}
	}
}

// inside says whether a package is another one or below it.
func inside(name, part string) bool { return name == part || strings.HasPrefix(name, part+"/") }

func TestTreeOpensWithTheFewThingsThatItIsMadeOf(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	tops := make(map[string]bool)
	for dir := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(dir), strings.TrimSpace(string(root))+"/"), "/")
		tops[top] = true
	}
	if diff := cmp.Diff(map[string]bool{"cmd": true, "b2bua": true, "supervisor": true, "store": true, "test": true}, tops); diff != "" {
		t.Errorf("directories with Go code at the top (-want +got):\n%s", diff)
	}
}
