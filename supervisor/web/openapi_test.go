package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"

	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/links"
	"sipvigil/supervisor/progress"
)

// api is openapi.json, as far as this test looks into it.
type api struct {
	Paths      map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Schemas    map[string]json.RawMessage
	}
	compiler *jsonschema.Compiler
}

type operation struct {
	Role       Role `json:"x-role"`
	Parameters []struct {
		Ref string `json:"$ref"`
	}
	Responses map[string]struct {
		Ref     string                     `json:"$ref"`
		Content map[string]json.RawMessage `json:"content"`
	}
}

type parameter struct {
	Name, In string
	Schema   struct{ Enum []string }
}

func readAPI(t *testing.T) *api {
	t.Helper()
	var a api
	if err := json.Unmarshal(description, &a); err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(description))
	if err != nil {
		t.Fatal(err)
	}
	a.compiler = jsonschema.NewCompiler()
	a.compiler.DefaultDraft(jsonschema.Draft2020) // the one of OpenAPI 3.1
	a.compiler.AssertFormat()
	if err := a.compiler.AddResource("openapi.json", whole); err != nil {
		t.Fatal(err)
	}
	return &a
}

// check compares a JSON text with the schema at a place of the document.
func (a *api) check(t *testing.T, what, place, body string) {
	t.Helper()
	schema, err := a.compiler.Compile("openapi.json#" + place)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s is not as openapi.json says: %v\n%s", what, err, body)
	}
}

// pointer is a place in a JSON document, RFC 6901.
func pointer(parts ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	var p strings.Builder
	for _, part := range parts {
		p.WriteString("/" + escape.Replace(part))
	}
	return p.String()
}

// described says whether a route is part of the API.
func described(path string) bool { return strings.HasPrefix(path, "/api/") }

