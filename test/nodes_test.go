package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/b2bua/dialog"
	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// adoptTime is how long it may take until the calls of a node that was killed
// have another owner, on a busy machine.
const adoptTime = time.Minute

// sites has four tests of several nodes run at a time: each has many processes.
var sites = make(chan struct{}, 4)

// cluster starts nodes edge-1, edge-2… that share a Redis.
func cluster(t *testing.T, n int) ([]*sipvigil, *storetest.Server) {
	t.Helper()
	redisURL, server := storetest.Redis(t)
	return nodesAt(t, redisURL, n), server
}

func nodesAt(t *testing.T, redisURL string, n int, flags ...string) []*sipvigil {
	t.Helper()
	if n > 1 {
		sites <- struct{}{}
		t.Cleanup(func() { <-sites })
	}
	var nodes []*sipvigil
	for i := range n {
		nodes = append(nodes, serve(t, redisURL, append([]string{"--node", fmt.Sprintf("edge-%d", i+1), "--probe-timeout", "10s"}, flags...)...))
	}
	eventually(t, "all hold their leases", func() bool { return len(nodes[0].nodes()) == n })
	since := time.Now()
	eventually(t, "all know of all", func() bool {
		for _, seen := range nodes[0].nodes() {
			if !seen.Seen.After(since) {
				return false
			}
		}
		return true
	})
	return nodes
}

// spread counts the confirmed calls of each node, as one of them lists them.
func (d *sipvigil) spread() map[string]int {
	d.t.Helper()
	count := make(map[string]int)
	for _, c := range d.calls() {
		if c.State == "confirmed" {
			count[c.Node]++
		}
	}
	return count
}

// asker is the address that a request came from: the owner of its call, or who
// takes itself for that.
func asker(r ua.Received) string {
	_, hop, _ := strings.Cut(r.Message.Get("Via"), " ")
	hop, _, _ = strings.Cut(hop, ";")
	return hop
}

// askedBy counts the probes of a leg that came from an address, above a number.
func askedBy(leg *ua.Dialog, by string, above uint32) int {
	n := 0
	for _, r := range leg.Received() {
		if r.Method == "OPTIONS" && !r.Retransmission && r.CSeq > above && asker(r) == by {
			n++
		}
	}
	return n
}

// oneOwner demands that a leg was asked by one node at a time: whoever is not the
// one that asked before has taken the call over, and is far above its numbers. That
// holds however slow the machine is, and however often a node lost its lease.
func oneOwner(t *testing.T, leg *ua.Dialog) {
	t.Helper()
	var last ua.Received
	for _, r := range leg.Received() {
		if r.Method != "OPTIONS" || r.Retransmission {
			continue
		}
		if last.Message != nil && asker(last) != asker(r) && r.CSeq < last.CSeq+dialog.Jump/2 {
			t.Errorf("%s asked with CSeq %d, right after %s with %d", asker(r), r.CSeq, asker(last), last.CSeq)
		}
		last = r
	}
}

// adopted waits until calls are owned by these nodes only, and every leg was
// asked again by its new owner. All of them go on.
func adopted(t *testing.T, calls []*talk, before map[*ua.Dialog]uint32, by ...*sipvigil) {
	t.Helper()
	addrs := make(map[string]string)
	for _, d := range by {
		addrs[d.name] = d.udp
	}
	asked := make(map[*ua.Dialog]bool)
	within(t, 2*adoptTime, "all calls are adopted, and their legs asked by the new owners", func() bool {
		owners := make(map[string]string)
		for _, s := range by[0].calls() {
			if addr := addrs[s.Node]; addr != "" && s.State == "confirmed" {
				owners[s.ID] = addr
			}
		}
		for _, c := range calls {
			for _, leg := range []*ua.Dialog{c.caller, c.callee} { // a call may move once more
				asked[leg] = asked[leg] || askedBy(leg, owners[c.id], before[leg]) > 0
				if !asked[leg] {
					return false
				}
			}
		}
		return len(owners) == len(calls)
	})
	for _, c := range calls {
		for who, leg := range map[string]*ua.Dialog{"caller": c.caller, "callee": c.callee} {
			oneOwner(t, leg)
			if n := len(requests(leg, "BYE")); n > 0 {
				t.Errorf("call %s: %d BYEs to the %s of a call that goes on", c.id, n, who)
			}
		}
	}
}

