package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// phone is a phone that must find no fault with what it is sent.
func phone(t testing.TB, user, transport string) *ua.Phone {
	t.Helper()
	return phoneAt(t, user, transport, "127.0.0.1:0")
}

func phoneAt(t testing.TB, user, transport, addr string) *ua.Phone {
	t.Helper()
	return listen(t, ua.Config{User: user, Transport: transport, Addr: addr, History: 2000})
}

// trunkPhone is a phone at an address of its own, which names its trunk.
func trunkPhone(t testing.TB, user, host string) *ua.Phone {
	t.Helper()
	return listen(t, ua.Config{Addr: host + ":0", User: user, UserAgent: user})
}

// listen opens a phone, which must find no fault with what it is sent until the
// test ends.
func listen(t testing.TB, cfg ua.Config) *ua.Phone {
	t.Helper()
	p, err := ua.Listen(cfg)
	if err != nil {
		t.Fatalf("%v (a machine without ::1 cannot run all tests)", err)
	}
	t.Cleanup(func() {
		if err := p.Faults(); err != nil {
			t.Errorf("%s: %v", cfg.User, err)
		}
		p.Close()
	})
	return p
}

// talk is one call through sipvigil, as both phones see it. Numbers must rise
// by one on both legs unless leaps says otherwise.
type talk struct {
	callerPhone, calleePhone *ua.Phone
	caller, callee           *ua.Dialog
	target                   string // where the caller sends its call; sipvigil's socket of UDP or TCP when empty
	id                       string
	leaps                    bool
	accept                   []ua.Header // of the callee's 200
}

// dial sets up a call between two new phones, each of which speaks UDP.
func dial(t testing.TB, d *sipvigil) *talk {
	t.Helper()
	return dialOver(t, d, "udp", "udp")
}

func dialOver(t testing.TB, d *sipvigil, callerTransport, calleeTransport string) *talk {
	t.Helper()
	c := &talk{callerPhone: phone(t, "alice", callerTransport), calleePhone: phone(t, "bob", calleeTransport)}
	c.connect(t, d)
	t.Cleanup(func() { c.check(t) })
	return c
}

// dialVanishing has a phone called whose port no other one takes when it is gone.
func dialVanishing(t testing.TB, d *sipvigil, transport, host string) *talk {
	t.Helper()
	bob := phoneAt(t, "bob", transport, fmt.Sprintf("%s:%d", host, storetest.FreePort(t)))
	c := &talk{callerPhone: phone(t, "alice", "udp"), calleePhone: bob}
	c.connect(t, d)
	t.Cleanup(func() { c.check(t) })
	return c
}

func (c *talk) connect(t testing.TB, d *sipvigil) {
	t.Helper()
	target, uri := c.target, c.calleePhone.URI()
	switch {
	case target != "":
	case strings.HasSuffix(c.callerPhone.URI(), ";transport=tcp"):
		target = "sip:" + d.tcp + ";transport=tcp"
	default:
		target = "sip:" + d.udp
	}
	c.connectVia(t, d, target, uri)
}

// connectVia is connect for a call that is sent to target, for uri.
func (c *talk) connectVia(t testing.TB, d *sipvigil, target, uri string) {
	t.Helper()
	ctx := limit(t, patience)
	call := c.callerPhone.Dial(target, uri, ua.Offer{SDP: ua.SDP(40000)})
	in, err := c.calleePhone.Invited(ctx)
	if err != nil {
		t.Fatalf("no call came: %v", errors.Join(err, waited(call)))
	}
	in.Ring(180)
	if c.callee, err = in.Accept(ua.SDP(40002), c.accept...); err != nil {
		t.Fatalf("accept: %v", err)
	}
	if c.caller, err = call.Wait(ctx); err != nil {
		t.Fatalf("call: %v", err)
	}
	select {
	case <-c.callee.Confirmed():
	case <-ctx.Done():
		t.Fatal("the callee saw no ACK")
	}
	eventually(t, "the call is confirmed in the API", func() bool {
		shown, ok := d.call(c.caller.CallID) // a proxy does not change it
		c.id = shown.ID
		return ok && shown.State == "confirmed"
	})
}

