package test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sipvigil/test/ua"
)

// many is how many calls are up while something happens to them.
const many = 300

func TestAnOutageEndsNoCallAndARestartedPeerLosesAllOfThem(t *testing.T) {
	t.Parallel()
	c := gather(t, many, "", "--probe-interval", "2s", "--probe-timeout", "5s")

	// Ten minutes are twenty intervals of 30 s. The pbx, which is well, counts.
	c.carrier.Drop(everything)
	probed(t, c.calls[0].caller, 20)
	c.reach("all calls are held", func() bool { return c.held() == many })
	if s, _ := c.d.call(c.calls[0].id); !strings.Contains(s.Callee.Held, "legs behind trunk carrier do not answer") {
		t.Errorf("the callee is held because %q", s.Callee.Held)
	}
	c.wantReleased()
	c.carrier.Drop(nil)
	c.provenSince(time.Now())
	c.wantReleased()

	// sipvigil is stopped for longer than the silence that makes a leg dead.
	c.signal(syscall.SIGSTOP)
	<-time.After(5 * time.Second)
	c.signal(syscall.SIGCONT)
	c.provenSince(time.Now())
	c.wantReleased()
	if n := c.d.metric(`sipvigil_supervisor_brake_total{reason="stall"}`); n < 1 {
		t.Error("nobody noticed that sipvigil was stopped")
	}

	// The carrier starts again and knows none of its calls.
	for _, one := range c.calls {
		one.callee.Forget()
	}
	c.reach("all calls have ended", func() bool {
		return c.d.metric(`sipvigil_calls_ended_total{reason="callee-gone"}`) == many
	})
	c.wantReleased(c.calls...)
	wantReason(t, released(t, c.calls[0].caller), "SIP;cause=481", "Q.850;cause=41")
	c.wantRecords(many)
	if n := c.d.metric(`sipvigil_trunk_channels_reclaimed_total{trunk="carrier"}`); n != many {
		t.Errorf("%v channels of the carrier are reclaimed, want %d", n, many)
	}
}

func TestHalfATrunkIsHeldAndAFewDeadPhonesAreFound(t *testing.T) {
	t.Parallel()
	c := gather(t, many, "", "--probe-interval", "2s", "--probe-timeout", "5s")

	for _, one := range c.calls[:many/2] {
		one.callee.Silence()
	}
	c.reach("half of the calls are held", func() bool { return c.held() == many/2 })
	probed(t, c.calls[0].caller, 5)
	c.wantReleased()
	if n := c.held(); n != many/2 {
		t.Errorf("%d calls are held, want %d", n, many/2)
	}
	if n := c.d.metric(`sipvigil_supervisor_brake_total{reason="peer"}`); n < 1 {
		t.Error("the brake does not show in the metrics")
	}
	for _, one := range c.calls[:many/2] {
		one.callee.Speak()
	}
	c.provenSince(time.Now())
	c.wantReleased()

	dead := []*talk{c.calls[7], c.calls[77], c.calls[177], c.calls[222], c.calls[299]}
	for _, one := range dead {
		one.callee.Silence()
	}
	for _, one := range dead {
		wantReason(t, released(t, one.caller), "SIP;cause=408", "Q.850;cause=102")
	}
	probed(t, c.calls[0].caller, 3) // time for more
	c.wantReleased(dead...)
	for _, one := range dead {
		if s, _ := c.d.call(one.id); s.EndedBy != "callee-silent" {
			t.Errorf("a dead call was ended by %q", s.EndedBy)
		}
	}
}

// A leg dies after 4 x 4 s without an answer. By then a probe has been sent 4 x 4
// times; with the default timers it would have been 2 x 11 times.
func TestTheOperatorEndsWhatTheBrakeHolds(t *testing.T) {
	t.Parallel()
	c := gather(t, 12, "supervise: {brake: {floor: 2}}")
	dead := c.calls[:4]
	for _, one := range dead {
		one.callee.Silence()
	}
	c.reach("their calls are held", func() bool { return c.held() == len(dead) })
	c.wantReleased()
	var answer struct{ Calls int }
	ask(t, c.d, 0, &answer, "calls", "release")
	if answer.Calls != len(dead) {
		t.Errorf("%d calls are said to end, want %d", answer.Calls, len(dead))
	}
	for _, one := range dead {
		released(t, one.caller)
	}
	c.wantReleased(dead...)
}

