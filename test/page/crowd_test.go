package page

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor"
	"sipvigil/supervisor/progress"
	"sipvigil/supervisor/web"
)

// rest is what the page does not ask in these tests.
type rest web.Calls

// crowd is as many calls as the page should be able to show. Nobody is behind
// them.
type crowd struct {
	rest

	mu       sync.Mutex
	calls    []store.Call
	index    map[string]int
	follower supervisor.Follower
	hungUp   int
	board    *progress.Board
}

// odd is a call, among the first that are shown, whose caller would like to be
// more than text.
const odd = 9 + 2*4001

func gather(n int) *crowd {
	c := &crowd{index: make(map[string]int), board: progress.New("edge-1", zap.NewNop())}
	began := time.Now().Add(-3 * time.Hour)
	for i := range n {
		call := store.Call{
			ID:       fmt.Sprintf("0198c0de-%04x-7000-8000-%012x", i>>16, i),
			State:    store.Confirmed,
			Node:     fmt.Sprintf("edge-%d", i%3+1),
			TrunkIn:  fmt.Sprintf("pbx-%d", i%5+1),
			TrunkOut: fmt.Sprintf("carrier-%c", 'a'+i%4),
			Started:  began.Add(time.Duration(i) * 3 * time.Hour / time.Duration(n)),
		}
		call.Answered = call.Started.Add(7 * time.Second)
		for side := range call.Legs {
			l := &call.Legs[side]
			l.CallID = fmt.Sprintf("%x-%d@edge", i*2654435761, side)
			l.RemoteURI = fmt.Sprintf(`"Desk %d" <sip:2%05d@pbx-%d.example>`, i, i*7919%100000, i%5+1)
			if side == int(store.Callee) {
				l.RemoteURI = fmt.Sprintf("<sip:+4930%07d@carrier-%c.example>", i*104729%10000000, 'a'+i%4)
			}
			l.Liveness, l.LastAlive, l.LastEvidence = store.Alive, time.Now().Add(-time.Duration(i%30)*time.Second), "200 OPTIONS"
			l.Peer, l.Transport, l.UserAgent = fmt.Sprintf("192.0.2.%d:5060", i%5+1), "udp", "pbx/4.2"
			if side == int(store.Callee) {
				l.Peer, l.UserAgent = fmt.Sprintf("198.51.100.%d:5060", i%4+1), "sbc/9.1"
			}
			l.Target = "sip:" + l.Peer
			l.LocalCSeq, l.RemoteCSeq = uint32(i%300+40), uint32((1-side)*(i%7+1))
			l.RTT, l.Method, l.Calibration = time.Duration(i%40)*time.Millisecond, "OPTIONS", "discriminating"
		}
		if i == odd {
			call.Legs[store.Caller].RemoteURI = `"<b>Bold</b>" <sip:200@pbx-1.example>`
		}
		switch callee := call.Leg(store.Callee); {
		case i%4001 == 9:
			callee.Liveness, callee.Misses, callee.Held = store.Silent, 3, "14 of 52 legs behind carrier-b do not answer"
		case i%997 == 5:
			callee.Liveness, callee.Misses = store.Suspect, 1
		}
		c.calls = append(c.calls, call)
		c.index[call.ID] = i
	}
	return c
}

func (c *crowd) Rows(_ context.Context, _ string, yield func(*supervisor.Row) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	strips := [][]supervisor.Tick{[]supervisor.Tick("eaaaaaaaaaaa"), []supervisor.Tick("aaaaaaaaaaaa"), []supervisor.Tick("aaaaamaaaaaa")}
	for i := range c.calls {
		row := supervisor.Row{Call: c.calls[i]}
		row.Strips[0], row.Strips[1] = strips[i%3], strips[i/7%3]
		if row.Legs[store.Callee].Misses > 0 {
			row.Strips[1] = []supervisor.Tick("aaaaaaaaaaam")
		}
		if !yield(&row) {
			break
		}
	}
	return nil
}

