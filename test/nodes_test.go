package test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

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