// numbers are the last ones that the phones have seen. What is on its way from
// the last owner may still come.
func numbers(calls []*talk) map[*ua.Dialog]uint32 {
	seen := make(map[*ua.Dialog]uint32)
	for _, c := range calls {
		c.leaps = true
		seen[c.caller], seen[c.callee] = c.caller.RemoteCSeq(), c.callee.RemoteCSeq()
	}
	return seen
}

// lapsed says whether any of these nodes was too slow to keep its lease, so that
// it had no share in what the others adopted.
func lapsed(nodes ...*sipvigil) bool {
	for _, d := range nodes {
		if len(d.entries("no lease")) > 0 {
			return true
		}
	}
	return false
}

// served has a phone send a request until it is served: while the owner of a call
// changes it may be told to try again, by 503 with Retry-After.
func served(t *testing.T, leg *ua.Dialog, method, body string) {
	t.Helper()
	eventually(t, method+" is served", func() bool {
		res, err := leg.Request(limit(t, patience), method, body)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if res.Status != 200 && (res.Status != 503 || res.Get("Retry-After") == "") {
			t.Fatalf("%s is answered %d", method, res.Status)
		}
		return res.Status == 200
	})
}

// moved has a phone send to another node than the one that it called.
func moved(t *testing.T, leg *ua.Dialog, to *sipvigil) {
	t.Helper()
	leg.Through(netip.MustParseAddrPort(to.udp))
}

func TestCallsOfAKilledNodeGoOnAtTheOthers(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	f := fleetOf(t, redisURL, 200, 0, 0)
	nodes, calls := f.nodes, f.calls
	nodes[0].kill()
	before := numbers(calls)
	done := make(map[string]int)
	within(t, adoptTime, "one survivor shows how many calls both have adopted", func() bool {
		sum := 0
		for _, p := range nodes[1].progress() {
			if p.What == "adoption" && p.Of == "edge-1" {
				done[p.ID] = p.Done
			}
		}
		for _, n := range done {
			sum += n
		}
		return sum == len(calls)
	})

	adopted(t, calls, before, nodes[1], nodes[2])
	spread := nodes[2].spread()
	if (spread["edge-2"] < 20 || spread["edge-3"] < 20) && !lapsed(nodes[1:]...) {
		t.Errorf("the calls were not shared out: %v", spread)
	}

	// Whichever survivor a phone speaks to, its call is served.
	for i, c := range calls[:10] {
		moved(t, c.caller, nodes[1+i%2])
		moved(t, c.callee, nodes[2-i%2])
		served(t, c.callee, "INFO", "")
		served(t, c.caller, "INVITE", ua.SDP(40010))
		eventually(t, "the ACK has come through", func() bool { return len(requests(c.callee, "ACK")) == 2 })
	}
	f.noneEnded()
	f.hangUp(nodes[1:]...)
	if n := nodes[1].metric("sipvigil_b2bua_forwarded_total") + nodes[2].metric("sipvigil_b2bua_forwarded_total"); n < 5 {
		t.Errorf("%v requests were passed on to the owner", n)
	}

	// The node that died comes back, and leaves what is others' alone.
	nodes[0] = nodes[0].again(nodes[0].redisURL, "--node", "edge-1")
	eventually(t, "the node is back", func() bool { return nodes[0].metric("sipvigil_node_lease") == 1 })
	if n := nodes[0].metric("sipvigil_calls_active"); n != 0 {
		t.Errorf("the node that came back has %v calls", n)
	}
}

func TestNodeThatWasStoppedDropsWhatOthersAdopted(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	f := fleetOf(t, redisURL, 200, 0, 0)
	nodes, calls := f.nodes, f.calls
	before := numbers(calls)
	if err := nodes[0].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nodes[0].cmd.Process.Signal(syscall.SIGCONT) })
	adopted(t, calls, before, nodes[1], nodes[2])

	if err := nodes[0].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node has dropped the calls", func() bool {
		return nodes[0].metric("sipvigil_calls_active") == 0 && nodes[0].metric("sipvigil_node_lease") == 1
	})
	adopted(t, calls, numbers(calls), nodes[1], nodes[2])
	f.noneEnded()
	f.hangUp(nodes...) // of which the first does not have a call any more
}

