package test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

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