func (c *crowd) Calls(context.Context, store.Query) (store.Page, error) { return store.Page{}, nil }

func (c *crowd) Local(id string) (store.Call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[id]
	if !ok {
		return store.Call{}, false
	}
	return c.calls[i], true
}

func (c *crowd) Call(_ context.Context, id string) (store.Call, error) {
	call, ok := c.Local(id)
	if !ok {
		return call, store.ErrNotFound
	}
	return call, nil
}

// Events is the life of a call whose callee has begun to be silent.
func (c *crowd) Events(_ context.Context, id string) ([]supervisor.Event, error) {
	call, _ := c.Local(id)
	var list []supervisor.Event
	add := func(after time.Duration, kind supervisor.EventKind, side store.Side, text string, rtt time.Duration) {
		list = append(list, supervisor.Event{At: call.Answered.Add(after), Kind: kind, Side: side, Text: text, RTT: rtt})
	}
	add(0, supervisor.EventConfirmed, store.Caller, "", 0)
	add(4*time.Second, supervisor.EventAnswer, store.Caller, "200 OPTIONS", 12*time.Millisecond)
	add(5*time.Second, supervisor.EventCalibration, store.Callee, "discriminating", 0)
	add(5*time.Second, supervisor.EventAnswer, store.Callee, "200 OPTIONS", 31*time.Millisecond)
	add(21*time.Second, supervisor.EventEvidence, store.Caller, "INFO", 0)
	add(36*time.Second, supervisor.EventAnswer, store.Callee, "200 OPTIONS", 29*time.Millisecond)
	add(52*time.Second, supervisor.EventAnswer, store.Caller, "200 OPTIONS", 11*time.Millisecond)
	add(61*time.Second, supervisor.EventDisturbed, store.Callee, "port unreachable", 0)
	add(94*time.Second, supervisor.EventMiss, store.Callee, "no answer to OPTIONS", 0)
	return list, nil
}

// Overview is that of the node that is asked: a third of all.
func (c *crowd) Overview() supervisor.Overview {
	n := len(c.calls) - 2*(len(c.calls)/3)
	return supervisor.Overview{Active: n, PerSecond: 1.6, Live: n - 18, Suspect: 18, Held: 4, Reclaimed: 74,
		Brake: []supervisor.Braking{{Reason: "peer", Trunk: "carrier-b", Ill: 14, Legs: 52}}}
}

func (c *crowd) Hangup(context.Context, string, string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hungUp++
	return nil
}

func (c *crowd) Follow(f supervisor.Follower) { c.follower = f }

func (c *crowd) nodes(context.Context) ([]store.Node, error) {
	list := make([]store.Node, 3)
	for i := range list {
		n := len(c.calls) / 3
		list[i] = store.Node{Name: fmt.Sprintf("edge-%d", i+1), State: store.NodeUp, Since: time.Now().Add(-time.Hour), Seen: time.Now(), Calls: n,
			Tally: store.Tally{PerSecond: 1.5, Live: n - 16, Suspect: 16, Held: 4, Reclaimed: 70}}
	}
	return list, nil
}

