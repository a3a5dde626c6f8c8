package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sipvigil/supervisor/web"
)

func TestTokenIsMadeForItsFile(t *testing.T) {
	got := run(t, "", "token", "new", "--name", "ann", "--role", "operator")
	tokens, err := web.ReadTokens(strings.NewReader(got.Out))
	if err != nil || len(tokens) != 1 || got.Code != 0 {
		t.Fatalf("%+v: %v", got, err)
	}
	for _, u := range tokens {
		if u != (web.User{Name: "ann", Role: web.Operator}) {
			t.Errorf("it is the token of %v", u)
		}
	}
	if !strings.HasPrefix(got.Errors, "token of ann, shown only now: sipvigil_") {
		t.Errorf("the token is told as %q", got.Errors)
	}
	if got := run(t, "", "token", "new", "--role", "viewer"); got.Code != exitUsage {
		t.Errorf("without a name: %+v", got)
	}
}

func TestCommandsShowTheirToken(t *testing.T) {
	var shown string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"calls": []}`))
	}))
	defer s.Close()
	ask := func(want string, env map[string]string, args ...string) {
		t.Helper()
		var out strings.Builder
		tool := tool{now: time.Now, stdout: &out, stderr: &out, getenv: func(name string) string { return env[name] }}
		code := tool.run(t.Context(), append([]string{"calls", "--server", s.URL}, args...))
		if code != 0 || shown != want {
			t.Errorf("%v: code %d, %q was shown, want %q\n%s", args, code, shown, want, &out)
		}
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask("", nil)
	ask("Bearer secret-2", map[string]string{"SIPVIGIL_TOKEN": "secret-2"})
	ask("Bearer secret-1", map[string]string{"SIPVIGIL_TOKEN": "secret-2"}, "--token-file", file)
	if got := run(t, s.URL, "calls", "--token-file", file+"-"); got.Code != exitUsage || !strings.Contains(got.Errors, "--token-file: ") {
		t.Errorf("a file that is not there: %+v", got)
	}
}
