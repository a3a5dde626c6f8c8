package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/supervisor"
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

func TestEventsBeginWithTheOverviewAndTellOfCalls(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.calls.overview = supervisor.Overview{Active: 3, PerSecond: 1.25, Live: 2, Held: 1, Reclaimed: 4,
			Brake: []supervisor.Braking{{Reason: "peer", Trunk: "carrier", Ill: 12, Legs: 30}}}
		l, hangUp := s.read("")
		defer hangUp()
		if got := l.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type is %q", got)
		}
		first := l.take(t)
		if len(first) != 1 || first[0].kind != "overview" {
			t.Fatalf("it begins with %v", first)
		}
		sameJSON(t, first[0].data, `{"active": 3, "calls_per_second": 1.3, "live": 2, "suspect": 0, "unproven": 0, "held": 1,
			"reclaimed_today": 4, "store": {"state": "ok", "backend": "embedded", "pending": 0, "error": ""},
			"nodes": {"up": 0, "draining": 0, "left": 0, "dead": 0}, "others": [],
			"brake": [{"reason": "peer", "trunk": "carrier", "peer": "", "ill": 12, "legs": 30, "text": ""}]}`)

		s.calls.follower.Changed(confirmed().ID)
		pass(beat)
		got := l.take(t)
		if len(got) != 1 || got[0].kind != "call" {
			t.Fatalf("a change is told as %v", got)
		}
		sameJSON(t, got[0].data, confirmedJSON)

		s.calls.follower.Changed(confirmed().ID)
		s.calls.follower.Ended(&supervisor.CDR{ID: confirmed().ID, EndedBy: "caller-bye", Billed: 12.5})
		pass(beat)
		got = l.take(t)
		if len(got) != 1 || got[0].kind != "ended" {
			t.Fatalf("an end is told as %v", got)
		}
		var r supervisor.CDR
		if err := json.Unmarshal([]byte(got[0].data), &r); err != nil || r.EndedBy != "caller-bye" || r.Billed != 12.5 {
			t.Errorf("%v, %v", r, err)
		}
	})
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

func TestAnswersToProbesAreToldOnceASecond(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		defer hangUp()
		l.take(t)
		for range 500 {
			s.calls.follower.Heard(confirmed().ID)
			pass(10 * time.Millisecond)
		}
		if n := len(kindsOf(l.take(t))); n < 4 || n > 6 {
			t.Errorf("told %d times in 5 s", n)
		}
		s.calls.follower.Heard(confirmed().ID)
		s.calls.follower.Changed(confirmed().ID)
		pass(3 * time.Second)
		if n := len(kindsOf(l.take(t))); n > 2 {
			t.Errorf("one change is told %d times", n)
		}
	})
}

func TestTheOverviewIsToldWhenItChanges(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		defer hangUp()
		pass(3 * time.Second)
		l.take(t)
		pass(10 * time.Second)
		if got := l.take(t); len(got) > 0 {
			t.Errorf("nothing changed, and it was told: %v", got)
		}
		s.status.Store(&store.Status{Backend: "redis", LastError: "refused"})
		pass(time.Second)
		got := l.take(t)
		if len(got) != 2 || got[0].kind != "store" || got[1].kind != "overview" {
			t.Fatalf("a store that is away is told as %v", got)
		}
		sameJSON(t, got[0].data, `{"state": "degraded", "backend": "redis", "pending": 0, "error": "refused"}`)
		s.calls.follower.Braked(supervisor.Braking{Reason: "stall", Text: "late"}, true)
		pass(beat)
		got = l.take(t)
		if len(got) != 1 || got[0].kind != "brake" {
			t.Fatalf("the brake is told as %v", got)
		}
		sameJSON(t, got[0].data, `{"engaged": true, "reason": "stall", "trunk": "", "peer": "", "ill": 0, "legs": 0, "text": "late"}`)
	})
}

