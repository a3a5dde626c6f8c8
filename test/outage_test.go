package test

import (
	"net/http"
	"testing"

	"sipvigil/store/storetest"
)

// warnings are the lines of the log from warn on that speak of the store.
func warnings(d *sipvigil) []entry {
	var found []entry
	for _, e := range d.entries("store") {
		if l := e.field("level"); l == "warn" || l == "error" {
			found = append(found, e)
		}
	}
	return found
}

func TestRedisThatComesLaterGetsTheLiveCalls(t *testing.T) {
	t.Parallel()
	redisURL, server := storetest.Redis(t)
	r := look(t, server)
	server.Stop()
	d := serve(t, redisURL)
	calls := dialMany(t, d, 3)
	for _, c := range calls {
		c.leaps = true
		probed(t, c.callee, 1)
	}
	eventually(t, "the log warns", func() bool { return len(warnings(d)) > 0 })
	if w := warnings(d); len(w) != 1 || w[0].field("level") != "warn" {
		t.Errorf("the log warns of the store %d times, want once: %v", len(w), w)
	}
	hangUp(t, calls[0].caller, calls[0].callee)
	calls = calls[1:]

	server.Start()
	for _, c := range calls {
		eventually(t, "the call appears in Redis", func() bool { return r.hash(c.id)["state"] == "confirmed" })
	}
	d.kill()
	d = d.again(redisURL)
	wantListed(t, d, calls)
	hangUp(t, calls[0].caller, calls[0].callee)
	hangUp(t, calls[1].callee, calls[1].caller)
}

func TestRedisThatGoesAwayEndsNoCall(t *testing.T) {
	t.Parallel()
	redisURL, server := storetest.Redis(t)
	d, r := serve(t, redisURL), look(t, server)
	calls := dialMany(t, d, 4)
	proven(t, d, calls[3])

	server.Stop()
	for _, c := range calls {
		probed(t, c.caller, 3)
		probed(t, c.callee, 1)
	}
	eventually(t, "the outage shows", func() bool { return d.metric("sipvigil_store_reachable") == 0 })
	if got := d.status("/readyz"); got != http.StatusOK {
		t.Errorf("/readyz is %d without Redis", got)
	}
	calls = append(calls, dial(t, d)) // a new one is accepted
	hangUp(t, calls[0].callee, calls[0].caller)
	calls = calls[1:]

	server.Start() // empty
	eventually(t, "the outage is over", func() bool { return d.metric("sipvigil_store_reachable") == 1 })
	for _, c := range calls {
		eventually(t, "the call is in Redis again", func() bool { return r.hash(c.id)["state"] == "confirmed" })
		probed(t, c.caller, 1)
	}
	wantListed(t, d, calls)
	for _, c := range calls {
		hangUp(t, c.caller, c.callee)
		r.over(c.id)
	}
}
