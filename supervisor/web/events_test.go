package web

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
)

func TestAReaderThatComesBackMissesNothing(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		pass(2 * time.Second)
		s.calls.follower.Ended(&supervisor.CDR{ID: "1"})
		pass(beat)
		all := l.take(t)
		last := all[len(all)-1].id
		hangUp()
		s.calls.follower.Ended(&supervisor.CDR{ID: "2"})
		pass(30 * time.Second)
		s.calls.follower.Ended(&supervisor.CDR{ID: "3"})
		pass(beat)
		l, hangUp = s.read(last)
		defer hangUp()
		var ids []string
		for _, e := range l.take(t) {
			ids = append(ids, e.kind+" "+e.data[:9])
		}
		if d := cmp.Diff([]string{`ended {"id":"2"`, `ended {"id":"3"`}, ids); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestAGapIsSaid(t *testing.T) {
	gap := func(t *testing.T, s *stage, last string) {
		t.Helper()
		l, hangUp := s.read(last)
		defer hangUp()
		got := l.take(t)
		if len(got) < 2 || got[0].kind != "reset" || got[1].kind != "overview" {
			t.Errorf("after %q it begins with %v", last, got)
		}
	}
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		pass(2 * time.Second)
		all := l.take(t)
		last := all[len(all)-1].id
		hangUp()
		for _, other := range []string{"x", "-1", "other-1", last + "9", s.server.feed.run + "-99999999999999999999", s.server.feed.run + "-"} {
			gap(t, s, other)
		}
		for i := range ringEvents + 10 {
			s.calls.follower.Ended(&supervisor.CDR{ID: fmt.Sprint(i)})
			if i%mostChanges == 0 {
				pass(beat)
			}
		}
		pass(time.Second)
		gap(t, s, last)

		l, hangUp = s.read("")
		all = l.take(t)
		last = all[len(all)-1].id
		hangUp()
		pass(2 * linger) // nobody reads: nothing is kept
		gap(t, s, last)
	})
}

func TestAReaderThatStopsReadingIsDropped(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		other, hangUpOther := s.read("")
		defer hangUpOther()
		l.take(t)
		other.take(t)
		l.mu.Lock()
		l.stuck = true
		l.mu.Unlock()
		s.calls.follower.Changed(confirmed().ID)
		pass(beat)
		if got := kindsOf(other.take(t)); len(got) != 1 {
			t.Errorf("the other reader got %v", got)
		}
		pass(sendTime)
		s.server.feed.mu.Lock()
		n := s.server.feed.readers
		s.server.feed.mu.Unlock()
		if n != 1 {
			t.Errorf("%d readers are left", n)
		}
		hangUp()
	})
}

func TestTheStreamStaysOpenInSilence(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		pass(2 * time.Second)
		l.take(t)
		pass(hushTime)
		hangUp()
		if got := l.body.String(); got != ":\n\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestTooManyReadersAreRefused(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		for range mostReaders {
			_, hangUp := s.read("")
			defer hangUp()
		}
		l, hangUp := s.read("")
		hangUp()
		if l.code != 503 || l.header.Get("Retry-After") == "" || l.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("got %d, %v", l.code, l.header)
		}
	})
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var tokens atomic.Pointer[Tokens]
		token, written, err := NewToken("ann", Viewer)
		if err != nil {
			t.Fatal(err)
		}
		known, err := ReadTokens(strings.NewReader(written))
		if err != nil {
			t.Fatal(err)
		}
		tokens.Store(&known)
		s.server.cfg.Tokens = func() Tokens { return *tokens.Load() }
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/api/v1/events", nil)
		r.SetBasicAuth("", token)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.server.ServeHTTP(&line{header: make(http.Header)}, r)
		}()
		pass(time.Minute)
		select {
		case <-ended:
			t.Fatal("it ended before")
		default:
		}
		tokens.Store(&Tokens{})
		pass(2 * hushTime)
		select {
		case <-ended:
		default:
			t.Error("it goes on without")
		}
	})
}

// A real connection: the time-outs of the server do not end a stream, its end
// does.
func TestEventsOverAConnection(t *testing.T) {
	c := confirmed()
	f := &fakeCalls{calls: map[string]store.Call{c.ID: c}}
	s := newServer(t, f, healthy)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + ln.Addr().String() + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	next := func(kind string) {
		t.Helper()
		for in.Scan() {
			if in.Text() == "event: "+kind {
				return
			}
		}
		t.Fatalf("the stream ended before %s: %v", kind, in.Err())
	}
	next("overview")
	f.follower.Changed(c.ID)
	next("call")
	stop()
	for in.Scan() {
		continue
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