// serve shows the crowd on a page.
func (c *crowd) serve(t testing.TB) string {
	t.Helper()
	s, err := web.New(web.Config{Listen: "127.0.0.1:0", Node: "edge-1", Probe: time.Second, Nodes: c.nodes, Progress: c.board}, c,
		func() store.Status { return store.Status{Backend: "redis", Reachable: true} }, func() []string { return nil },
		prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return ln.Addr().String()
}

// hear has all calls show themselves by a request.
func (c *crowd) hear(what string) {
	c.mu.Lock()
	for i := range c.calls {
		for side := range c.calls[i].Legs {
			l := &c.calls[i].Legs[side]
			l.LastAlive, l.LastEvidence = time.Now(), what
		}
	}
	c.mu.Unlock()
	for id := range c.index {
		c.follower.Changed(id)
	}
}

// crowded is how many calls the page stays fluid with.
const crowded = 50_000

// What is measured here is told and not judged: a busy machine is slower.
func TestPageShowsFiftyThousandCalls(t *testing.T) {
	t.Parallel()
	c := gather(crowded)
	b := open(t, c.serve(t), "/", 1440, 760)
	if _, err := chromedp.Call(b.ctx, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Reload())
	b.await(`document.querySelector('.row')`)
	t.Logf("first rows: %s of script", b.script())
	b.text(".tally", "50,000")
	b.await(`!document.querySelector('.link').innerText.includes('reading')`)
	b.text(".row .c-state", "suspect")
	t.Logf("all calls: %s of script", b.script())
	b.text(".row .person small", "<b>Bold</b>")
	b.shot("crowd")
	if n := b.js(`document.querySelectorAll('.row').length`); len(n) > 2 {
		t.Errorf("%s rows are in the document", n)
	}

	b.click(".row .c-from")
	b.text(".step.e-miss", "OPTIONS")
	b.shot("crowd-call")
	b.keys(esc)
	b.gone(".call")

	b.timed("filter by number", func() {
		b.js(`{ const i = document.querySelector('input[name=number]'); i.value = '5550'; i.dispatchEvent(new Event('input', {bubbles: true})); }`)
		b.await(`location.search.includes('5550') && document.querySelector('.tally').innerText.includes(' of 50,000')`)
	})
	b.timed("no filter", func() {
		b.click(".filters .plain-button")
		b.text(".tally", "50,000 calls")
	})
	for _, column := range []string{"from", "to", "trunks", "age", "caller", "callee", "evidence", "node", "state"} {
		b.timed("sort by "+column, func() {
			b.click(".heads .c-" + column + " button")
			b.await(`document.querySelector('.heads .c-` + column + `').ariaSort === 'ascending'`)
		})
	}
	b.timed("to the end of the list", func() {
		b.js(`document.getElementById('table').scrollTop = 1e9`)
		b.await(`document.querySelector('.row[aria-rowindex="50001"]')`)
	})
	t.Logf("heap: %.1f MB", b.heap())
}

// The stream of changes is read as fast as it comes, and nothing of it is kept.
func TestChangesDoNotGrowThePage(t *testing.T) {
	t.Parallel()
	const calls, rounds = 4000, 12
	c := gather(calls)
	b := open(t, c.serve(t), "/?sort=evidence", 1440, 760)
	b.text(".tally", "4,000")
	b.await(`!document.querySelector('.link').innerText.includes('reading')`)
	if _, err := chromedp.Call(b.ctx, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}); err != nil {
		t.Fatal(err)
	}
	var heaps []float64
	before := b.script()
	for round := range rounds {
		what := fmt.Sprintf("INFO %d.", round) // the oldest evidence comes first: then all have this
		c.hear(what)
		b.await(fmt.Sprintf(`[...document.querySelectorAll('.row .c-evidence')].every((e) => e.innerText.includes(%q))`, what))
		heaps = append(heaps, b.heap())
	}
	t.Logf("%d changes: %s of script, heap from %.1f to %.1f MB", calls*rounds, b.script()-before, heaps[0], heaps[rounds-1])
	if slices.Min(heaps[rounds/2:]) > slices.Max(heaps[:rounds/2])+4 {
		t.Errorf("the heap grows: %.1f MB", heaps)
	}
}

// script is how long scripts have run since the page was loaded.
func (b *tab) script() time.Duration {
	b.t.Helper()
	return time.Duration(b.metric("ScriptDuration") * float64(time.Second)).Round(time.Millisecond)
}

func (b *tab) metric(name string) float64 {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	b.t.Fatalf("no metric %s", name)
	return 0
}

// timed tells how long scripts ran for something.
func (b *tab) timed(what string, do func()) {
	b.t.Helper()
	before := b.script()
	do()
	b.t.Logf("%s: %s of script", what, b.script()-before)
}

// heap is what the page's scripts hold, in megabytes.
func (b *tab) heap() float64 {
	b.t.Helper()
	b.js(`gc()`)
	return b.metric("JSHeapUsedSize") / 1e6
}
