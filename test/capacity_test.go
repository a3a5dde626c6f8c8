package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// counter is a carrier that counts for itself how many calls it has, from the
// INVITE on.
type counter struct {
	*ua.Phone
	now, most atomic.Int64
	mu        sync.Mutex // guards calls
	calls     map[string]*ua.Dialog
}

// count has the carrier ring, and answer once answer is closed.
func (c *counter) count(answer <-chan struct{}) {
	c.Handle(func(in *ua.Incoming) {
		n := c.now.Add(1)
		for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); {
			most = c.most.Load()
		}
		in.Ring(180)
		select {
		case <-answer:
		case <-in.Cancelled():
		}
		d, err := in.Accept(ua.SDP(40002))
		if err != nil {
			c.now.Add(-1)
			return
		}
		c.mu.Lock()
		c.calls[d.CallID] = d
		c.mu.Unlock()
		<-d.Ended()
		c.now.Add(-1)
	})
}

// capacityOf50 starts two nodes whose trunk carrier has 50 channels.
func capacityOf50(t *testing.T) (nodes []*sipvigil, pbx *ua.Phone, carrier *counter, redis records) {
	t.Helper()
	pbx = trunkPhone(t, "pbx", "127.0.0.2")
	carrier = &counter{Phone: trunkPhone(t, "carrier", "127.0.0.3"), calls: make(map[string]*ua.Dialog)}
	config := file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, sources: [127.0.0.2]}
  - {name: carrier, targets: ["sip:%s"], capacity: {out: 50}}
routes:
  - {from: pbx, to: [carrier]}
