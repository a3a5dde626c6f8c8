package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor/links"
)

// line is the connection of one reader of events.
type line struct {
	header http.Header

	mu       sync.Mutex
	code     int
	body     bytes.Buffer
	deadline time.Time
	stuck    bool // the client does not read
}

func (l *line) Header() http.Header  { return l.header }
func (l *line) WriteHeader(code int) { l.code = code }
func (l *line) Flush()               {}

func (l *line) SetWriteDeadline(at time.Time) error {
	l.deadline = at
	return nil
}

func (l *line) Write(b []byte) (int, error) {
	l.mu.Lock()
	stuck := l.stuck
	if !stuck {
		l.body.Write(b)
	}
	l.mu.Unlock()
	if stuck {
		time.Sleep(time.Until(l.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

// told is an event as a client takes it apart.
type told struct{ id, kind, data string }

// take returns the events since it was called before.
func (l *line) take(t *testing.T) []told {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.body.String()
	l.body.Reset()
	var all []told
	for block := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		var e told
		for field := range strings.SplitSeq(block, "\n") {
			name, value, _ := strings.Cut(field, ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "retry", "", ":":
			default:
				t.Errorf("strange line %q", field)
			}
		}
		if e.kind != "" {
			all = append(all, e)
		}
	}
	return all
}

// kinds drops the overviews, which come by themselves, and says what the others
// are.
func kindsOf(all []told) []string {
	names := []string{}
	for _, e := range all {
		if e.kind != "overview" {
			names = append(names, e.kind)
		}
	}
	return names
}

// stage is a server in a bubble that passes changes on.
type stage struct {
	t      *testing.T
	calls  *fakeCalls
	server *Server
	status atomic.Pointer[store.Status]
	trunks atomic.Pointer[[]links.Health]
}

func onStage(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := confirmed()
		s := &stage{t: t, calls: &fakeCalls{calls: map[string]store.Call{c.ID: c}}}
		s.status.Store(&healthy)
		s.server = newServer(t, s.calls, healthy)
		s.server.status = func() store.Status { return *s.status.Load() }
		s.trunks.Store(&[]links.Health{})
		s.server.cfg.Trunks = func() []links.Health { return *s.trunks.Load() }
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { s.server.follow(ctx) })
		test(t, s)
		stop()
		run.Wait()
	})
}

// read begins to read events; hang up ends that and waits.
func (s *stage) read(last string) (l *line, hangUp func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/api/v1/events", nil)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	l = &line{header: make(http.Header)}
	var reading sync.WaitGroup
	reading.Go(func() { s.server.ServeHTTP(l, r) })
	synctest.Wait()
	return l, func() {
		cancel()
		reading.Wait()
	}
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatal(err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b, a); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