func TestRollingUpgradeEndsNoCall(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	f := fleetOf(t, redisURL, 200, 0)
	ringing := make(chan *ua.Incoming, 1)
	f.carrier.Handle(func(in *ua.Incoming) {
		in.Ring(180)
		ringing <- in
	})
	late := f.pbx.Dial("sip:"+f.nodes[0].udp, "sip:bob@"+f.nodes[0].udp, ua.Offer{SDP: ua.SDP(40000)})
	in := <-ringing

	// A node that is told to stop takes no new calls, and waits for the one that
	// rings.
	f.nodes[0].terminate()
	eventually(t, "the node takes no new calls", func() bool { return f.nodes[0].status("/readyz") == 503 })
	_, err := f.pbx.Call(limit(t, patience), "sip:"+f.nodes[0].udp, "sip:bob@"+f.nodes[0].udp, ua.Offer{SDP: ua.SDP(40000)})
	if status := (*ua.StatusError)(nil); !errors.As(err, &status) || status.Status != 503 || status.Response.Get("Retry-After") == "" {
		t.Errorf("a new call got %v, want 503 with Retry-After", err)
	}
	eventually(t, "another node shows that this one waits for a call", func() bool {
		return slices.ContainsFunc(f.nodes[1].progress(), func(p task) bool {
			return p.What == "drain" && p.Of == "node "+f.nodes[0].name && p.Done == 0 && p.Total == 1
		})
	})
	callee, err := in.Accept(ua.SDP(40002))
	if err != nil {
		t.Fatal(err)
	}
	caller, err := late.Wait(limit(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	f.nodes[0].wait()
	if code := f.nodes[0].cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	eventually(t, "the other has all calls", func() bool { return f.nodes[1].spread()["edge-2"] == len(f.calls)+1 })
	shown, _ := f.nodes[1].call(caller.CallID)
	f.calls = append(f.calls, &talk{callerPhone: f.pbx, calleePhone: f.carrier, caller: caller, callee: callee, id: shown.ID})
	adopted(t, f.calls, numbers(f.calls), f.nodes[1])
	eventually(t, "the node that left is forgotten", func() bool { return len(f.nodes[1].nodes()) == 1 })

	f.nodes[0] = f.again(0)
	eventually(t, "both know each other", func() bool { return len(f.nodes[0].nodes()) == 2 && len(f.nodes[1].nodes()) == 2 })
	f.nodes[1].stop()
	adopted(t, f.calls, numbers(f.calls), f.nodes[0])
	f.nodes[1] = f.again(1)
	f.noneEnded()
	f.hangUp(f.nodes...)
}

// nodes are those that the API lists, by name.
func (d *sipvigil) nodes() map[string]member {
	d.t.Helper()
	var list struct{ Nodes []member }
	if status, body := d.http("GET", "/api/v1/nodes"); status != 200 || json.Unmarshal(body, &list) != nil {
		d.t.Fatalf("nodes: %d %s", status, body)
	}
	nodes := make(map[string]member)
	for _, n := range list.Nodes {
		nodes[n.Name] = n
	}
	return nodes
}

// progress is what takes a while at any node, as the API lists it.
func (d *sipvigil) progress() []task {
	d.t.Helper()
	var list struct{ Progress []task }
	if status, body := d.http("GET", "/api/v1/progress"); status != 200 || json.Unmarshal(body, &list) != nil {
		d.t.Fatalf("progress: %d %s", status, body)
	}
	return list.Progress
}

// task is what takes a while, as the API lists it.
type task struct {
	ID, What, Of string
	Done, Total  int
	Ended        time.Time
}

// member is a node as the API lists it.
type member struct {
	Name, State string
	Seen        time.Time
}

func TestNodesWithoutRedisKeepTheirCallsAndJudgeNone(t *testing.T) {
	t.Parallel()
	nodes, server := cluster(t, 2)
	calls := dialMany(t, nodes[0], 5)
	for _, c := range calls {
		c.leaps = true
	}
	probed(t, calls[4].callee, 2)
	server.Pause()
	for _, d := range nodes {
		eventually(t, "the node watches no call", func() bool { return d.metric("sipvigil_node_lease") == 0 })
		if got := d.status("/readyz"); got != 200 {
			t.Errorf("/readyz says %d", got)
		}
	}
	calls[0].callee.Forget()
	// What passes to a phone comes after all that the node had sent it before.
	if res, err := calls[1].callee.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
		t.Errorf("INFO while Redis is away: %v, %v", res, err)
	}
	seen := options(calls[1].caller)
	for range 5 { // what the phones send passes
		if res, err := calls[2].caller.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
			t.Errorf("INFO while Redis is away: %v, %v", res, err)
		}
	}
	hangUp(t, calls[2].caller, calls[2].callee)
	if n := options(calls[1].caller) - seen; n > 0 {
		t.Errorf("%d probes while Redis is away", n)
	}
	server.Resume()
	released(t, calls[0].caller) // what was lost meanwhile is found now
	probed(t, calls[1].caller, 2)
	for _, c := range calls[3:] {
		if n := len(requests(c.caller, "BYE")) + len(requests(c.callee, "BYE")); n > 0 {
			t.Errorf("%d BYEs to a call that goes on", n)
		}
	}
	eventually(t, "both nodes have renewed their leases", func() bool {
		got := nodes[0].nodes()
		return got["edge-1"].State == "up" && got["edge-2"].State == "up"
	})
}

