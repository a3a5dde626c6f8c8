package test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const monitoring = "../supervisor/web/monitoring/"

// series are the labels, and their values, of each metric that a daemon has.
type series map[string]map[string]map[string]bool

func readSeries(metrics string) series {
	all := make(series)
	line := regexp.MustCompile(`(?m)^([a-z0-9_]+)(?:\{(.*)\})? \S+$`)
	label := regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
	for _, m := range line.FindAllStringSubmatch(metrics, -1) {
		if all[m[1]] == nil {
			all[m[1]] = make(map[string]map[string]bool)
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if all[m[1]][l[1]] == nil {
				all[m[1]][l[1]] = make(map[string]bool)
			}
			all[m[1]][l[1]][l[2]] = true
		}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b((?:sipvigil|go|process)_[a-z0-9_]+|up\b)(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping   = regexp.MustCompile(`\b(?:by|without) \(([^)]*)\)`)
)

// check holds one expression against what there is.
func (s series) check(t *testing.T, where, expr string) {
	t.Helper()
	names := metricName.FindAllStringSubmatch(expr, -1)
	if len(names) == 0 || strings.Count(expr, "(") != strings.Count(expr, ")") {
		t.Errorf("%s: %s is no expression", where, expr)
	}
	known := map[string]bool{"instance": true, "job": true} // those that Prometheus adds
	for _, m := range names {
		labels, ok := s[m[1]]
		if !ok && m[1] != "up" {
			t.Errorf("%s: there is no metric %s", where, m[1])
		}
		for name := range labels {
			known[name] = true
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			name, op, value := l[1], l[2], l[3]
			if strings.Contains(value, "$") || name == "job" {
				continue
			}
			values := []string{value}
			if op == "=~" {
				values = strings.Split(value, "|")
			}
			for _, v := range values {
				if !labels[name][v] {
					t.Errorf("%s: %s has no %s=%q", where, m[1], name, v)
				}
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			if !known[strings.TrimSpace(name)] {
				t.Errorf("%s: nothing there has the label %s", where, name)
			}
		}
	}
}

// checkMonitoring holds the files for Prometheus and Grafana against the metrics
// of a daemon that has had calls.
func checkMonitoring(t *testing.T, metrics string) {
	t.Helper()
	s := readSeries(metrics)
	recorded := make(map[string]bool)
	for _, file := range []string{"alerts.yml", "recording.yml"} {
		for _, r := range readRules(t, file) {
			s.check(t, file+": "+r.Alert+r.Record, r.Expr)
			if recorded[r.Alert+r.Record] {
				t.Errorf("%s: %s is there twice", file, r.Alert+r.Record)
			}
			recorded[r.Alert+r.Record] = true
			if r.Alert != "" && (r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "") {
				t.Errorf("%s: %s says too little", file, r.Alert)
			}
			if (r.Alert != "") == (r.Record != "") || r.Alert != "" && !strings.HasPrefix(r.Alert, "Sipvigil") {
				t.Errorf("%s: what is %+v?", file, r)
			}
		}
	}
	for _, name := range []string{"active", "early", "processed", "expired", "failed"} { // of its module dialog
		if !recorded["kamailio_dialog_"+name+"_dialogs"] {
			t.Errorf("no rule stands for Kamailio's %s_dialogs", name)
		}
	}
	checkDashboard(t, s)
}

type rule struct {
	Alert, Record, Expr, For string
	Labels, Annotations      map[string]string
}

func readRules(t *testing.T, name string) []rule {
	t.Helper()
	file, err := os.Open(monitoring + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var groups struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	dec := yaml.NewDecoder(file)
	dec.KnownFields(true)
	if err := dec.Decode(&groups); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var all []rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func checkDashboard(t *testing.T, s series) {
	t.Helper()
	text, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID, Title string
		Templating struct {
			List []struct{ Name, Query string }
		}
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	ids, taken := make(map[int]bool), make(map[[2]int]string)
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %d %q: the number is there twice, or something is missing", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies on %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			s.check(t, "panel "+p.Title, target.Expr)
		}
	}
	for _, v := range board.Templating.List {
		if strings.HasPrefix(v.Query, "label_values(") {
			s.check(t, "variable "+v.Name, v.Query)
		}
	}
}
