package test

import (
	"testing"

	"sipvigil/test/ua"
)

// What blind phones say that they take.
var (
	withUpdate    = ua.H("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE")
	withoutUpdate = ua.H("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS")
)

// blindPhone is a phone that answers 200 to OPTIONS of any dialog, as some
// real ones do.
func blindPhone(t *testing.T, userAgent string) *ua.Phone {
	t.Helper()
	p := agent(t, userAgent)
	p.AnswerUnknown("OPTIONS", 200, "")
	return p
}

// agent is a phone of this make.
func agent(t *testing.T, userAgent string) *ua.Phone {
	t.Helper()
	return listen(t, ua.Config{User: "bob", UserAgent: userAgent})
}

// dialTo sets up a call to a phone that answers with these headers.
func dialTo(t *testing.T, d *sipvigil, callee *ua.Phone, headers ...ua.Header) *talk {
	t.Helper()
	c := &talk{callerPhone: phone(t, "alice", "udp"), calleePhone: callee}
	ctx := limit(t, patience)
	call := c.callerPhone.Dial("sip:"+d.udp, callee.URI(), ua.Offer{SDP: ua.SDP(40000)})
	in, err := callee.Invited(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c.callee, err = in.Accept(ua.SDP(40002), headers...); err != nil {
		t.Fatal(err)
	}
	if c.caller, err = call.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the call is confirmed in the API", func() bool {
		shown, ok := d.call(c.caller.CallID)
		c.id = shown.ID
		return ok && shown.State == "confirmed"
	})
	t.Cleanup(func() { c.check(t) })
	return c
}

func TestAPhoneThatAnswersForAnyDialog(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded")
	t.Run("is asked with UPDATE and found when it lost its call", func(t *testing.T) {
		t.Parallel()
		c := dialTo(t, d, blindPhone(t, "blind/1"), withUpdate)
		eventually(t, "it is known to be blind, and has answered UPDATE", func() bool {
			got, _ := d.call(c.id)
			return got.Callee.Calibration == "blind" && got.Callee.LastEvidence == "200 UPDATE" && got.Callee.Liveness == "alive"
		})
		c.callee.Forget()
		wantReason(t, released(t, c.caller), "SIP;cause=481", "Q.850;cause=41")
		if got := d.terminated(c.id); got.EndedBy != "callee-gone" || got.Caller.Calibration != "discriminating" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("is shown as reachable where it does not take UPDATE", func(t *testing.T) {
		t.Parallel()
		c := dialTo(t, d, blindPhone(t, "blind/0"), withoutUpdate)
		reachable := func() bool {
			got, _ := d.call(c.id)
			return got.Callee.Calibration == "blind" && got.Callee.Liveness == "reachable" && got.Callee.Method == "OPTIONS"
		}
		eventually(t, "it is known to be blind", reachable)
		c.callee.Forget()
		probed(t, c.callee, 4)
		if got, _ := d.call(c.id); !reachable() || got.State != "confirmed" || got.Liveness != "reachable" {
			t.Errorf("after it lost its call: %+v", got)
		}
		if err := c.caller.Bye(limit(t, patience)); err != nil {
			t.Errorf("BYE: %v", err)
		}
	})
	t.Run("is asked with OPTIONS again when it takes UPDATE but never answers it", func(t *testing.T) {
		t.Parallel()
		c := dialTo(t, d, blindPhone(t, "blind/2"), withUpdate)
		c.callee.Respond("UPDATE", func(*ua.Message) ua.Reply { return ua.Reply{} })
		eventually(t, "it has missed UPDATEs, and answered OPTIONS", func() bool {
			got, _ := d.call(c.id)
			return got.Callee.Calibration == "blind" && got.Callee.Liveness == "reachable" && got.Callee.Method == "OPTIONS"
		})
		hangUp(t, c.caller, c.callee)
	})
}

func TestCalibrationTouchesNoCall(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded")
	c := dialTo(t, d, agent(t, "sighted/1")) // a kind of its own, or the caller may be asked for both
	stray, err := c.calleePhone.Wait(limit(t, patience), ua.Method("OPTIONS"))
	if err != nil {
		t.Fatal(err)
	}
	if m := stray.Message; m.CallID() == c.callee.CallID || m.ToTag() == "" || m.ToTag() == c.callee.LocalTag {
		t.Errorf("the dialog that does not exist: %s", m.Raw)
	}
	probed(t, c.callee, 3)
	hangUp(t, c.callee, c.caller)
}
