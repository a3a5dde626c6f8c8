package web

import (
	"context"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// fakeCalls answers what a test has put into it, and remembers what was asked.
type fakeCalls struct {
	page    store.Page
	all     []store.Call // when set: Calls makes pages of them, as far as a node knows
	calls   map[string]store.Call
	answers [2]store.Answer
	events  []supervisor.Event
	rows    []supervisor.Row
	err     error // of Calls and of what is done to a call
	lookErr error // of Call

	overview supervisor.Overview
	follower supervisor.Follower

	query   store.Query
	mu      sync.Mutex // guards hungUp, and what changes while something is followed
	hungUp  []string
	hangup  func(id string) error // of Hangup, instead of err
	probed  []string
	panics  bool
	probing chan struct{} // when set: Probe says that it runs, and waits for its context
}

func (f *fakeCalls) Calls(_ context.Context, q store.Query) (store.Page, error) {
	if f.panics {
		panic("out of order")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.query = q
	if f.all == nil || f.err != nil {
		return f.page, f.err
	}
	return pageOf(f.all, q)
}

// pageOf makes a page of calls.
func pageOf(all []store.Call, q store.Query) (page store.Page, err error) {
	after, ok := q.Sort.Find(q.Cursor)
	if !ok && q.Cursor != "" {
		return page, supervisor.ErrCursor
	}
	place := func(c *store.Call) store.Place { return q.Sort.Place(c.ID, c.Liveness()) }
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b store.Call) int { return q.Sort.Compare(place(&a), place(&b)) })
	for _, c := range all {
		switch {
		case !q.Match(&c, time.Now()) || q.Cursor != "" && q.Sort.Compare(place(&c), after) <= 0:
		case len(page.Calls) == q.PageLimit():
			page.Next = q.Sort.Cursor(place(&page.Calls[len(page.Calls)-1]))
			return page, nil
		default:
			page.Calls = append(page.Calls, c)
		}
	}
	return page, nil
}

func (f *fakeCalls) Rows(_ context.Context, node string, yield func(*supervisor.Row) bool) error {
	for i := range f.rows {
		if node != "" && f.rows[i].Node != node {
			continue
		}
		if row := f.rows[i]; !yield(&row) {
			break
		}
	}
	return f.err
}

func (f *fakeCalls) Call(_ context.Context, id string) (store.Call, error) {
	if f.lookErr != nil {
		return store.Call{}, f.lookErr
	}
	c, ok := f.calls[id]
	if !ok {
		return store.Call{}, store.ErrNotFound
	}
	return c, nil
}

func (f *fakeCalls) Probe(ctx context.Context, id string) ([2]store.Answer, error) {
	f.mu.Lock()
	f.probed = append(f.probed, id)
	f.mu.Unlock()
	if f.probing != nil {
		close(f.probing)
		<-ctx.Done()
		return [2]store.Answer{}, ctx.Err()
	}
	return f.answers, f.err
}

func (f *fakeCalls) Events(context.Context, string) ([]supervisor.Event, error) {
	return f.events, f.err
}

func (f *fakeCalls) Local(id string) (store.Call, bool) {
	c, ok := f.calls[id]
	return c, ok
}

func (f *fakeCalls) Overview() supervisor.Overview {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.overview
}

// while changes what it answers while something is followed.
func (f *fakeCalls) while(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeCalls) Follow(to supervisor.Follower) { f.follower = to }

func (f *fakeCalls) ReleaseHeld() int { return 7 }

func (f *fakeCalls) Hangup(_ context.Context, id, text string) error {
	f.mu.Lock()
	f.hungUp = append(f.hungUp, id+": "+text)
	f.mu.Unlock()
	if f.hangup != nil {
		return f.hangup(id)
	}
	return f.err
}

var healthy = store.Status{Backend: "embedded", Reachable: true}

