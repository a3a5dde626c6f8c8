//go:build chaos

package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sipvigil/test/ua"
)

// traffic is calls between two phones that come, talk and go.
type traffic struct {
	t            *testing.T
	seed         uint64
	size         int
	dir          string
	pbx, carrier *ua.Phone
	via          []netip.AddrPort
	calm         atomic.Bool // nothing new begins
	quiet        atomic.Bool // no call begins for now
	all          sync.WaitGroup

	mu      sync.Mutex
	answers map[string]chan *ua.Dialog // by user part
	calls   []*course
	odd     map[string]int
}

// course is a call as its phones see it.
type course struct {
	legs [2]*ua.Dialog // caller, callee
	mu   sync.Mutex
	left time.Time // since when it may be ended
	how  string
}

func newTraffic(t *testing.T, seed uint64, size int) *traffic {
	f := &traffic{t: t, seed: seed, size: size, dir: t.TempDir(), answers: make(map[string]chan *ua.Dialog), odd: make(map[string]int)}
	listen := func(user, host string) *ua.Phone {
		p, err := ua.Listen(ua.Config{Addr: host + ":0", User: user, History: 4000})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	f.pbx, f.carrier = listen("pbx", "127.0.0.2"), listen("carrier", "127.0.0.3")
	f.carrier.Handle(func(in *ua.Incoming) {
		in.Ring(180)
		d, err := in.Accept(ua.SDP(40002))
		if err != nil {
			return
		}
		user, _, _ := strings.Cut(strings.TrimPrefix(in.Request.RequestURI, "sip:"), "@")
		f.mu.Lock()
		ch := f.answers[user]
		f.mu.Unlock()
		if ch != nil {
			ch <- d
		}
	})
	return f
}

func (f *traffic) cdrs(i int) string { return filepath.Join(f.dir, fmt.Sprintf("cdrs-%d", i)) }

// config is the configuration of a node.
func (f *traffic) config(i int) string {
	return file(f.t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, sources: [127.0.0.2]}
  - {name: carrier, targets: ["sip:%s"]}
routes:
  - {from: pbx, to: [carrier]}
supervise: {brake: {share: 1, floor: 1000, per_minute: 1}}
cdr: {file: %q}
`, f.carrier.Addr(), f.cdrs(i)))
}

func (f *traffic) reach(udp string) { f.via = append(f.via, netip.MustParseAddrPort(udp)) }

func (f *traffic) begin() {
	for i := range f.size {
		f.all.Go(func() {
			r := rand.New(rand.NewPCG(f.seed, uint64(i)+1))
			for n := 0; !f.calm.Load(); n++ {
				f.call(r, fmt.Sprintf("u%dx%d", i, n))
			}
		})
	}
}

// call is one call from its beginning to its end.
func (f *traffic) call(r *rand.Rand, user string) {
	ch := make(chan *ua.Dialog, 8)
	f.mu.Lock()
	f.answers[user] = ch
	f.mu.Unlock()
	time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
	for f.quiet.Load() {
		time.Sleep(100 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	via := f.via[r.IntN(len(f.via))].String()
	caller, err := f.pbx.Call(ctx, "sip:"+via, "sip:"+user+"@"+via, ua.Offer{SDP: ua.SDP(40000)})
	if err != nil {
		f.note("not set up")
		return
	}
	var callee *ua.Dialog
	for callee == nil {
		select {
		case d := <-ch:
			callee = d
		case <-ctx.Done():
			f.note("no callee")
			return
		}
	}
	select {
	case <-callee.Confirmed():
	case <-callee.Ended():
		f.note("not confirmed")
		return
	case <-ctx.Done():
		f.note("not confirmed")
		return
	}
	c := &course{legs: [2]*ua.Dialog{caller, callee}}
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.mu.Unlock()
	for i := range c.legs {
		f.all.Go(func() { f.guard(c, i) })
	}
	f.talk(r, c)
}

// guard watches for a BYE to a leg of a call that lives.
func (f *traffic) guard(c *course, i int) {
	<-c.legs[i].Ended()
	end := c.legs[i].End()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left.IsZero() {
		c.left, c.how = time.Now(), "by mistake"
		reason := ""
		if end.Cause != nil {
			reason = end.Cause.Raw
		}
		f.t.Errorf("%s a live call was ended on leg %d: %s\n%s\n%s", clock(end.At), i, end.By, reason, history(c))
	}
}

// leave takes note that the call may be ended from now on.
func (c *course) leave(how string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.left.IsZero() {
		return false
	}
	c.left, c.how = time.Now(), how
	return true
}

func (f *traffic) talk(r *rand.Rand, c *course) {
	for n := 5 + r.IntN(20); n > 0 && !f.calm.Load(); n-- {
		time.Sleep(time.Duration(500+r.IntN(5000)) * time.Millisecond)
		leg := c.legs[r.IntN(2)]
		select {
		case <-leg.Ended():
			return
		default:
		}
		f.direct(r, leg)
		method, body := "INFO", ""
		if r.IntN(4) == 0 {
			method, body = "INVITE", ua.SDP(40000+2*r.IntN(1000))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		res, err := leg.Request(ctx, method, body)
		cancel()
		switch {
		case err != nil:
			f.note(method + " got no answer")
			if method == "INVITE" && c.leave("re-INVITE without answer") { // RFC 3261 section 12.2.1.2
				f.bye(leg)
				return
			}
		case res.Status == 503 && res.Get("Retry-After") != "":
			f.note(method + " 503")
		case res.Status != 200:
			f.note(fmt.Sprintf("%s %d %s", method, res.Status, res.Reason))
			if res.Status == 481 && c.alive() {
				f.t.Errorf("%s 481 to %s inside a live call\n%s\n%s", clock(time.Now()), method, res.Raw, history(c))
			}
		default:
			f.note(method + " 200")
		}
	}
	if f.calm.Load() {
		return
	}
	i := r.IntN(2)
	switch how := r.IntN(4); how {
	case 0:
		if c.leave("forgotten") {
			c.legs[i].Forget()
		}
	case 1:
		if c.leave("silent") {
			c.legs[i].Silence()
		}
	default:
		if c.leave("BYE") {
			f.direct(r, c.legs[i])
			f.bye(c.legs[i])
		}
	}
}

func (c *course) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left.IsZero()
}

// direct has the next request go to the remote target or to any node.
func (f *traffic) direct(r *rand.Rand, leg *ua.Dialog) {
	if r.IntN(2) == 0 {
		leg.Through(netip.AddrPort{})
	} else {
		leg.Through(f.via[r.IntN(len(f.via))])
	}
}

func (f *traffic) bye(leg *ua.Dialog) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		res, err := leg.Request(ctx, "BYE", "")
		cancel()
		if err != nil {
			f.note("BYE got no answer")
			return
		}
		f.note(fmt.Sprintf("BYE %d", res.Status))
		if res.Status != 503 {
			return
		}
		time.Sleep(2 * time.Second)
	}
}

func (f *traffic) note(what string) {
	f.mu.Lock()
	f.odd[what]++
	f.mu.Unlock()
}