func TestEveryRouteIsInTheOpenAPIDocument(t *testing.T) {
	a := readAPI(t)
	s := newServer(t, &fakeCalls{}, healthy)
	var have, want []string
	for _, r := range s.routes(prometheus.NewRegistry()) {
		if described(r.path) {
			have = append(have, fmt.Sprintf("%s %s for %s", r.method, r.path, r.role))
		}
	}
	for path, operations := range a.Paths {
		for method, o := range operations {
			want = append(want, fmt.Sprintf("%s %s for %s", strings.ToUpper(method), path, o.Role))
			names := a.names(o, "path")
			if d := diff.Diff(regexp.MustCompile(`[a-z]+\}`).FindAllString(path, -1), names); len(names) != strings.Count(path, "{") {
				t.Errorf("parameters in the path of %s: %v", path, d)
			}
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if d := diff.Diff(want, have); d != "" {
		t.Errorf("document against routes (-document +routes):\n%s", d)
	}
}

// names are those of an operation's parameters in the path, the query or the
// header.
func (a *api) names(o operation, in string) []string {
	names := []string{}
	for _, p := range o.Parameters {
		if have := a.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]; have.In == in {
			names = append(names, have.Name)
		}
	}
	return names
}

// Each handler names the parameters that it knows when it is asked for another.
func TestEveryParameterIsInTheOpenAPIDocument(t *testing.T) {
	a := readAPI(t)
	c := confirmed()
	s := newServer(t, &fakeCalls{calls: map[string]store.Call{"x": c}}, healthy)
	for path, operations := range a.Paths {
		for method, o := range operations {
			target := strings.ReplaceAll(path, "{id}", "x") + "?nonsense=1"
			w := do(s, strings.ToUpper(method), target)
			var p Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 400 {
				t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
				continue
			}
			want := cmp.Or(strings.Join(a.names(o, "query"), ", "), "none")
			if got := fmt.Sprintf(`"nonsense": no such parameter, there are %s`, want); p.Detail != got {
				t.Errorf("%s %s: %q, want %q", method, path, p.Detail, got)
			}
			if post := method == "post"; slices.Contains(a.names(o, "header"), "Idempotency-Key") != post {
				t.Errorf("%s %s: Idempotency-Key is for every POST, and for no other", method, path)
			}
		}
	}
}

// Each handler names the values that it knows when it is given another.
func TestEveryChoiceIsInTheOpenAPIDocument(t *testing.T) {
	a := readAPI(t)
	s := newServer(t, &fakeCalls{}, healthy)
	s.cfg.Records = fakeRecords
	chosen := make(map[string]bool)
	for path, operations := range a.Paths {
		for method, o := range operations {
			for _, name := range a.names(o, "query") {
				var p Problem
				w := do(s, strings.ToUpper(method), path+"?"+name+"=nonsense")
				said := json.Unmarshal(w.Body.Bytes(), &p) == nil && strings.Contains(p.Detail, "is none of")
				want := fmt.Sprintf(`%s: "nonsense" is none of %s`, name, strings.Join(a.Components.Parameters[name].Schema.Enum, ", "))
				if len(a.Components.Parameters[name].Schema.Enum) == 0 && !said {
					continue
				}
				if chosen[name] = true; w.Code != 400 || p.Detail != want {
					t.Errorf("%s %s: %d %q, want %q", method, path, w.Code, p.Detail, want)
				}
			}
		}
	}
	if d := diff.Diff([]string{"ended_by", "held", "liveness", "sort", "state"}, slices.Sorted(maps.Keys(chosen))); d != "" {
		t.Errorf("parameters with a choice (-want +got):\n%s", d)
	}
}

// find returns the path in the document that a target has, by its routes.
func (a *api) find(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	if _, ok := a.Paths[u.Path]; ok {
		return u.Path
	}
	for path := range a.Paths {
		pattern := regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`)
		if regexp.MustCompile("^" + pattern + "$").MatchString(u.EscapedPath()) {
			return path
		}
	}
	return ""
}

func TestAnswersAreAsTheOpenAPIDocumentSays(t *testing.T) {
	a := readAPI(t)
	c := confirmed()
	f := &fakeCalls{calls: map[string]store.Call{"x": c, c.ID: c}, page: store.Page{Calls: []store.Call{c, over()}, Next: "n"}}
	f.events = []supervisor.Event{{At: c.Started, Kind: supervisor.EventAnswer, Text: "200 OPTIONS", RTT: time.Millisecond}}
	f.answers = [2]store.Answer{{Kind: store.Answered, Method: "OPTIONS", Status: 200, At: c.Started}, {Kind: store.Deferred}}
	f.overview = busy
	s := newServer(t, f, store.Status{Backend: "redis", Since: c.Started, LastError: "refused"})
	s.cfg.Nodes = fakeNodes
	s.cfg.Records = fakeRecords
	s.cfg.Maintenance, s.cfg.Pinger = &fakeMaintenance{}, &fakePinger{}
	s.cfg.Progress = progress.New("edge-1", zap.NewNop())
	s.cfg.Trunks = func() []links.Health {
		return []links.Health{{Name: "carrier", State: links.Up, Since: c.Started, Probe: "options",
			Addresses: []links.Address{{Target: "sip:carrier", State: links.Up, LastAt: c.Started}}}}
	}
	s.cfg.Usage = func() []TrunkUsage {
		return []TrunkUsage{{Name: "carrier", Usage: supervisor.Usage{Peers: []supervisor.Worst{{Name: "192.0.2.1", Legs: 3}}}}, {Name: "pbx"}}
	}
	batch, ok := s.batches.add([]string{"x"}, &BatchRequest{}, command{User: User{Name: "ann"}})
	if !ok {
		t.Fatal("no batch")
	}

	seen := make(map[string]bool)
	ask := func(method, target, body string, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(method, "http://127.0.0.1"+target, io.NopCloser(strings.NewReader(body)))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		path := a.find(target)
		o := a.Paths[path][strings.ToLower(method)]
		status := fmt.Sprint(w.Code)
		if _, ok := o.Responses[status]; !ok && w.Code >= 400 {
			a.check(t, method+" "+target, "/components/schemas/Problem", w.Body.String())
			return w
		} else if !ok {
			t.Errorf("%s %s: %d is not in the document", method, target, w.Code)
			return w
		}
		media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		seen[strings.Join([]string{method, path, status, media}, " ")] = true
		if media == asJSON {
			a.check(t, method+" "+target, pointer("paths", path, strings.ToLower(method), "responses", status, "content", media, "schema"), w.Body.String())
		}
		return w
	}
	for _, media := range []string{asJSON, asLines, asCSV} {
		ask("GET", "/api/v1/calls?limit=5", "", "Accept", media)
		ask("GET", "/api/v1/cdrs?limit=5", "", "Accept", media)
	}
	for _, target := range []string{"/api/v1/calls", "/api/v1/calls/x"} {
		ask("GET", target, "", "If-None-Match", ask("GET", target, "").Header().Get("ETag"))
	}
	ask("GET", "/api/v1/calls/unknown", "")
	ask("GET", "/api/v1/calls/x/events", "")
	ask("POST", "/api/v1/calls/x/probe", "")
	ask("DELETE", "/api/v1/calls/x?reason=why", "")
	ask("POST", "/api/v1/calls/hangup", `{"ids": ["x"], "dry_run": true}`)
	ask("POST", "/api/v1/calls/hangup", `{"ids": ["x", "y"], "reason": "why"}`)
	ask("POST", "/api/v1/calls/hangup", `{}`)
	ask("GET", "/api/v1/batches", "")
	ask("GET", "/api/v1/batches/"+batch.ID, "")
	ask("DELETE", "/api/v1/batches/"+batch.ID, "")
	ask("POST", "/api/v1/brake/release", "")
	ask("GET", "/api/v1/nodes", "")
	ask("GET", "/api/v1/trunks", "")
	f.page.Next = "" // they are counted, page by page
	for of, scope := range map[string]store.Scope{"trunks/carrier": store.ScopeTrunk, "nodes/-": store.ScopeNode} {
		s.cfg.Maintenance = &fakeMaintenance{now: store.Maintenance{Scope: scope, Name: "carrier", Since: c.Started}}
		ask("GET", "/api/v1/"+of+"/maintenance", "")
		ask("PUT", "/api/v1/"+of+"/maintenance", `{"on": true, "drain": true}`)
	}
	ask("PUT", "/api/v1/trunks/carrier/maintenance", `{"off": true}`)
	ask("POST", "/api/v1/ping", `{"trunk": "carrier"}`)
	ask("POST", "/api/v1/ping", `{}`)
	ask("GET", "/api/v1/table", "")
	ask("GET", "/api/v1/overview", "")
	s.cfg.Progress.Begin(store.TaskStart, "edge-1", 7).End()
	ask("GET", "/api/v1/progress", "")
	ask("GET", "/api/v1/me", "")
	ask("GET", "/api/openapi.json", "")

	want := make(map[string]bool)
	for path, operations := range a.Paths {
		for method, o := range operations {
			for status, r := range o.Responses {
				if r.Ref != "" {
					continue
				}
				for media := range r.Content {
					want[strings.Join([]string{strings.ToUpper(method), path, status, media}, " ")] = true
				}
				if len(r.Content) == 0 {
					want[strings.Join([]string{strings.ToUpper(method), path, status, ""}, " ")] = true
				}
			}
		}
	}
	delete(want, "GET /api/v1/events 200 text/event-stream") // see TestEventsAreAsTheOpenAPIDocumentSays
	if d := diff.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(seen))); d != "" {
		t.Errorf("answers that were compared (-document +seen):\n%s", d)
	}
}

func TestEventsAreAsTheOpenAPIDocumentSays(t *testing.T) {
	a := readAPI(t)
	schemas := map[string]string{"call": "Call", "ended": "CDR", "brake": "BrakeChange", "store": "StoreState", "node": "Node",
		"batch": "Batch", "progress": "Progress", "overview": "Overview", "trunk": "Trunk"}
	onStage(t, func(t *testing.T, s *stage) {
		s.calls.overview = busy
		l, hangUp := s.read("")
		defer hangUp()
		s.calls.follower.Changed(confirmed().ID)
		s.calls.follower.Ended(&supervisor.CDR{ID: "x", Ended: "2026-03-01T11:00:00.000Z"})
		for _, reason := range []string{"stall", "trunk", "peer", "rate"} {
			s.calls.follower.Braked(supervisor.Braking{Reason: reason}, true)
		}
		s.server.feed.tell("store", storeState(healthy))
		s.server.feed.tell("node", Node{Name: "edge-1", State: "up"})
		s.server.feed.tell("trunk", Trunk{Name: "carrier", State: "up", Addresses: []Place{}})
		s.server.feed.tell("progress", progressOf(store.Progress{What: store.TaskStart, Began: time.Now()}))
		s.server.feed.tell("batch", Batch{State: "running", Failures: []BatchFailure{}})
		pass(3 * time.Second)
		seen := make(map[string]bool)
		for _, e := range l.take(t) {
			seen[e.kind] = true
			if schemas[e.kind] == "" {
				t.Errorf("event %s is not in the document", e.kind)
				continue
			}
			a.check(t, "event "+e.kind, pointer("components", "schemas", schemas[e.kind]), e.data)
		}
		if d := diff.Diff(slices.Sorted(maps.Keys(schemas)), slices.Sorted(maps.Keys(seen))); d != "" {
			t.Errorf("events that were compared (-document +seen):\n%s", d)
		}
		for kind := range schemas {
			if !strings.Contains(a.summary(t, "/api/v1/events"), kind+" (") {
				t.Errorf("the summary of the stream does not name %s", kind)
			}
		}
	})
}

func (a *api) summary(t *testing.T, path string) string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct{ Summary string }
	}
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Paths[path]["get"].Summary
}

// busy has something in every field.
var busy = supervisor.Overview{Active: 3, PerSecond: 1.5, Live: 1, Suspect: 1, Unproven: 1, Held: 1, Reclaimed: 2,
	Brake: []supervisor.Braking{{Reason: "peer", Trunk: "carrier", Ill: 10, Legs: 20}}}