`, carrier.Addr()))
	redisURL, server := storetest.Redis(t)
	for i := range 2 {
		nodes = append(nodes, serve(t, redisURL, "--config", config, "--node", fmt.Sprintf("edge-%d", i+1), "--probe-interval", "20s"))
	}
	eventually(t, "both nodes hold their leases", func() bool { return len(nodes[0].nodes()) == 2 })
	return nodes, pbx, carrier, look(t, server)
}

// wave has n callers call at the same time, one after the other by each of the
// nodes. It returns those that got through; the carrier answers when all others
// have been refused.
func wave(t *testing.T, n, through int, pbx *ua.Phone, carrier *counter, nodes ...*sipvigil) []*ua.Dialog {
	t.Helper()
	answer, refused := make(chan struct{}), make(chan error, n)
	carrier.count(answer)
	calls := make(chan *ua.Dialog, n)
	var dialling sync.WaitGroup
	for i := range n {
		dialling.Go(func() {
			d := nodes[i%len(nodes)]
			call, err := pbx.Call(limit(t, patience), "sip:"+d.udp, "sip:bob@"+d.udp, ua.Offer{SDP: ua.SDP(40000)})
			if err != nil {
				refused <- err
				return
			}
			calls <- call
		})
	}
	for range n - through {
		err := <-refused
		if status := (*ua.StatusError)(nil); !errors.As(err, &status) || status.Status != 503 || status.Response.Get("Retry-After") == "" {
			t.Errorf("a caller too many got %v, want 503 with Retry-After", err)
		}
	}
	close(answer)
	dialling.Wait()
	close(calls)
	var got []*ua.Dialog
	for d := range calls {
		got = append(got, d)
	}
	if len(got) != through {
		t.Fatalf("%d of %d callers got through, want %d", len(got), n, through)
	}
	return got
}

// out is how many channels of the carrier a node shows to be in use, on all
// nodes.
func (d *sipvigil) out(t *testing.T) int {
	t.Helper()
	var list struct {
		Trunks []struct {
			Name  string
			Usage struct{ Out int }
		}
	}
	if status, body := d.http("GET", "/api/v1/trunks"); status != 200 || json.Unmarshal(body, &list) != nil || len(list.Trunks) != 2 {
		t.Fatalf("trunks: %d %s", status, body)
	}
	return list.Trunks[1].Usage.Out
}

// channels waits until the nodes agree that the carrier has n channels in use.
func (r records) channels(n int64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d channels are in use", n), func() bool {
		have, err := r.client.ZCard(r.t.Context(), "{sv:trunk:carrier}:out").Result()
		return err == nil && have == n
	})
}

func TestTwoNodesTogetherNeverExceedTheCapacityOfATrunk(t *testing.T) {
	t.Parallel()
	nodes, pbx, carrier, redis := capacityOf50(t)
	calls := wave(t, 200, 50, pbx, carrier, nodes...)
	redis.channels(50)
	eventually(t, "both nodes show all channels in use", func() bool { return nodes[0].out(t) == 50 && nodes[1].out(t) == 50 })
	for _, leg := range calls[:20] {
		if err := leg.Bye(limit(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	redis.channels(30)
	calls = append(calls[20:], wave(t, 60, 20, pbx, carrier, nodes...)...)

	// The calls of a node that dies keep their channels, and give them back when
	// they end at the other one.
	eventually(t, "the survivor knows all calls", func() bool {
		spread := nodes[1].spread()
		return spread["edge-1"]+spread["edge-2"] == 50 && spread["edge-1"] > 0
	})
	nodes[0].kill()
	within(t, adoptTime, "the survivor has all calls", func() bool { return nodes[1].spread()["edge-2"] == 50 })
	wave(t, 20, 0, pbx, carrier, nodes[1])
	for _, leg := range calls {
		moved(t, leg, nodes[1])
		if err := leg.Bye(limit(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	redis.channels(0)
	eventually(t, "the carrier has no call", func() bool { return carrier.now.Load() == 0 })
	wave(t, 60, 50, pbx, carrier, nodes[1])
	if most := carrier.most.Load(); most != 50 {
		t.Errorf("the carrier had %d calls at the same time, want 50", most)
	}
}

func TestACallFailsOverBetweenTwoCarriersWithItsNumbersRewritten(t *testing.T) {
	t.Parallel()
	pbx := trunkPhone(t, "pbx", "127.0.0.2")
	a, b := trunkPhone(t, "a", "127.0.0.3"), trunkPhone(t, "b", "127.0.0.4")
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, sources: [127.0.0.2], trusted: true}
  - {name: carrier-a, targets: ["sip:%s"], trusted: true}
  - {name: carrier-b, targets: ["sip:%s"], trusted: true, capacity: 1}
routes:
  - from: pbx
    prefix: ["00"]
    set_user: "+$1"
    caller: "^0(.*)$"
    set_caller: "+49$1"
    to: [carrier-a, carrier-b]
  - {from: pbx, caller: "^anonymous$", to: [carrier-b]}
`, a.Addr(), b.Addr())))
	busy := make(chan string, 10)
	a.Handle(func(in *ua.Incoming) {
		busy <- in.Request.RequestURI + " " + in.Request.Get("CSeq")
		in.Reject(503, "")
	})
	served := make(chan *ua.Incoming, 10)
	b.Handle(func(in *ua.Incoming) { served <- in })

	call := pbx.Dial("sip:"+d.udp, "sip:00441234@"+d.udp, ua.Offer{SDP: ua.SDP(40000), From: "sip:030123@pbx.example", Headers: []ua.Header{
		ua.H("P-Asserted-Identity", "<sip:030123@pbx.example>"), ua.H("Identity", "signed")}})
	in := <-served
	theirs, err := in.Accept(ua.SDP(40002))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call.Wait(limit(t, patience)); err != nil {
		t.Fatal(err)
	}
	if got := <-busy; got != "sip:+441234@"+a.Addr()+" 1 INVITE" {
		t.Errorf("the first carrier was asked for %s", got)
	}
	for name, want := range map[string]string{"To": "<sip:+441234@" + d.udp + ">", "P-Asserted-Identity": "<sip:+4930123@pbx.example>", "Identity": "", "CSeq": "1 INVITE"} {
		if got := in.Request.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := in.Request.RequestURI + " " + theirs.RemoteURI; got != "sip:+441234@"+b.Addr()+" sip:+4930123@pbx.example" {
		t.Errorf("the second carrier was asked for %s", got)
	}
	// carrier-a says 503 again, and carrier-b is full.
	_, err = pbx.Call(limit(t, patience), "sip:"+d.udp, "sip:00441234@"+d.udp, ua.Offer{SDP: ua.SDP(40000), From: "sip:030124@pbx.example"})
	if status := (*ua.StatusError)(nil); !errors.As(err, &status) || status.Status != 503 || status.Response.Get("Retry-After") != "5" {
		t.Errorf("a call that nobody can take got %v", err)
	}
	if err := theirs.Bye(limit(t, patience)); err != nil {
		t.Error(err)
	}
}
