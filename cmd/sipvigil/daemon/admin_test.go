package daemon

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sipvigil/supervisor/web"
)

func newToken(t *testing.T, name string, role web.Role) (token, line string) {
	t.Helper()
	token, line, err := web.NewToken(name, role)
	if err != nil {
		t.Fatal(err)
	}
	return token, line + "\n"
}

func TestTokensAreReadAgainWhenTheirFileChanges(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	f := &tokenFile{name: filepath.Join(t.TempDir(), "tokens"), log: zap.New(core)}
	test := func(want ...string) {
		t.Helper()
		if got := len(f.current()); got != len(want) {
			t.Errorf("%d tokens are in force, want %d", got, len(want))
		}
		for _, u := range f.current() {
			if !strings.Contains(strings.Join(want, " "), u.Name) {
				t.Errorf("%s is in force", u.Name)
			}
		}
	}
	if err := f.load(); err == nil || !strings.Contains(err.Error(), "admin.tokens_file") {
		t.Errorf("a file that is not there: %v", err)
	}
	_, ann := newToken(t, "ann", web.Viewer)
	_, bob := newToken(t, "bob", web.Admin)
	write(t, f.name, ann)
	test("ann")
	write(t, f.name, ann+bob)
	test("ann", "bob")
	write(t, f.name, bob+"ann\n")
	test("ann", "bob")
	write(t, f.name, bob)
	test("bob")
	if err := os.Remove(f.name); err != nil {
		t.Fatal(err)
	}
	test()
	var faults []string
	for _, l := range logged.FilterLevelExact(zapcore.ErrorLevel).All() {
		faults = append(faults, l.Message)
	}
	if d := cmp.Diff([]string{
		"the tokens file cannot be used, what was read before stays in force: correct the file",
		"the tokens file is gone, and nobody may use the API: put it back",
	}, faults); d != "" {
		t.Errorf("logged errors (-want +got):\n%s", d)
	}
	write(t, f.name, ann)
	test("ann")
}

func TestAdminAddressBeyondLoopbackIsServedToThoseWithATokenOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Default()
	cfg.SIP.Listen = []string{"udp://127.0.0.1:0"}
	cfg.Admin = Admin{Listen: "0.0.0.0:0", TokensFile: filepath.Join(dir, "tokens"),
		TLS: AdminTLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}}
	d, err := New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	err = d.Listen()
	for _, path := range []string{"admin.tokens_file", "admin.tls.cert"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("files that are not there: %v, want %s", err, path)
		}
	}
	token, line := newToken(t, "ann", web.Viewer)
	write(t, cfg.Admin.TokensFile, line)
	writePair(t, TLS{Cert: cfg.Admin.TLS.Cert, Key: cfg.Admin.TLS.Key}, 1)
	if err := d.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	_, port, _ := strings.Cut(d.AdminAddr().String(), "]:")
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // its certificate is for another name
	ask := func(token string) int {
		r, err := http.NewRequest("GET", "https://127.0.0.1:"+port+"/api/v1/calls", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if got := ask(token); got != http.StatusOK {
		t.Errorf("with the token: %d", got)
	}
	if got := ask("other"); got != http.StatusUnauthorized {
		t.Errorf("with another: %d", got)
	}
	transport.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
