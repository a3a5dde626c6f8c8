package test

import (
	"testing"
	"time"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

func TestEvidenceThatComesByItselfPostponesTheProbe(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	busy, quiet := dial(t, d), dial(t, d)
	proven(t, d, busy) // the first probe comes in any case: it tells whether a phone answers at all

	// The quiet call is the clock: while it is asked four times, the other one
	// talks all the time. Its answers speak for the callee as well.
	const often = 300 * time.Millisecond
	var heard []sign
	send := func() {
		t.Helper()
		sent := time.Now()
		if res, err := busy.caller.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
			t.Fatalf("INFO: %v, %v", res, err)
		}
		heard = append(heard, sign{sent, time.Now()})
	}
	send()
	until := options(quiet.caller) + 4
	tick := time.NewTicker(often)
	defer tick.Stop()
	for options(quiet.caller) < until {
		<-tick.C
		send()
	}
	first, last := heard[0].to, heard[len(heard)-1].to
	for who, leg := range map[string]*ua.Dialog{"caller": busy.caller, "callee": busy.callee} {
		for _, r := range requests(leg, "OPTIONS") {
			if r.At.After(first) && r.At.Before(last) && !paused(heard, r.At) {
				t.Errorf("%s was asked at %v, though it had shown itself at %v", who, r.At, heard)
			}
		}
	}
	hangUp(t, busy.callee, busy.caller)
	hangUp(t, quiet.caller, quiet.callee)
}

// sign is between when sipvigil has heard of both phones.
type sign struct{ from, to time.Time }

// paused says whether this machine was so busy around a moment that there may have
// been no evidence for about an interval: then a probe is right.
func paused(heard []sign, at time.Time) bool {
	const nearly = 800 * time.Millisecond
	for i := 1; i < len(heard); i++ {
		before, next := heard[i-1].from, heard[i].to
		if next.Sub(before) >= nearly && at.After(before) && at.Before(next.Add(nearly)) {
			return true
		}
	}
	return false
}

func TestPhonesAreAskedWithReinvites(t *testing.T) {
	t.Parallel()
	d := serve(t, "embedded", "--config", file(t, "sipvigil.yaml", "supervise: {method: reinvite}"))
	c := dial(t, d)
	for leg, want := range map[*ua.Dialog]string{c.caller: ua.SDP(40002), c.callee: ua.SDP(40000)} {
		within(t, patience, "two re-INVITEs", func() bool { return len(requests(leg, "INVITE")) >= 2 })
		list := requests(leg, "INVITE")
		if got := list[len(list)-1].Message; string(got.Body) != want {
			t.Errorf("asked with %s, want the description\n%s", got, want)
		}
	}
	within(t, patience, "the answers are in the history", func() bool {
		answers := d.eventsOf(t, c.id, "answer")
		return len(answers) > 0 && answers[0].Text == "200 INVITE"
	})
	hangUp(t, c.caller, c.callee)
}
