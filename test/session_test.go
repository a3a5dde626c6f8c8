package test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

var (
	supportsTimer = ua.H("Supported", "timer")
	requiresTimer = ua.H("Require", "timer")
)

func expires(value string) ua.Header { return ua.H("Session-Expires", value) }

// timed sets up a call whose caller asks for a session timer with these header
// fields, and whose callee answers with those. It returns the caller's 2xx.
func timed(t *testing.T, d *sipvigil, asked, answered []ua.Header) (*talk, *ua.Message) {
	t.Helper()
	c := &talk{callerPhone: phone(t, "alice", "udp"), calleePhone: phone(t, "bob", "udp")}
	seen := make(chan *ua.Message, 10)
	c.callerPhone.Drop(func(dir ua.Direction, m *ua.Message) bool {
		if ua.Is(ua.In, "200 INVITE")(dir, m) {
			select {
			case seen <- m:
			default:
			}
		}
		return false
	})
	ctx := limit(t, patience)
	call := c.callerPhone.Dial("sip:"+d.udp, c.calleePhone.URI(), ua.Offer{SDP: ua.SDP(40000), Headers: asked})
	in, err := c.calleePhone.Invited(ctx)
	if err != nil {
		t.Fatalf("no call came: %v", errors.Join(err, waited(call)))
	}
	for _, h := range asked {
		if !slices.Contains(in.Request.All(h.Name), h.Value) {
			t.Errorf("the callee was sent no %s: %s", h.Name, h.Value)
		}
	}
	if c.callee, err = in.Accept(ua.SDP(40002), answered...); err != nil {
		t.Fatalf("accept: %v", err)
	}
	if c.caller, err = call.Wait(ctx); err != nil {
		t.Fatalf("call: %v", err)
	}
	accepted := <-seen
	eventually(t, "the call is confirmed in the API", func() bool {
		shown, ok := d.call(c.caller.CallID)
		c.id = shown.ID
		return ok && shown.State == "confirmed"
	})
	t.Cleanup(func() { c.check(t) })
	return c, accepted
}

// refreshers are who refreshes the caller's and the callee's leg, as the API
// shows it.
func (d *sipvigil) refreshers(id string) [2]string {
	d.t.Helper()
	shown, _ := d.call(id)
	return [2]string{shown.Caller.Refresher, shown.Callee.Refresher}
}

func TestASessionTimerIsNegotiatedOnEachLeg(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded")
	for _, tt := range []struct {
		name            string
		asked, answered []ua.Header
		expires         string // in the caller's 2xx
		refreshers      [2]string
	}{
		{"both, the caller refreshes", []ua.Header{supportsTimer, expires("1800")},
			[]ua.Header{supportsTimer, expires("1800;refresher=uac"), requiresTimer}, "1800;refresher=uac", [2]string{"peer", "other"}},
		{"both, the callee refreshes", []ua.Header{supportsTimer, expires("1800;refresher=uas")},
			[]ua.Header{supportsTimer, expires("600;refresher=uas"), requiresTimer}, "600;refresher=uas", [2]string{"other", "peer"}},
		{"the caller alone", []ua.Header{supportsTimer, expires("1800")}, nil, "1800;refresher=uac", [2]string{"peer", ""}},
		{"the caller alone, and we refresh", []ua.Header{supportsTimer, expires("1800;refresher=uas")}, nil,
			"1800;refresher=uas", [2]string{"self", ""}},
		{"the callee alone", nil, []ua.Header{supportsTimer, expires("1800;refresher=uas")}, "", [2]string{"", "peer"}},
		{"nobody", nil, nil, "", [2]string{"", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, res := timed(t, d, tt.asked, tt.answered)
			if got := res.Get("Session-Expires"); got != tt.expires {
				t.Errorf("the caller was answered Session-Expires: %s, want %s", got, tt.expires)
			}
			if got := slices.Contains(res.Values("Require"), "timer"); got != (tt.expires != "") {
				t.Errorf("the caller's 2xx requires timer: %v", got)
			}
			if got := d.refreshers(c.id); got != tt.refreshers {
				t.Errorf("refreshers are %q, want %q", got, tt.refreshers)
			}
			hangUp(t, c.caller, c.callee)
		})
	}
}

func TestAnIntervalThatIsTooShortIsAnswered422(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded")
	alice, bob := phone(t, "alice", "udp"), phone(t, "bob", "udp")
	refused := func(wantMin string, headers ...ua.Header) {
		t.Helper()
		_, err := alice.Call(limit(t, patience), "sip:"+d.udp, bob.URI(), ua.Offer{SDP: ua.SDP(40000), Headers: headers})
		var status *ua.StatusError
		if !errors.As(err, &status) || status.Response.Status != 422 || status.Response.Get("Min-SE") != wantMin {
			t.Fatalf("the call came back with %v, want 422 and Min-SE: %s", err, wantMin)
		}
	}
	refused("90", supportsTimer, expires("30"))
	bob.Handle(func(in *ua.Incoming) { in.Reject(422, "", ua.H("Min-SE", "1200")) })
	refused("1200", supportsTimer, expires("600"))
}

// The shortest interval there is has its first refresh after 45 s.
func TestWeRefreshALegWhoseFarEndAskedForIt(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded")
	for _, tt := range []struct{ allow, method string }{{"INVITE, ACK, BYE, UPDATE", "UPDATE"}, {"INVITE, ACK, BYE", "INVITE"}} {
		t.Run(tt.method, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			c, _ := timed(t, d, []ua.Header{supportsTimer, expires("90;refresher=uas"), ua.H("Allow", tt.allow)}, nil)
			c.caller.Answer(tt.method, 200, "", expires("90;refresher=uac"), requiresTimer)
			got, err := c.caller.Wait(limit(t, 75*time.Second), ua.Method(tt.method))
			if err != nil {
				t.Fatalf("no %s came: %v", tt.method, err)
			}
			if took := got.At.Sub(start); took < 40*time.Second {
				t.Errorf("it came after %v", took)
			}
			if v := got.Message.Get("Session-Expires"); v != "90;refresher=uac" {
				t.Errorf("Session-Expires: %s", v)
			}
			if tt.method == "INVITE" && string(got.Message.Body) != ua.SDP(40002) {
				t.Errorf("it offers %s", got.Message.Body)
			}
			hangUp(t, c.callee, c.caller)
		})
	}
}

// Over a restart the session goes on in Redis.
func TestASessionTimerOutlivesARestart(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	c, _ := timed(t, d, []ua.Header{supportsTimer, expires("1800;refresher=uas"), ua.H("Allow", "INVITE")}, nil)
	c.leaps = true
	d.stop()
	d = d.again(redisURL)
	eventually(t, "the call is back", func() bool {
		shown, ok := d.call(c.id)
		return ok && shown.State == "confirmed"
	})
	if got, want := d.refreshers(c.id), [2]string{"self", ""}; got != want {
		t.Errorf("refreshers are %q, want %q", got, want)
	}
	hangUp(t, c.caller, c.callee)
}
