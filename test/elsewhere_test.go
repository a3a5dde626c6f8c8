package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sipvigil/store/storetest"
)

// asks waits until one node can ask something of another.
func asks(t *testing.T, d *sipvigil) {
	t.Helper()
	eventually(t, "the other nodes take what is asked of them", func() bool {
		var all struct {
			Trunks  []any
			Partial bool
		}
		status, body := d.http("GET", "/api/v1/trunks")
		return status == 200 && json.Unmarshal(body, &all) == nil && !all.Partial
	})
}

// endedThere demands that an operator has ended a call, with one BYE to each leg.
func endedThere(t *testing.T, d *sipvigil, c *talk, why string) {
	t.Helper()
	wantReason(t, released(t, c.caller), "Q.850;cause=31")
	wantReason(t, released(t, c.callee), "Q.850;cause=31")
	eventually(t, "the call is over at "+d.name, func() bool { s, ok := d.call(c.id); return ok && s.State == "terminated" })
	if s, _ := d.call(c.id); s.EndedBy != "operator" || !strings.Contains(s.EndText, why) {
		t.Errorf("the call ended by %q, %q", s.EndedBy, s.EndText)
	}
	byes(t, c, 1)
}

// byes demands that each leg of a call has got so many.
func byes(t *testing.T, c *talk, want int) {
	t.Helper()
	if caller, callee := len(requests(c.caller, "BYE")), len(requests(c.callee, "BYE")); caller != want || callee != want {
		t.Errorf("the caller got %d BYEs and the callee %d, want %d", caller, callee, want)
	}
}

// Whichever node an operator asks, what he wants is done by the one that has the
// call, once.
func TestCallsAreSeenToByWayOfAnotherNode(t *testing.T) {
	t.Parallel()
	nodes, _ := cluster(t, 2)
	one, two := nodes[0], nodes[1]
	near, calls := dial(t, one), dialMany(t, two, 4)
	eventually(t, "both nodes list all calls", func() bool { return len(one.calls()) == 5 && len(two.calls()) == 5 })
	asks(t, one)

	var answers struct{ Caller, Callee struct{ Kind, Method string } }
	ask(t, one, 0, &answers, "calls", "probe", calls[0].callee.CallID)
	if answers.Caller.Kind != "answered" || answers.Callee.Kind != "answered" {
		t.Errorf("calls probe: %+v", answers)
	}
	if status, body := one.http("GET", "/api/v1/calls/"+calls[0].id+"/events"); status != 200 || !strings.Contains(string(body), `"confirm"`) {
		t.Errorf("what happened to the call: %d %s", status, body)
	}
	var ended struct{ ID string }
	ask(t, one, 0, &ended, "calls", "hangup", calls[0].caller.CallID, "--reason", "stuck for days")
	if ended.ID != calls[0].id {
		t.Errorf("calls hangup: %+v", ended)
	}
	endedThere(t, two, calls[0], "stuck for days")

	var batch struct {
		ID                  string
		Ended, Gone, Failed int
	}
	ask(t, one, 0, &batch, "calls", "hangup", calls[1].id, near.id, calls[2].callee.CallID, "--reason", "carrier asked", "--per-second", "50")
	if batch.Ended != 3 || !strings.HasSuffix(batch.ID, "@edge-1") {
		t.Errorf("batch: %+v", batch)
	}
	endedThere(t, one, near, "carrier asked")
	endedThere(t, two, calls[1], "carrier asked")
	endedThere(t, two, calls[2], "carrier asked")
	if status, body := two.http("GET", "/api/v1/batches/"+batch.ID); status != 200 || !strings.Contains(string(body), `"ended":3`) {
		t.Errorf("the batch as edge-2 shows it: %d %s", status, body)
	}
	for call, why := range map[*talk]string{calls[0]: "stuck for days", calls[1]: "carrier asked"} {
		eventually(t, "edge-2 has logged who asked for it", func() bool {
			return slices.ContainsFunc(two.entries("operator acts"), func(e entry) bool {
				return e.field("method") == "DELETE" && e.field("call") == call.id && e.field("via") == "edge-1" && e.field("reason") == why
			})
		})
	}
	stopped(t, one, two, calls[3])
}

// stopped is a call whose owner stands still when it is to be hung up: it is said
// that nothing was done, and nothing is when the owner goes on.
func stopped(t *testing.T, one, two *sipvigil, c *talk) {
	t.Helper()
	c.leaps = true // it may be adopted meanwhile
	if err := two.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = two.cmd.Process.Signal(syscall.SIGCONT) })
	status, body := one.http("DELETE", "/api/v1/calls/"+c.id+"?reason=early")
	if err := two.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	why := "early"
	if status != http.StatusAccepted { // else the machine was so slow that edge-1 had adopted the call
		if status != http.StatusServiceUnavailable || !strings.Contains(string(body), "node edge-2 cannot be asked") || !strings.Contains(string(body), "Nothing was done") {
			t.Errorf("hanging up a call whose owner stands still: %d %s", status, body)
		}
		eventually(t, "the call can be asked again", func() bool {
			status, _ := one.http("POST", "/api/v1/calls/"+c.id+"/probe")
			return status == http.StatusOK // what was sent to its owner before has been read by then
		})
		byes(t, c, 0)
		why = "late"
		eventually(t, "the call can be hung up again", func() bool {
			status, _ := one.http("DELETE", "/api/v1/calls/"+c.id+"?reason=late")
			return status == http.StatusAccepted
		})
	}
	eventually(t, "the call is over everywhere", func() bool { return len(one.calls()) == 0 && len(two.calls()) == 0 })
	wantReason(t, released(t, c.caller), "Q.850;cause=31")
	wantReason(t, released(t, c.callee), "Q.850;cause=31")
	byes(t, c, 1)
	for _, d := range []*sipvigil{one, two} {
		for _, e := range d.entries("call ended") {
			if e.field("call") == c.id && !strings.Contains(e.field("text"), why) {
				t.Errorf("the call ended as %v", e)
			}
		}
	}
}

