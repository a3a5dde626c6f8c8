package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
)

// guarded is a server with one token of each role, and what it logs.
func guarded(t *testing.T, calls Calls) (*Server, map[Role]string, *observer.ObservedLogs) {
	t.Helper()
	tokens, file := make(map[Role]string), ""
	for _, role := range Roles {
		token, line, err := NewToken("the-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		tokens[role] = token
		file += line + "\n"
	}
	known, err := ReadTokens(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	s, err := New(Config{Listen: "0.0.0.0:8080", Probe: time.Minute, Tokens: func() Tokens { return known }}, calls,
		func() store.Status { return healthy }, func() []string { return nil }, prometheus.NewRegistry(), zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	return s, tokens, logs
}

// needs is the least role of every route.
var needs = map[string]Role{
	"GET /api/v1/calls":                     Viewer,
	"GET /api/v1/calls/{id}":                Viewer,
	"DELETE /api/v1/calls/{id}":             Operator,
	"GET /api/v1/calls/{id}/events":         Viewer,
	"POST /api/v1/calls/{id}/probe":         Operator,
	"POST /api/v1/calls/hangup":             Operator,
	"GET /api/v1/batches":                   Viewer,
	"GET /api/v1/batches/{id}":              Viewer,
	"DELETE /api/v1/batches/{id}":           Operator,
	"POST /api/v1/brake/release":            Operator,
	"GET /api/v1/cdrs":                      Viewer,
	"GET /api/v1/nodes":                     Viewer,
	"GET /api/v1/overview":                  Viewer,
	"GET /api/v1/progress":                  Viewer,
	"GET /api/v1/nodes/{name}/maintenance":  Viewer,
	"PUT /api/v1/nodes/{name}/maintenance":  Admin,
	"GET /api/v1/trunks":                    Viewer,
	"GET /api/v1/trunks/{name}/maintenance": Viewer,
	"PUT /api/v1/trunks/{name}/maintenance": Admin,
	"POST /api/v1/ping":                     Operator,
	"GET /api/v1/events":                    Viewer,
	"GET /api/openapi.json":                 Viewer,
	"GET /metrics":                          Viewer,
	"GET /livez":                            Anybody,
	"GET /readyz":                           Anybody,
	"GET /licences.txt":                     Viewer,
	"GET /api/v1/table":                     Viewer,
	"GET /api/v1/me":                        Viewer,
	"GET /{$}":                              Viewer,
	"GET /page.js":                          Viewer,
	"GET /page.css":                         Viewer,
	"GET /icon.svg":                         Viewer,
}

func TestEveryRouteAsksForItsRole(t *testing.T) {
	c := confirmed()
	s, tokens, _ := guarded(t, &fakeCalls{calls: map[string]store.Call{"x": c}})
	_, stranger, _ := guarded(t, &fakeCalls{})
	left, leave := context.WithCancel(t.Context())
	leave() // so that a stream ends at once
	ask := func(r route, token string) int {
		target := strings.NewReplacer("{id}", "x", "{name}", "x", "{$}", "").Replace(r.path)
		req := httptest.NewRequestWithContext(left, r.method, "http://edge.example"+target, nil)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Code
	}
	passed := func(code int) bool { return code != http.StatusUnauthorized && code != http.StatusForbidden }
	seen := make(map[string]Role)
	for _, r := range s.routes(prometheus.NewRegistry()) {
		name := r.method + " " + r.path
		need, ok := needs[name]
		if !ok {
			t.Errorf("%s: nothing is said of who may", name)
			continue
		}
		seen[name] = need
		for _, token := range []string{"", "x", stranger[Admin], tokens[Admin] + "x"} {
			if code := ask(r, token); passed(code) != (need == Anybody) || need != Anybody && code != http.StatusUnauthorized {
				t.Errorf("%s without a token: %d", name, code)
			}
		}
		for _, role := range Roles {
			code := ask(r, tokens[role])
			if may := slices.Index(Roles, role) >= slices.Index(Roles, need); passed(code) != may {
				t.Errorf("%s by a %s: %d", name, role, code)
			} else if !may && code != http.StatusForbidden {
				t.Errorf("%s by a %s: %d, want 403", name, role, code)
			}
		}
	}
	if d := cmp.Diff(needs, seen); d != "" {
		t.Errorf("routes (-want +got):\n%s", d)
	}
}

func TestATokenMayComeAsPassword(t *testing.T) {
	s, tokens, _ := guarded(t, &fakeCalls{})
	ask := func(set func(*http.Request)) int {
		t.Helper()
		r := httptest.NewRequest("GET", "https://edge.example/api/v1/calls", nil)
		set(r)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == http.StatusUnauthorized && len(w.Header().Values("WWW-Authenticate")) != 2 {
			t.Errorf("challenges are %q", w.Header().Values("WWW-Authenticate"))
		}
		if wrong := r.Header.Get("Authorization") != ""; strings.Contains(w.Body.String(), "is none of those") != (w.Code == 401 && wrong) {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		return w.Code
	}
	test := func(want int, set func(*http.Request)) {
		t.Helper()
		if got := ask(set); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	test(200, func(r *http.Request) { r.SetBasicAuth("ann", tokens[Viewer]) })
	test(200, func(r *http.Request) { r.Header.Set("Authorization", "bearer "+tokens[Viewer]) })
	test(401, func(*http.Request) {})
	test(401, func(r *http.Request) { r.SetBasicAuth(tokens[Viewer], "") })
	test(401, func(r *http.Request) { r.Header.Set("Authorization", tokens[Viewer]) })
	test(401, func(r *http.Request) { r.Header.Set("Authorization", "Digest "+tokens[Viewer]) })
}

func TestEveryActionIsLogged(t *testing.T) {
	c := confirmed()
	s, tokens, logs := guarded(t, &fakeCalls{calls: map[string]store.Call{"b-1": c}})
	act := func(method, target, token string, want map[string]any) {
		t.Helper()
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		s.ServeHTTP(httptest.NewRecorder(), r)
		var lines []map[string]any
		for _, e := range logs.TakeAll() {
			fields := e.ContextMap()
			fields["message"] = e.Message
			delete(fields, "from")
			lines = append(lines, fields)
		}
		var all []map[string]any
		if want != nil {
			all = append(all, want)
		}
		if d := cmp.Diff(all, lines); d != "" {
			t.Errorf("%s %s (-want +got):\n%s", method, target, d)
		}
	}
	act("DELETE", "/api/v1/calls/b-1?reason=hung+phone", tokens[Operator], map[string]any{"message": "operator acts", "who": "the-operator",
		"role": "operator", "method": "DELETE", "route": "/api/v1/calls/{id}", "target": "b-1", "call": c.ID, "reason": "hung phone", "status": int64(202)})
	act("DELETE", "/api/v1/calls/other", tokens[Admin], map[string]any{"message": "operator acts", "who": "the-admin",
		"role": "admin", "method": "DELETE", "route": "/api/v1/calls/{id}", "target": "other", "reason": "", "status": int64(404)})
	act("POST", "/api/v1/brake/release", tokens[Operator], map[string]any{"message": "operator acts", "who": "the-operator",
		"role": "operator", "method": "POST", "route": "/api/v1/brake/release", "reason": "", "calls": int64(7), "status": int64(202)})
	act("POST", "/api/v1/brake/release?reason=the+carrier+asks", tokens[Operator], map[string]any{"message": "operator acts", "who": "the-operator",
		"role": "operator", "method": "POST", "route": "/api/v1/brake/release", "reason": "the carrier asks", "calls": int64(7), "status": int64(202)})
	act("POST", "/api/v1/brake/release", tokens[Viewer], map[string]any{"message": "request is refused", "who": "the-viewer",
		"role": "viewer", "method": "POST", "route": "/api/v1/brake/release", "status": int64(403)})
	act("GET", "/api/v1/calls", "guess", map[string]any{"message": "request is refused", "who": "",
		"role": "", "method": "GET", "route": "/api/v1/calls", "status": int64(401)})
	act("GET", "/api/v1/calls", tokens[Viewer], nil)
}

func TestEveryRouteThatActsIsLogged(t *testing.T) {
	s, tokens, logs := guarded(t, &fakeCalls{calls: map[string]store.Call{"x": confirmed()}})
	s.cfg.Maintenance, s.cfg.Pinger = &fakeMaintenance{now: store.Maintenance{Scope: store.ScopeTrunk, Name: "x"}}, &fakePinger{}
	bodies := map[string]string{
		"POST /api/v1/calls/hangup":             `{"ids": ["x"], "reason": "why"}`,
		"PUT /api/v1/trunks/{name}/maintenance": `{"on": true, "drain": true, "reason": "why"}`,
		"POST /api/v1/ping":                     `{"target": "sip:192.0.2.1"}`,
	}
	for _, route := range s.routes(prometheus.NewRegistry()) {
		if route.method == http.MethodGet {
			continue
		}
		name := route.method + " " + route.path
		target := strings.NewReplacer("{id}", "x", "{name}", "x").Replace(route.path)
		if strings.HasSuffix(name, "release") || name == "DELETE /api/v1/calls/{id}" {
			target += "?reason=why"
		}
		r := httptest.NewRequest(route.method, target, strings.NewReader(bodies[name]))
		r.Header.Set("Authorization", "Bearer "+tokens[Admin])
		w := httptest.NewRecorder()
		logs.TakeAll()
		s.ServeHTTP(w, r)
		lines := logs.FilterMessage("operator acts").All()
		if len(lines) != 1 {
			t.Errorf("%s: %d lines", name, len(lines))
			continue
		}
		got := lines[0].ContextMap()
		if got["who"] != "the-admin" || got["method"] != route.method || got["route"] != route.path || got["status"] != int64(w.Code) {
			t.Errorf("%s: answered %d, logged %v", name, w.Code, got)
		}
		if strings.Contains(target+bodies[name], "why") && got["reason"] != "why" {
			t.Errorf("%s: logged without its reason: %v", name, got)
		}
	}
}

func TestTokensAreReadFromTheirLines(t *testing.T) {
	token, line, err := NewToken("ann@noc", Operator)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(strings.NewReader("# who may\n\n  " + line + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := tokens.who(token); !ok || u != (User{"ann@noc", Operator}) {
		t.Errorf("got %v, %v", u, ok)
	}
	if strings.Contains(line, token) || len(token) < len(tokenPrefix)+32 {
		t.Errorf("%q, %q", line, token)
	}
	_, err = ReadTokens(strings.NewReader("ann operator\n-x viewer sha256:00\nbob chief sha256:00\nbob viewer md5:00\n" +
		"bob viewer sha256:00\n" + line + "\n" + line + "\n"))
	want := "line 1: is not NAME ROLE sha256:HEX\n" +
		"line 2: its name is none: letters, digits, '.', '_', '@' and '-'\n" +
		"line 3: its role is none of viewer, operator, admin\n" +
		"line 4: its hash is not sha256: and 64 hexadecimal digits\n" +
		"line 5: its hash is not sha256: and 64 hexadecimal digits\n" +
		"line 7: the token of ann@noc is there already, for ann@noc"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err = ReadTokens(strings.NewReader("# nobody\n")); err == nil {
		t.Error("a file without a token is none")
	}
	for _, bad := range []User{{"", Viewer}, {"a b", Viewer}, {"ann", "root"}, {"ann", ""}} {
		if _, _, err := NewToken(bad.Name, bad.Role); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

func TestWhoAsksLearnsHisRole(t *testing.T) {
	s, tokens, _ := guarded(t, &fakeCalls{})
	s.cfg.Node = "edge-1"
	for role, token := range tokens {
		w := do(s, "GET", "/api/v1/me", "Authorization", "Bearer "+token)
		sameJSON(t, w.Body.String(), `{"name": "the-`+string(role)+`", "role": "`+string(role)+`", "node": "edge-1"}`)
	}
	sameJSON(t, do(newServer(t, &fakeCalls{}, healthy), "GET", "/api/v1/me").Body.String(), `{"name": "local", "role": "admin", "node": ""}`)
}
