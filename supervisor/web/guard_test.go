package web

import (
	"bytes"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/store"
)

func TestForeignHostNamesAreRefused(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	test := func(host string, want int) {
		t.Helper()
		if got := do(s, "GET", "/livez", "Host", host).Code; got != want {
			t.Errorf("Host %q: status %d, want %d", host, got, want)
		}
	}
	test("127.0.0.1:8080", 200)
	test("127.0.0.1", 200)
	test("[::1]:8080", 200)
	test("[::1]", 200)
	test("localhost:8080", 200)
	test("LocalHost.", 200)
	test("admin.example:8080", 200) // as configured
	test("", 200)                   // HTTP/1.0
	test("evil.example:8080", 403)
	test("localhost.evil.example", 403)
	test("127.0.0.1.evil.example:8080", 403)
	test("admin.example.evil.example", 403)
	test("127.0.0.1:8080:evil", 403)
}

func TestChangesFromForeignPagesAreRefused(t *testing.T) {
	test := func(want int, method, target string, header ...string) {
		t.Helper()
		f := &fakeCalls{calls: map[string]store.Call{"x": confirmed()}}
		w := do(newServer(t, f, healthy), method, target, header...)
		if w.Code != want {
			t.Errorf("%s %s with %q: status %d, want %d", method, target, header, w.Code, want)
		}
		if done := len(f.hungUp) + len(f.probed); (done > 0) != (want < 300 && method != "GET") {
			t.Errorf("%s %s with %q: %d calls were touched", method, target, header, done)
		}
	}
	const hangup, probe = "/api/v1/calls/x", "/api/v1/calls/x/probe"
	test(202, "DELETE", hangup) // no browser
	test(202, "DELETE", hangup, "Sec-Fetch-Site", "same-origin")
	test(202, "DELETE", hangup, "Origin", "http://127.0.0.1:8080")
	test(403, "DELETE", hangup, "Sec-Fetch-Site", "cross-site")
	test(403, "DELETE", hangup, "Sec-Fetch-Site", "same-site")
	test(403, "DELETE", hangup, "Origin", "http://evil.example")
	test(403, "DELETE", hangup, "Origin", "http://127.0.0.1:9090")
	test(403, "POST", probe, "Sec-Fetch-Site", "cross-site")
	test(403, "POST", probe, "Origin", "null")
	test(200, "POST", probe)
	test(200, "GET", hangup, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate") // a link to a call
	test(403, "GET", hangup, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors")
}

func TestWhatIsTurnedAwayIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.InfoLevel)
		s := newServer(t, &fakeCalls{}, healthy)
		s.log = zap.New(core)
		do(s, "DELETE", "/api/v1/calls/x", "Origin", "http://evil.example")
		do(s, "GET", "/", "Host", strings.Repeat("evil", 1000))
		for range 1000 {
			do(s, "POST", "/api/v1/brake/release", "Sec-Fetch-Site", "cross-site")
		}
		lines := logged.All()
		if len(lines) != refusals {
			t.Fatalf("%d lines were logged, want %d", len(lines), refusals)
		}
		for i, want := range []map[string]any{
			{"from": "192.0.2.1:1234", "method": "DELETE", "host": "127.0.0.1:8080", "origin": "http://evil.example", "status": int64(403)},
			{"from": "192.0.2.1:1234", "method": "GET", "host": strings.Repeat("evil", 25), "origin": "", "status": int64(403)},
		} {
			if d := cmp.Diff(want, lines[i].ContextMap()); d != "" || lines[i].Message != "request is refused" {
				t.Errorf("%s (-want +got):\n%s", lines[i].Message, d)
			}
		}
	})
}

func TestEveryAnswerBindsTheBrowser(t *testing.T) {
	for _, target := range []string{"/", "/page.js", "/api/v1/calls", "/nowhere"} {
		h := do(newServer(t, &fakeCalls{}, healthy), "GET", target).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy":      policy,
			"Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy":              "no-referrer",
			"X-Content-Type-Options":       "nosniff",
			"Cache-Control":                "no-store",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
	}
}

func TestPanicBecomesAProblem(t *testing.T) {
	w := do(newServer(t, &fakeCalls{panics: true}, healthy), "GET", "/api/v1/calls")
	wantJSON(t, w, 500, problemJSON(500, "a fault in sipvigil itself; its log says more"))
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	wantJSON(t, do(s, "GET", "/api/v2/calls"), 404, problemJSON(404, "there is nothing at this path"))
	test := func(method, target, allow string) {
		t.Helper()
		w := do(s, method, target)
		wantJSON(t, w, 405, problemJSON(405, method+" is not possible here, only "+allow))
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("Allow is %q, want %q", got, allow)
		}
	}
	test("PUT", "/api/v1/calls/x", "GET, HEAD, DELETE")
	test("DELETE", "/api/v1/calls", "GET, HEAD")
	test("GET", "/api/v1/calls/x/probe", "POST")
	test("POST", "/", "GET, HEAD")
}

func TestLargeBodyIsRefused(t *testing.T) {
	r := httptest.NewRequest("POST", "/api/v1/calls/x/probe", bytes.NewReader(make([]byte, maxBody+1)))
	r.Host = "localhost"
	w := httptest.NewRecorder()
	newServer(t, &fakeCalls{}, healthy).ServeHTTP(w, r)
	wantJSON(t, w, 413, problemJSON(413, "the body is too long"))
}

func TestALargeBodyOfUnknownLengthIsRefused(t *testing.T) {
	long := `{"on": true, "reason": "` + strings.Repeat("x", maxBody) + `"}`
	s := newServer(t, &fakeCalls{}, healthy)
	s.cfg.Maintenance, s.cfg.Pinger = &fakeMaintenance{}, &fakePinger{}
	for method, path := range map[string]string{"PUT": "/api/v1/trunks/x/maintenance", "POST": "/api/v1/ping"} {
		r := httptest.NewRequest(method, path, io.MultiReader(strings.NewReader(long)))
		r.Host, r.ContentLength = "localhost", -1
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		wantJSON(t, w, 413, problemJSON(413, "the body is too long"))
	}
}
