package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// outcome is what is left of a call.
type outcome struct {
	EndedBy, Caller, Callee string // the latter two: how their release went
}

func wantEnd(t *testing.T, d *sipvigil, r records, id string, want outcome) {
	t.Helper()
	c := d.terminated(id)
	if diff := cmp.Diff(want, outcome{c.EndedBy, c.Caller.Released, c.Callee.Released}); diff != "" {
		t.Errorf("end of the call (-want +got):\n%s", diff)
	}
	r.over(id)
	if got := r.hash(id)["ended_by"]; got != want.EndedBy {
		t.Errorf("Redis says that the call was ended by %q, want %q", got, want.EndedBy)
	}
}

func wantReason(t *testing.T, end ua.End, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(end.Reason, w) {
			t.Errorf("BYE has Reason %q, want %q in it", end.Reason, w)
		}
	}
}

func TestCallThatOnePhoneForgotIsReleasedOnTheOther(t *testing.T) {
	t.Parallel()
	redisURL, server := storetest.Redis(t)
	d, r := serve(t, redisURL), look(t, server)
	t.Run("callee forgot", func(t *testing.T) {
		t.Parallel()
		c := dial(t, d)
		c.callee.Forget()
		wantReason(t, released(t, c.caller), "SIP;cause=481", "Q.850;cause=41")
		wantEnd(t, d, r, c.id, outcome{"callee-gone", "confirmed", "already-gone"})
	})
	t.Run("caller forgot", func(t *testing.T) {
		t.Parallel()
		c := dialOver(t, d, "tcp", "udp")
		probed(t, c.caller, 1)
		c.caller.Forget()
		wantReason(t, released(t, c.callee), "SIP;cause=481", "Q.850;cause=41")
		wantEnd(t, d, r, c.id, outcome{"caller-gone", "already-gone", "confirmed"})
	})
}

func TestCallWithASilentPhoneIsReleasedOnTheOther(t *testing.T) {
	t.Parallel()
	redisURL, server := storetest.Redis(t)
	d, r := serve(t, redisURL), look(t, server)
	t.Run("caller falls silent", func(t *testing.T) {
		t.Parallel()
		c := dial(t, d)
		proven(t, d, c)
		c.caller.Silence()
		wantReason(t, released(t, c.callee), "SIP;cause=408", "Q.850;cause=102")
		wantEnd(t, d, r, c.id, outcome{"caller-silent", "unconfirmed", "confirmed"})
		if requests(c.caller, "BYE") == nil {
			t.Error("no BYE was sent to the silent phone")
		}
	})
	t.Run("callee vanishes", func(t *testing.T) {
		t.Parallel()
		c := dialVanishing(t, d, "udp", "127.0.0.8")
		proven(t, d, c)
		c.calleePhone.Close()
		wantReason(t, released(t, c.caller), "SIP;cause=408", "Q.850;cause=102")
		wantEnd(t, d, r, c.id, outcome{"callee-silent", "confirmed", "unconfirmed"})
	})
	t.Run("callee vanishes with its connection", func(t *testing.T) {
		t.Parallel()
		c := dialVanishing(t, d, "tcp", "127.0.0.8")
		proven(t, d, c)
		c.calleePhone.Close()
		wantReason(t, released(t, c.caller), "SIP;cause=408", "Q.850;cause=102")
		wantEnd(t, d, r, c.id, outcome{"callee-silent", "confirmed", "unconfirmed"})
	})
}

// proven waits until both legs have answered a probe: a leg that never has is
// not taken for dead.
func proven(t *testing.T, d *sipvigil, c *talk) {
	t.Helper()
	eventually(t, "both legs are alive", func() bool {
		got, _ := d.call(c.id)
		return got.Caller.LastEvidence == "200 OPTIONS" && got.Callee.LastEvidence == "200 OPTIONS" &&
			got.Caller.Liveness == "alive" && got.Callee.Liveness == "alive"
	})
}

func TestPhoneThatSpeaksAgainInTimeKeepsItsCall(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	c := dial(t, d)
	proven(t, d, c)
	c.caller.Silence()
	eventually(t, "a probe was missed", func() bool { got, _ := d.call(c.id); return got.Caller.Misses == 1 })
	c.caller.Speak()
	eventually(t, "the caller is alive again", func() bool {
		got, _ := d.call(c.id)
		return got.State == "confirmed" && got.Caller.Liveness == "alive" && got.Caller.Misses == 0
	})
	hangUp(t, c.callee, c.caller)
}
