package test

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"sipvigil/test/ua"
)

// fleet is several nodes that share a store, and hundreds of calls through them:
// all of them from one phone, which is the trunk pbx, to another one, which is
// the trunk carrier and has its channels counted.
type fleet struct {
	t      *testing.T
	config string
	nodes  []*sipvigil
	calls  []*talk

	pbx, carrier *ua.Phone
}

// fleetOf starts as many nodes as there are numbers, with so many calls through
// each.
func fleetOf(t *testing.T, storeURL string, calls ...int) *fleet {
	t.Helper()
	pbx, carrier := trunkPhone(t, "pbx", "127.0.0.2"), trunkPhone(t, "carrier", "127.0.0.3")
	config := file(t, "sipvigil.yaml", fmt.Sprintf(`trunks:
  - {name: pbx, sources: [127.0.0.2]}
  - {name: carrier, targets: ["sip:%s"], capacity: {out: 1000}}
routes:
  - {from: pbx, to: [carrier]}
`, carrier.Addr()))
	f := &fleet{t: t, config: config, pbx: pbx, carrier: carrier, nodes: nodesAt(t, storeURL, len(calls), "--config", config, "--probe-interval", "3s")}
	var via []*sipvigil
	for i, n := range calls {
		via = append(via, slices.Repeat(f.nodes[i:i+1], n)...)
	}
	f.calls = connectMany(t, pbx, carrier, via)
	eventually(t, "the calls are listed everywhere", func() bool {
		for _, d := range f.nodes {
			if len(d.calls()) != len(f.calls) {
				return false
			}
		}
		return true
	})
	numbers(f.calls)
	return f
}

// again starts a node that has ended once more.
func (f *fleet) again(i int) *sipvigil {
	f.t.Helper()
	d := f.nodes[i]
	return d.again(d.redisURL, "--config", f.config, "--probe-interval", "3s", "--probe-timeout", "10s", "--node", d.name)
}

// channels waits until these nodes know how many channels of the carrier are in
// use on all of them.
func (f *fleet) channels(nodes ...*sipvigil) {
	f.t.Helper()
	for _, d := range nodes {
		within(f.t, adoptTime, fmt.Sprintf("%s counts %d channels", d.name, len(f.calls)), func() bool { return d.out(f.t) == len(f.calls) })
	}
}

// noneEnded demands that none of the nodes has ended a call.
func (f *fleet) noneEnded() {
	f.t.Helper()
	for _, d := range f.nodes {
		for _, e := range d.entries("call ended") {
			f.t.Errorf("%s ended a call: %v", d.name, e)
		}
	}
}

// goesOn demands that after a trouble every call is owned and asked by one node,
// that none has ended, that the channels are right, and that the other nodes can
// go on with what one of them leaves behind.
func (f *fleet) goesOn() {
	f.t.Helper()
	for _, d := range f.nodes {
		within(f.t, adoptTime, "the node watches its calls", func() bool { return d.metric("sipvigil_node_lease") == 1 })
	}
	adopted(f.t, f.calls, numbers(f.calls), f.nodes...)
	f.noneEnded()

	f.nodes[0].kill()
	adopted(f.t, f.calls, numbers(f.calls), f.nodes[1:]...)
	f.noneEnded()
	f.hangUp(f.nodes[1:]...)
}

// hangUp ends all calls by BYEs of the phones, which send them to these nodes
// whichever has the call. The channels go with the calls.
func (f *fleet) hangUp(at ...*sipvigil) {
	f.t.Helper()
	f.channels(at...)
	var phones errgroup.Group
	phones.SetLimit(8)
	for i, c := range f.calls {
		leg, other := c.caller, c.callee
		if i%2 == 1 {
			leg, other = other, leg
		}
		moved(f.t, leg, at[i%len(at)])
		phones.Go(func() error { return bye(f.t, leg, other) })
	}
	if err := phones.Wait(); err != nil {
		f.t.Error(err)
	}
	f.calls = nil
	f.channels(at...)
	for _, d := range at {
		eventually(f.t, "no call is left", func() bool { return len(d.calls()) == 0 })
	}
}

// bye has a phone end its call, which may be told to try again while the owner of
// the call changes. The other phone learns of it.
func bye(t *testing.T, leg, other *ua.Dialog) error {
	ctx := limit(t, 2*patience)
	for tries := 1; ; tries++ {
		res, err := leg.Request(ctx, "BYE", "")
		switch {
		case err != nil:
			return fmt.Errorf("BYE: %w", err)
		case res.Status == 200, res.Status == 481 && tries > 1: // who was probed since has said that it knows of no call
			end, err := other.WaitEnd(ctx)
			if err == nil && end.By != ua.ByPeer {
				err = fmt.Errorf("the other leg was ended by %q", end.By)
			}
			return err
		case res.Status != 503 || res.Get("Retry-After") == "":
			return fmt.Errorf("BYE %d of %s is answered %d", tries, leg.CallID, res.Status)
		}
	}
}