func newServer(t *testing.T, calls Calls, status store.Status, reasons ...string) *Server {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "sipvigil_test_calls", Help: "Calls of a test."}, func() float64 { return 3 }))
	s, err := New(Config{Listen: "admin.example:8080", Probe: time.Minute}, calls,
		func() store.Status { return status }, func() []string { return reasons },
		registry, zaptest.NewLogger(t, zaptest.Level(zap.FatalLevel)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// do sends one request to a server as a local client would.
func do(s *Server, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:8080"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

// confirmed is a call whose callee missed a probe.
func confirmed() store.Call {
	return store.Call{
		ID:       "0198c0de-0000-7000-8000-000000000001",
		State:    store.Confirmed,
		Node:     "edge-1",
		Epoch:    7,
		TrunkIn:  "pbx",
		TrunkOut: "carrier",
		Started:  at("2026-03-01T12:00:00.5+01:00"),
		Answered: at("2026-03-01T11:00:07.25Z"),
		Legs: [2]store.Leg{
			{
				Dialog: store.Dialog{
					CallID: "a/1@phone", LocalTag: "l", RemoteTag: "r", RemoteURI: `"Ann" <sip:ann@pbx.example>`,
					Target: "sip:ann@192.0.2.9:5060", Transport: "udp", Peer: "192.0.2.9:5060", UserAgent: "phone/1",
					LocalCSeq: 12, LocalMark: 16, RemoteCSeq: 2,
					Session: store.Session{Interval: 30 * time.Minute, Refresher: store.Peer},
				},
				Health: store.Health{
					Liveness: store.Alive, LastAlive: at("2026-03-01T11:05:00.0009Z"), LastEvidence: "200 OPTIONS",
					RTT: 12345678 * time.Nanosecond, Method: "OPTIONS", Answers: true, Calibration: "discriminating",
				},
			},
			{
				Dialog: store.Dialog{
					CallID: "b-1", RemoteURI: "<sip:+1555@carrier.example>", Target: "sip:198.51.100.7",
					Transport: "tcp", Peer: "198.51.100.7:5060", LocalMark: 32,
				},
				Health: store.Health{Liveness: store.Suspect, Misses: 1, Method: "OPTIONS", Calibration: "unknown"},
				Held:   "12 of 30 legs",
			},
		},
	}
}

const confirmedJSON = `{
	"id": "0198c0de-0000-7000-8000-000000000001", "state": "confirmed", "liveness": "suspect",
	"started": "2026-03-01T11:00:00.500Z", "answered": "2026-03-01T11:00:07.250Z",
	"node": "edge-1", "trunk_in": "pbx", "trunk_out": "carrier", "ended_by": "", "end_status": 0, "end_text": "",
	"caller": {
		"call_id": "a/1@phone", "uri": "\"Ann\" <sip:ann@pbx.example>", "peer": "192.0.2.9:5060",
		"target": "sip:ann@192.0.2.9:5060", "transport": "udp", "user_agent": "phone/1",
		"local_cseq": 12, "remote_cseq": 2, "liveness": "alive", "last_alive": "2026-03-01T11:05:00.000Z",
		"last_evidence": "200 OPTIONS", "misses": 0, "rtt_ms": 12.345, "method": "OPTIONS",
		"calibration": "discriminating", "session_expires": 1800, "refresher": "peer", "held": "", "released": ""
	},
	"callee": {
		"call_id": "b-1", "uri": "<sip:+1555@carrier.example>", "peer": "198.51.100.7:5060",
		"target": "sip:198.51.100.7", "transport": "tcp", "user_agent": "",
		"local_cseq": 32, "remote_cseq": 0, "liveness": "suspect",
		"last_evidence": "", "misses": 1, "rtt_ms": 0, "method": "OPTIONS",
		"calibration": "unknown", "held": "12 of 30 legs", "released": ""
	}
}`

// over is a call that ended because its callee fell silent.
func over() store.Call {
	c := store.Call{ID: "0198c0de-0000-7000-8000-000000000002", State: store.Terminated, Node: "edge-1",
		Started: at("2026-03-01T11:00:00Z")}
	c.End = store.End{
		Reason: store.Callee.Silent(), Status: 408, Text: "no answer to 2 probes", At: at("2026-03-01T11:30:00.0204Z"),
		Released: [2]store.Outcome{store.ReleaseConfirmed, store.ReleaseUnconfirmed},
	}
	return c
}

const overJSON = `{
	"id": "0198c0de-0000-7000-8000-000000000002", "state": "terminated", "liveness": "",
	"started": "2026-03-01T11:00:00.000Z", "ended": "2026-03-01T11:30:00.020Z",
	"node": "edge-1", "trunk_in": "", "trunk_out": "",
	"ended_by": "callee-silent", "end_status": 408, "end_text": "no answer to 2 probes",
	"caller": {
		"call_id": "", "uri": "", "peer": "", "target": "", "transport": "", "user_agent": "",
		"local_cseq": 0, "remote_cseq": 0, "liveness": "", "last_evidence": "", "misses": 0, "rtt_ms": 0,
		"method": "", "calibration": "", "held": "", "released": "confirmed"
	},
	"callee": {
		"call_id": "", "uri": "", "peer": "", "target": "", "transport": "", "user_agent": "",
		"local_cseq": 0, "remote_cseq": 0, "liveness": "", "last_evidence": "", "misses": 0, "rtt_ms": 0,
		"method": "", "calibration": "", "held": "", "released": "unconfirmed"
	}
}`

func fakeNodes(context.Context) ([]store.Node, error) {
	return []store.Node{{Name: "edge-1", State: store.NodeUp, Since: at("2026-03-01T11:00:00Z"), Seen: at("2026-03-01T11:00:00Z")},
		{Name: "edge-2", State: store.NodeDead}}, nil
}

// fakeRecords are three call detail records, at the places 3, 2 and 1.
func fakeRecords(_ context.Context, before string, n int) ([]store.Record, error) {
	all := []store.Record{
		{Place: "3", Line: []byte(`{"id":"c3","node":"edge-1","ended":"2026-03-01T11:03:00.000Z","ended_by":"caller-bye","trunk_in":"pbx","caller":{"uri":"<sip:+1555@pbx>"}}`)},
		{Place: "2", Line: []byte(`{"id":"c2","node":"edge-2","ended":"2026-03-01T11:02:00.000Z","ended_by":"callee-silent","trunk_out":"pbx","callee":{"call_id":"b-2"},` +
			`"observed":{"ended_by":"callee-gone","at":"2026-03-01T11:01:00.000Z","right":true}}`)},
		{Place: "1", Line: []byte(`{"id":"c1","node":"edge-1","ended":"2026-03-01T10:01:00.000Z","ended_by":"=operator"}`)},
	}
	i := slices.IndexFunc(all, func(r store.Record) bool { return before == "" || r.Place < before })
	if before == "0" {
		return nil, store.ErrNotFound
	}
	if i < 0 {
		return nil, nil
	}
	return all[i:min(len(all), i+n)], nil
}