func TestHeldCallsAreReleasedByWayOfAnotherNode(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	pbx, carrier := trunkPhone(t, "pbx", "127.0.0.2"), trunkPhone(t, "carrier", "127.0.0.3")
	config := file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, sources: [127.0.0.2]}
  - {name: carrier, targets: ["sip:%s"], sources: [127.0.0.3]}
routes: [{from: pbx, to: [carrier]}]
supervise: {brake: {floor: 2}}
`, carrier.Addr()))
	nodes := nodesAt(t, redisURL, 2, "--config", config, "--probe-timeout", "3s")
	one, two := nodes[0], nodes[1]
	const calls, silent = 12, 4
	all := connectMany(t, pbx, carrier, slices.Repeat([]*sipvigil{two}, calls))
	for _, c := range all {
		c.leaps = true
		proven(t, two, c)
	}
	asks(t, one)
	for _, c := range all[:silent] {
		c.callee.Silence()
	}
	within(t, 3*patience, "their calls are held", func() bool { return two.metric("sipvigil_supervisor_held_calls") == silent })
	eventually(t, "the trunk shows them at the other node", func() bool {
		var list struct {
			Trunks []struct {
				Name  string
				Usage struct{ Calls, Held int }
			}
		}
		_, body := one.http("GET", "/api/v1/trunks")
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatal(err)
		}
		for _, k := range list.Trunks {
			if k.Name == "carrier" && k.Usage.Calls == calls && k.Usage.Held == silent {
				return true
			}
		}
		return false
	})
	var want []string
	for _, c := range all[:silent] {
		want = append(want, c.id)
	}
	slices.Sort(want)
	if got := one.pages(two, "held=true&trunk=carrier&limit=3"); !slices.Equal(got, want) {
		t.Errorf("calls %v are listed as held, want %v", got, want)
	}
	var held struct{ Calls []shown }
	ask(t, one, 0, &held, "calls", "--held", "--node", two.name)
	if len(held.Calls) != silent || held.Calls[0].ID != want[0] || held.Calls[0].Callee.Held == "" {
		t.Errorf("calls --held: %+v", held.Calls)
	}
	type released struct {
		Node  string
		Calls int
	}
	var answer struct {
		Calls int
		Nodes []released
	}
	ask(t, one, 0, &answer, "calls", "release", "--reason", "the carrier is really down")
	if want := []released{{"edge-1", 0}, {"edge-2", silent}}; answer.Calls != silent || !slices.Equal(answer.Nodes, want) {
		t.Errorf("%+v are said to end, want %+v", answer, want)
	}
	for _, c := range all[:silent] {
		eventually(t, "the call ends", func() bool { s, _ := two.call(c.id); return s.EndedBy == "callee-silent" })
		if _, err := c.caller.WaitEnd(limit(t, patience)); err != nil {
			t.Error(err)
		}
		c.callee.Speak() // so that its BYE is answered
	}
	for _, c := range all[silent:] {
		byes(t, c, 0)
	}
}

// pages reads a list to its end, each page from the other one of two nodes.
func (d *sipvigil) pages(other *sipvigil, query string) (ids []string) {
	d.t.Helper()
	for next, more := "", true; more; d, other = other, d {
		var part []string
		part, next = d.page(query + "&cursor=" + url.QueryEscape(next))
		ids, more = append(ids, part...), next != ""
	}
	return ids
}

func TestCallsThatEndedAtAnyNodeAreListedByEach(t *testing.T) {
	t.Parallel()
	nodes, _ := cluster(t, 2)
	one, two := nodes[0], nodes[1]
	asks(t, one)
	asks(t, two)
	byNode := make(map[string][]string)
	var all []string
	for _, d := range []*sipvigil{one, two, one} {
		calls := dialMany(t, d, 3)
		for _, c := range calls[:2] {
			hangUp(t, c.caller, c.callee)
			d.terminated(c.id)
			byNode[d.name], all = append(byNode[d.name], c.id), append(all, c.id)
		}
	}
	slices.Sort(all)
	for _, limit := range []string{"1", "2", "4", "1000"} {
		if got := one.pages(two, "state=terminated&limit="+limit); !slices.Equal(got, all) {
			t.Errorf("in pages of %s: %v, want %v", limit, got, all)
		}
	}
	for _, of := range nodes {
		slices.Sort(byNode[of.name])
		if got := one.pages(two, "state=terminated&limit=1&node="+of.name); !slices.Equal(got, byNode[of.name]) {
			t.Errorf("those of %s: %v, want %v", of.name, got, byNode[of.name])
		}
	}
	var list struct {
		Calls   []shown
		Partial bool
	}
	ask(t, two, 0, &list, "calls", "--state", "terminated")
	if len(list.Calls) != len(all) || list.Calls[0].EndedBy != "caller-bye" || list.Partial {
		t.Errorf("calls --state terminated: %+v", list)
	}
}
