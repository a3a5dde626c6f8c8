package daemon

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"sipvigil/store/storetest"
)

func TestWhileCallsAreReadBackThePageShowsAndDoesNothing(t *testing.T) {
	url, _ := storetest.Redis(t)
	d := withStore(t, Store{URL: url}, zap.NewNop())
	ask := func(method, path string) int {
		w := httptest.NewRecorder()
		d.web.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1"+path, nil))
		return w.Code
	}
	all := func() map[string]int {
		return map[string]int{
			"/readyz":               ask(http.MethodGet, "/readyz"),
			"/api/v1/progress":      ask(http.MethodGet, "/api/v1/progress"),
			"/api/v1/brake/release": ask(http.MethodPost, "/api/v1/brake/release"),
		}
	}
	if d := cmp.Diff(map[string]int{"/readyz": 503, "/api/v1/progress": 200, "/api/v1/brake/release": 503}, all()); d != "" {
		t.Errorf("before (-want +got):\n%s", d)
	}
	if why := d.unready(); !slices.Equal(why, []string{"starting"}) {
		t.Errorf("not ready because of %q", why)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	storetest.Eventually(t, "it is ready", func() bool { return ask(http.MethodGet, "/readyz") == 200 })
	if d := cmp.Diff(map[string]int{"/readyz": 200, "/api/v1/progress": 200, "/api/v1/brake/release": 202}, all()); d != "" {
		t.Errorf("after (-want +got):\n%s", d)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