// waited is what became of a call so far.
func waited(call *ua.Outgoing) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := call.Wait(ctx)
	return err
}

// check looks at all numbers that both phones were sent.
func (c *talk) check(t testing.TB) {
	t.Helper()
	for who, leg := range map[string]*ua.Dialog{"caller": c.caller, "callee": c.callee} {
		if leg == nil {
			continue
		}
		if err := leg.CheckCSeq(); err != nil && !c.leaps {
			t.Errorf("%s: %v", who, err)
		}
		if err := rising(leg); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
}

// probed waits for n more probes on a leg.
func probed(t testing.TB, leg *ua.Dialog, n int) {
	t.Helper()
	seen := options(leg)
	within(t, 75*time.Second, "more probes", func() bool { return options(leg) >= seen+n })
}

// options is how many different probes a phone has seen on a leg.
func options(leg *ua.Dialog) int {
	n := 0
	for _, r := range leg.Received() {
		if r.Method == "OPTIONS" && !r.Retransmission {
			n++
		}
	}
	return n
}

// hangUp ends a call that is alive from one side and demands that the other one
// learns of it.
func hangUp(t testing.TB, from, other *ua.Dialog) {
	t.Helper()
	ctx := limit(t, patience)
	if err := from.Bye(ctx); err != nil {
		t.Fatalf("BYE: %v", err)
	}
	released(t, other)
}

// released waits until sipvigil ends a leg, and returns how.
func released(t testing.TB, leg *ua.Dialog) ua.End {
	t.Helper()
	end, err := leg.WaitEnd(limit(t, 75*time.Second))
	if err != nil || end.By != ua.ByPeer {
		t.Fatalf("the leg was not released: %v, ended by %q", err, end.By)
	}
	return end
}

// limit is a context that ends with the test or after d.
func limit(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// shown is a call as the API shows it: the fields that these tests look at.
type shown struct {
	ID, State, Liveness, Node string
	EndedBy                   string `json:"ended_by"`
	EndText                   string `json:"end_text"`
	Caller, Callee            shownLeg
}

type shownLeg struct {
	CallID              string `json:"call_id"`
	Peer                string
	Liveness            string
	LastAlive           time.Time `json:"last_alive"`
	LastEvidence        string    `json:"last_evidence"`
	Method, Calibration string
	Held                string
	LocalCSeq           uint32 `json:"local_cseq"`
	Misses              int
	Refresher           string
	Released            string
}

// call asks the API for a call by its id or a Call-ID.
func (d *sipvigil) call(id string) (shown, bool) {
	d.t.Helper()
	var c shown
	status, body := d.http(http.MethodGet, "/api/v1/calls/"+url.PathEscape(id))
	if status != http.StatusOK {
		return c, false
	}
	if err := json.Unmarshal(body, &c); err != nil {
		d.t.Fatalf("call %s: %v: %s", id, err, body)
	}
	return c, true
}

// calls asks the API for all calls that go on.
func (d *sipvigil) calls() []shown {
	d.t.Helper()
	var list struct{ Calls []shown }
	status, body := d.http(http.MethodGet, "/api/v1/calls?limit=1000")
	if status != http.StatusOK {
		d.t.Fatalf("calls: %d %s", status, body)
	}
	if err := json.Unmarshal(body, &list); err != nil {
		d.t.Fatalf("calls: %v: %s", err, body)
	}
	return list.Calls
}

// terminated waits until the API shows a call as terminated.
func (d *sipvigil) terminated(id string) shown {
	d.t.Helper()
	var c shown
	within(d.t, 75*time.Second, "the call is terminated", func() bool {
		c, _ = d.call(id)
		return c.State == "terminated"
	})
	return c
}