func TestLossEndsNoCallAndHidesNoDeadPhone(t *testing.T) {
	t.Parallel()
	c := gather(t, many, "", "--probe-interval", "2s", "--probe-timeout", "4s", "--probe-misses", "4")
	var requests, responses atomic.Int64
	for seed, phone := range []*ua.Phone{c.pbx, c.carrier} {
		lost := ua.Loss(uint64(seed), 0.2)
		phone.Drop(func(d ua.Direction, m *ua.Message) bool {
			if !lost(d, m) {
				return false
			}
			if m.IsRequest() {
				requests.Add(1)
			} else {
				responses.Add(1)
			}
			return true
		})
	}
	dead := c.calls[many/3]
	dead.callee.Silence()
	released(t, dead.caller)
	c.wantReleased(dead)
	if requests.Load() < many || responses.Load() < many {
		t.Errorf("%d requests and %d responses were lost: too few to mean anything", requests.Load(), responses.Load())
	}
	if n := c.d.metric(`sipvigil_supervisor_probes_total{method="OPTIONS",result="miss_timeout"}`); n < 10 {
		t.Errorf("%v probes were missed: too few to mean anything", n)
	}
	c.pbx.Drop(nil)
	c.carrier.Drop(nil)
}

// cdr is what these tests look at of a call detail record.
type cdr struct {
	ID       string
	Answered time.Time
	Ended    time.Time
	EndedBy  string  `json:"ended_by"`
	Side     string  `json:"side"`
	Billed   float64 `json:"billed_seconds"`
	Proven   float64 `json:"proven_seconds"`
	TrunkOut string  `json:"trunk_out"`
	Callee   struct {
		LastAlive    time.Time `json:"last_alive"`
		LastEvidence string    `json:"last_evidence"`
		Released     string
	}
	Observed *struct {
		EndedBy string `json:"ended_by"`
		Right   bool
	}
}

// records reads the call detail records in the file and those in the stream.
func (c *crowd) records() (file, stream []cdr) {
	c.t.Helper()
	read := func(list []cdr, line string) []cdr {
		var r cdr
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			c.t.Fatalf("%v: %s", err, line)
		}
		return append(list, r)
	}
	text, err := os.ReadFile(c.cdrs)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasSuffix(line, "\n") { // it is complete
			file = read(file, line)
		}
	}
	for _, m := range c.redis.stream("sv:cdr") {
		stream = read(stream, m)
	}
	return file, stream
}

// wantRecords demands one call detail record for each of so many calls that
// were found gone, in the file and in the stream.
func (c *crowd) wantRecords(n int) {
	c.t.Helper()
	var file, stream []cdr
	eventually(c.t, "all call detail records are there", func() bool {
		file, stream = c.records()
		return len(file) >= n && len(stream) >= n
	})
	for where, list := range map[string][]cdr{"file": file, "stream": stream} {
		seen := make(map[string]bool)
		for _, r := range list {
			seen[r.ID] = true
			billed := r.Ended.Sub(r.Answered).Seconds()
			switch {
			case r.EndedBy != "callee-gone" || r.Side != "callee" || r.TrunkOut != "carrier" || r.Callee.Released != "already-gone":
				c.t.Errorf("%s: %+v", where, r)
			case r.Billed < billed-0.01 || r.Billed > billed+0.01:
				c.t.Errorf("%s: billed %v s, want %v: %+v", where, r.Billed, billed, r)
			case r.Proven <= 0 || r.Proven >= r.Billed || r.Proven > r.Callee.LastAlive.Sub(r.Answered).Seconds()+0.01:
				c.t.Errorf("%s: proven %v s of %v: %+v", where, r.Proven, r.Billed, r)
			}
		}
		if len(list) != n || len(seen) != n {
			c.t.Errorf("%s: %d records of %d calls, want %d", where, len(list), len(seen), n)
		}
	}
}

func (d *sipvigil) metrics() string {
	_, body := d.http(http.MethodGet, "/metrics")
	return string(body)
}
