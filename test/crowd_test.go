package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// crowd is many calls through one sipvigil: all of them from one phone, which
// is the trunk pbx, to another one, which is the trunk carrier.
type crowd struct {
	t            testing.TB
	d            *sipvigil
	redis        records
	cdrs         string // file of call detail records
	pbx, carrier *ua.Phone
	calls        []*talk
}

// gather sets up n calls and waits until both far ends of each have answered a
// probe. Lines are more of the configuration; flags come last and so decide.
func gather(t testing.TB, n int, lines string, flags ...string) *crowd {
	t.Helper()
	redisURL, server := storetest.Redis(t)
	c := &crowd{t: t, redis: look(t, server), cdrs: filepath.Join(t.TempDir(), "cdrs")}
	c.pbx, c.carrier = trunkPhone(t, "pbx", "127.0.0.2"), trunkPhone(t, "carrier", "127.0.0.3")
	config := filepath.Join(t.TempDir(), "sipvigil.yaml")
	text := fmt.Sprintf(`trunks:
  - {name: pbx, targets: ["sip:%s"], sources: [127.0.0.2]}
  - {name: carrier, targets: ["sip:%s"], sources: [127.0.0.3]}
routes:
  - {from: pbx, to: [carrier]}
cdr: {file: %q}
%s
`, c.pbx.Addr(), c.carrier.Addr(), c.cdrs, lines)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.d = serve(t, redisURL, append([]string{"--config", config}, flags...)...)
	c.connect(n)
	c.reach("all far ends have been alive", c.each(func(l *shownLeg) bool { return l.Liveness == "alive" }))
	return c
}

func (c *crowd) connect(n int) {
	c.t.Helper()
	c.calls = connectMany(c.t, c.pbx, c.carrier, slices.Repeat([]*sipvigil{c.d}, n))
}

// connectMany sets up a call through each of these nodes, which may be named many
// times, between two phones.
func connectMany(t testing.TB, from, to *ua.Phone, via []*sipvigil) []*talk {
	t.Helper()
	callees := make(chan *ua.Dialog, len(via))
	to.Handle(func(in *ua.Incoming) {
		in.Ring(180)
		if d, err := in.Accept(ua.SDP(40002)); err == nil {
			callees <- d
		}
	})
	var callers sync.Map // Call-ID → *ua.Dialog
	var dialling errgroup.Group
	dialling.SetLimit(10)
	for _, d := range via {
		dialling.Go(func() error {
			leg, err := from.Call(limit(t, patience), "sip:"+d.udp, "sip:bob@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
			if err == nil {
				callers.Store(leg.CallID, leg)
			}
			return err
		})
	}
	if err := dialling.Wait(); err != nil {
		t.Fatalf("call: %v", err)
	}
	byCallID := make(map[string]*ua.Dialog)
	for range via {
		d := <-callees // each call that was answered has one
		byCallID[d.CallID] = d
	}
	var calls []*talk
	eventually(t, "all calls are confirmed in the API", func() bool {
		list := via[0].calls()
		calls = calls[:0]
		for _, s := range list {
			caller, ok := callers.Load(s.Caller.CallID)
			if !ok { // it was there before
				continue
			}
			if s.State != "confirmed" || byCallID[s.Callee.CallID] == nil {
				return false
			}
			calls = append(calls, &talk{callerPhone: from, calleePhone: to,
				caller: caller.(*ua.Dialog), callee: byCallID[s.Callee.CallID], id: s.ID})
		}
		return len(calls) == len(via)
	})
	t.Cleanup(func() {
		for _, one := range calls {
			one.check(t)
		}
	})
	return calls
}

// reach waits for what may take a while with so many calls on a busy machine.
func (c *crowd) reach(what string, condition func() bool) {
	c.t.Helper()
	within(c.t, 3*patience, what, condition)
}

func (c *crowd) held() int { return int(c.d.metric("sipvigil_supervisor_held_calls")) }

// provenSince waits until all far ends of calls that go on have answered a
// probe that was sent after this moment.
func (c *crowd) provenSince(moment time.Time) {
	c.t.Helper()
	c.reach("all far ends are alive again", c.each(func(l *shownLeg) bool {
		return l.Liveness == "alive" && l.LastEvidence == "200 OPTIONS" && l.LastAlive.After(moment) && l.Held == ""
	}))
	c.reach("no call is held", func() bool { return c.held() == 0 })
}

// each is true once every leg of calls that go on has been seen so: on a busy
// machine one or the other is in doubt at any moment.
func (c *crowd) each(so func(*shownLeg) bool) func() bool {
	seen := make(map[string]bool)
	return func() bool {
		all := true
		list := c.d.calls()
		for i := range list {
			for name, l := range map[string]*shownLeg{"caller ": &list[i].Caller, "callee ": &list[i].Callee} {
				leg := name + list[i].ID
				seen[leg] = seen[leg] || so(l)
				all = all && seen[leg]
			}
		}
		return all && len(list) > 0
	}
}

// ended is how many calls have ended, whyever.
func (c *crowd) ended() int {
	n := 0.
	for line := range strings.Lines(c.d.metrics()) {
		if _, value, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(line, "sipvigil_calls_ended_total{") {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				c.t.Fatalf("metric %s: %v", line, err)
			}
			n += v
		}
	}
	return int(n)
}

// wantReleased demands that these calls have been released, and no other.
func (c *crowd) wantReleased(dead ...*talk) {
	c.t.Helper()
	if n := c.ended(); n > len(dead) {
		c.t.Errorf("%d calls have ended, of which %d were dead", n, len(dead))
	}
	released := make(map[string]bool)
	for _, one := range dead {
		released[one.id] = true
	}
	for _, one := range c.calls {
		byes := len(requests(one.caller, "BYE")) + len(requests(one.callee, "BYE"))
		switch {
		case released[one.id] && byes == 0:
			c.t.Errorf("call %s is dead, but was not released", one.id)
		case !released[one.id] && byes > 0:
			shown, _ := c.d.call(one.id)
			c.t.Errorf("a healthy call was released: %+v", shown)
		}
	}
}

// signal sends a signal to the daemon.
func (c *crowd) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.d.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// everything is a filter for ua.Phone.Drop: the network is gone.
func everything(ua.Direction, *ua.Message) bool { return true }
