package links

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is Links in a bubble, in front of scripted peers. Every random number
// is 1/2: an address is asked half a second after it was found, and jitter
// changes nothing.
type world struct {
	*testing.T
	links *Links
	reg   *prometheus.Registry
	zero  time.Time
	run   sync.WaitGroup
	quiet atomic.Bool  // carrier is not to be asked
	stall atomic.Int64 // by how long this process is late to give a question up

	mu      sync.Mutex // guards what follows
	events  []string
	names   map[string]lookup        // by target
	replies map[netip.AddrPort]reply // of addresses: to each question
	asking  map[netip.AddrPort]bool
}

// lookup is what a name leads to.
type lookup struct {
	addrs []string
	ttl   time.Duration // 0: it was not asked for
	fault string
}

// reply is what comes back to the question with a number, from 0.
type reply func(n int) string

// inTurn gives these replies, the last one for ever: "200 OK" after 10 ms, also
// with "; 30" for Retry-After; "-" for silence; "!" for what cannot be sent.
func inTurn(texts ...string) reply {
	return func(n int) string { return texts[min(n, len(texts)-1)] }
}

const (
	here  = "192.0.2.1:5060"
	there = "192.0.2.2:5060"
)

// place is an address over UDP.
func place(addr string) Place {
	return Place{Transport: "udp", Addr: netip.MustParseAddrPort(addr)}
}

// inWorld runs a test with trunks whose targets are names.
func inWorld(t *testing.T, trunks []Trunk, names map[string]lookup, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, zero: time.Now(), reg: prometheus.NewRegistry(), names: names,
			replies: make(map[netip.AddrPort]reply), asking: make(map[netip.AddrPort]bool)}
		log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(&strings.Builder{}), zap.InfoLevel),
			zap.WrapCore(func(zapcore.Core) zapcore.Core { return &scribe{w: w} }))
		var err error
		if w.links, err = New(trunks, log, w.reg); err != nil {
			t.Fatal(err)
		}
		w.links.random = func() float64 { return 0.5 }
		w.links.Bind(w)
		w.links.Hush(func(trunk string) bool { return trunk == "carrier" && w.quiet.Load() })
		ctx, stop := context.WithCancel(t.Context())
		w.run.Go(func() { w.links.Run(ctx) })
		test(w)
		stop()
		w.run.Wait()
	})
}

// scribe is a log that has states written down.
type scribe struct {
	zapcore.LevelEnabler
	w *world
}

func (s *scribe) Enabled(zapcore.Level) bool        { return true }
func (s *scribe) With([]zapcore.Field) zapcore.Core { return s }
func (s *scribe) Sync() error                       { return nil }
func (s *scribe) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, s)
}

func (s *scribe) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	switch e.Message {
	case "link has changed":
		s.w.note("%v%v", s.w.which(fmt.Sprint(enc.Fields["addr"])), enc.Fields["state"])
	case "trunk has changed":
		s.w.note("trunk %v", enc.Fields["state"])
	default:
		s.w.note("%s", e.Message)
	}
	return nil
}

// which tells the second address from the first.
func (w *world) which(addr string) string {
	if addr == there {
		return "there "
	}
	return ""
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, time.Since(w.zero).String()+" "+fmt.Sprintf(format, args...))
}

// happened checks what has happened since the last time; "trunk" events are
// left out unless some are wanted.
func (w *world) happened(what string, want ...string) {
	w.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var got []string
	for _, e := range w.events {
		if strings.Contains(strings.Join(want, ""), "trunk") || !strings.Contains(e, "trunk") {
			got = append(got, e)
		}
	}
	w.events = nil
	slices.SortStableFunc(got, inTime)
	slices.SortStableFunc(want, inTime)
	if g, wanted := strings.Join(got, "\n"), strings.Join(want, "\n"); g != wanted {
		w.Errorf("%s:\n%s\nwant\n%s", what, g, wanted)
	}
}

// inTime compares what has happened: at the same time it has no order.
func inTime(a, b string) int {
	at, what, _ := strings.Cut(a, " ")
	other, otherWhat, _ := strings.Cut(b, " ")
	x, _ := time.ParseDuration(at)
	y, _ := time.ParseDuration(other)
	return cmp.Or(cmp.Compare(x, y), cmp.Compare(what, otherWhat))
}

// answers has an address answer so from now on.
func (w *world) answers(addr string, r reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	w.replies[netip.MustParseAddrPort(addr)] = func(int) string { n++; return r(n - 1) }
}

// Find implements [Prober].
func (w *world) Find(target string, found func([]Place, time.Time, error)) {
	w.mu.Lock()
	at := w.names[target]
	w.mu.Unlock()
	w.run.Go(func() {
		if at.fault != "" {
			found(nil, time.Time{}, errors.New(at.fault))
			return
		}
		var places []Place
		for _, a := range at.addrs {
			places = append(places, place(a))
		}
		var until time.Time
		if at.ttl > 0 {
			until = time.Now().Add(at.ttl)
		}
		found(places, until, nil)
	})
}

// Ping implements [Prober].
func (w *world) Ping(p Ping, answered func(Traffic)) {
	w.mu.Lock()
	if w.asking[p.Place.Addr] {
		w.Errorf("%v is asked while it is being asked", p.Place.Addr)
	}
	w.asking[p.Place.Addr] = true
	say := "-"
	if r := w.replies[p.Place.Addr]; r != nil {
		say = r(0)
	}
	w.mu.Unlock()
	w.note("%sask", w.which(p.Place.Addr.String()))
	w.run.Go(func() {
		t, after := traffic(say), 10*time.Millisecond
		if t.Kind == NoReply {
			after = p.Timeout + time.Duration(w.stall.Load())
		}
		time.Sleep(after)
		t.RTT = after
		w.mu.Lock()
		w.asking[p.Place.Addr] = false
		w.mu.Unlock()
		answered(t)
	})
}

// traffic reads "503 Busy; 30", "-", "!" or "<", a request of theirs.
func traffic(text string) Traffic {
	switch text {
	case "-":
		return Traffic{Kind: NoReply, Method: "OPTIONS"}
	case "!":
		return Traffic{Kind: Unsent, Method: "OPTIONS", Reason: "connection refused"}
	case "<":
		return Traffic{Kind: Inbound, Method: "OPTIONS"}
	}
	text, after, _ := strings.Cut(text, "; ")
	code, phrase, _ := strings.Cut(text, " ")
	status, err := strconv.Atoi(code)
	if err != nil {
		panic(err)
	}
	seconds, _ := strconv.Atoi(after)
	return Traffic{Kind: Answered, Method: "OPTIONS", Status: status, Phrase: phrase, RetryAfter: time.Duration(seconds) * time.Second}
}

// hears has real traffic show something of the first address, for each word.
func (w *world) hears(texts ...string) {
	w.Helper()
	for _, text := range texts {
		w.links.Heard("carrier", place(here), traffic(text))
	}
}

// pass lets fake time pass until then.
func (w *world) until(at time.Duration) {
	time.Sleep(at - time.Since(w.zero))
	synctest.Wait()
}

// one is a trunk with one address.
func one(c Config) []Trunk {
	return []Trunk{{Name: "carrier", Targets: []string{"sip:carrier.example"}, Config: c}}
}

var oneAddress = map[string]lookup{"sip:carrier.example": {addrs: []string{here}}}

// course runs a trunk with one address for a while and says what happens.
func course(t *testing.T, c Config, r reply, lasting time.Duration, want ...string) {
	t.Helper()
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.T = t
		w.answers(here, r)
		w.until(lasting)
		w.happened("course", want...)
	})
}