func TestNodesAreToldWhenTheyChange(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var mu sync.Mutex
		list := []store.Node{{Name: "edge-1", State: store.NodeUp}, {Name: "edge-2", State: store.NodeUp}}
		s.server.cfg.Nodes = func(context.Context) ([]store.Node, error) {
			mu.Lock()
			defer mu.Unlock()
			list[0].Seen = time.Now()
			return slices.Clone(list), nil
		}
		l, hangUp := s.read("")
		defer hangUp()
		pass(20 * time.Second)
		if got := kindsOf(l.take(t)); len(got) > 0 {
			t.Errorf("nothing changed, and it was told: %v", got)
		}
		mu.Lock()
		list[1].State = store.NodeDead
		mu.Unlock()
		pass(nodeTime + time.Second)
		got := l.take(t)
		told := make(map[string]string) // both come at the same time, in any order
		for _, e := range got {
			told[e.kind] = e.data
		}
		if len(got) != 2 || !strings.Contains(told["node"], `"edge-2","state":"dead"`) || !strings.Contains(told["overview"], `"dead":1`) {
			t.Errorf("a node that died is told as %v", got)
		}
	})
}

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

func TestCallsThatMoveHaveReadersLoadAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		l, hangUp := s.read("")
		defer hangUp()
		l.take(t)
		s.calls.follower.Changed("a")
		s.calls.follower.Left("a")
		s.calls.follower.Left("b")
		pass(beat)
		if d := cmp.Diff([]string{"reset"}, kindsOf(l.take(t))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
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

func TestNobodyWhoReadsCostsNothing(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		for i := range 1000 {
			s.calls.follower.Changed(fmt.Sprint(i))
			s.calls.follower.Heard(fmt.Sprint(i))
			s.calls.follower.Ended(&supervisor.CDR{ID: fmt.Sprint(i)})
		}
		f := s.server.feed
		if len(f.changed)+len(f.heard)+len(f.queue) > 0 {
			t.Errorf("%d, %d, %d are noted", len(f.changed), len(f.heard), len(f.queue))
		}
	})
}

// Two thousand changes a second.
func TestChangesDoNotGrowMemory(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		const calls = 5000
		for i := range calls {
			c := confirmed()
			c.ID = fmt.Sprint("call-", i)
			s.calls.calls[c.ID] = c
		}
		l, hangUp := s.read("")
		defer hangUp()
		n, told := 0, 0
		second := func() {
			for range 10 {
				for range 200 {
					s.calls.follower.Changed(fmt.Sprint("call-", n%calls))
					n++
				}
				pass(beat)
				l.mu.Lock()
				told += strings.Count(l.body.String(), "\nevent: call\n")
				l.body.Reset()
				l.mu.Unlock()
			}
		}
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		for range 5 { // until the ring is full
			second()
		}
		before := heap()
		for range 6 {
			second()
		}
		after := heap()
		if after > before+8<<20 {
			t.Errorf("the heap grew from %d to %d", before, after)
		}
		s.server.feed.mu.Lock()
		defer s.server.feed.mu.Unlock()
		if b := s.server.feed.ring.bytes; b > ringBytes {
			t.Errorf("the ring has %d bytes", b)
		}
		if told < n-200 {
			t.Errorf("%d of %d changes were told", told, n)
		}
	})
}

func TestRingKeepsTheLastInOrder(t *testing.T) {
	r := newRing()
	test := func(after uint64, want ...string) {
		t.Helper()
		frames, ok := r.after(after)
		var got []string
		for _, f := range frames {
			got = append(got, string(f.text))
		}
		if d := cmp.Diff(want, got); d != "" || !ok {
			t.Errorf("after %d: %v (-want +got):\n%s", after, ok, d)
		}
	}
	none := func(after uint64) {
		t.Helper()
		if _, ok := r.after(after); ok {
			t.Errorf("after %d there is something", after)
		}
	}
	test(0)
	none(1)
	r.add(frame{text: []byte("a")})
	r.add(frame{text: []byte("b")})
	test(0, "a", "b")
	test(1, "b")
	test(2)
	none(3)
	r.add(frame{text: make([]byte, ringBytes-1)})
	none(0)
	if r.first != 2 {
		t.Errorf("the oldest is %d", r.first)
	}
	r.skip()
	none(3)
	test(4)
	r.add(frame{text: []byte("c")})
	test(4, "c")
	for range ringEvents {
		r.add(frame{text: []byte("d")})
	}
	none(4)
	if r.bytes != ringEvents || r.next-r.first != ringEvents {
		t.Errorf("%d bytes, %d events", r.bytes, r.next-r.first)
	}
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