// page asks for some of the calls that match a query.
func (d *sipvigil) page(query string) (ids []string, next string) {
	d.t.Helper()
	var list struct {
		Calls []shown
		Next  string
	}
	if status, body := d.http("GET", "/api/v1/calls?"+query); status != 200 || json.Unmarshal(body, &list) != nil {
		d.t.Fatalf("calls?%s: %d %s", query, status, body)
	}
	for _, c := range list.Calls {
		ids = append(ids, c.ID)
	}
	return ids, list.Next
}

func TestTheListOfCallsIsThatOfAllNodes(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	nodes, calls := busySite(t, redisURL)

	// Each node lists all in the same order. A page is asked of another node than
	// the one before, and calls end in the middle: what goes on is there once.
	all, _ := nodes[0].page("limit=1000")
	ended := map[string]bool{all[1]: true, all[len(all)/2]: true, all[len(all)-2]: true}
	var read []string
	next, pages := "", 0
	for {
		part, more := nodes[pages%3].page("limit=4&cursor=" + url.QueryEscape(next))
		read, next, pages = append(read, part...), more, pages+1
		if pages == 2 {
			for _, c := range calls {
				if ended[c.id] {
					hangUp(t, c.caller, c.callee)
					for _, d := range nodes {
						d.terminated(c.id)
					}
				}
			}
		}
		if more == "" {
			break
		}
		if len(part) != 4 {
			t.Errorf("page %d has %d calls, and is not the last", pages, len(part))
		}
	}
	without := func(ids []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return ended[id] })
	}
	if diff := cmp.Diff(without(all), without(read)); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if !slices.IsSorted(all) || !slices.Contains(read, all[1]) || slices.Contains(read, all[len(all)-2]) {
		t.Errorf("pages: %v of %v, where %v ended after the second", read, all, ended)
	}

	for i, d := range nodes { // what one node has, as another one tells
		var want []string
		for _, c := range calls[i*5 : i*5+5] {
			if !ended[c.id] {
				want = append(want, c.id)
			}
		}
		var got []string
		for next := "first"; next != ""; {
			var part []string
			part, next = nodes[(i+1)%3].page("node=" + d.name + "&state=confirmed&limit=2&cursor=" + url.QueryEscape(strings.TrimPrefix(next, "first")))
			got = append(got, part...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls of %s (-want +got):\n%s", d.name, diff)
		}
	}
	if got, _ := nodes[1].page("number=" + url.QueryEscape(calls[2].caller.CallID)); !slices.Equal(got, []string{calls[2].id}) {
		t.Errorf("by its Call-ID: %v", got)
	}
}
