// Package storetest holds what every store of calls promises, as one suite of
// tests that runs on each, and a redis-server for the tests that need one.
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"sipvigil/store"
)

// Store is the whole contract of a store of calls. Save, SaveHealth, Reserve
// and Finish neither block nor fail.
type Store interface {
	Save(c store.Call)
	SaveHealth(legs ...store.LegHealth)
	Reserve(id string, side store.Side, mark uint32, covered func(mark uint32))
	Finish(c store.Call, keep time.Duration)

	Get(ctx context.Context, id string) (store.Call, error)
	List(ctx context.Context, q store.Query) (store.Page, error)
	Owned(ctx context.Context, node string, yield func(store.Call) bool) error
	Owns(ctx context.Context, node string) (calls int, err error)

	ClaimChannel(ctx context.Context, c store.Claim) (store.Grant, error)
	VouchChannels(ctx context.Context, lease time.Duration, held []store.Held) (used []int, err error)
	FreeChannels(ctx context.Context, held []store.Held) error

	TagKey(ctx context.Context) ([]byte, error)
	NextEpoch(ctx context.Context) (int64, error)
	StartMaintenance(ctx context.Context, m store.Maintenance) error
	EndMaintenance(ctx context.Context, scope store.Scope, name string) error
	Maintenance(ctx context.Context) ([]store.Maintenance, error)
	Status() store.Status
	Run(ctx context.Context) error
}

// Node is the name under which the suite's calls are owned. A store that has a
// node name of its own must be opened with this one.
const Node = "edge-1"

// Run runs the suite. Each test opens an empty store; the suite runs it.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, group := range []map[string]func(*testing.T, Store){
		recordTests, finishTests, listTests, sharedTests, channelTests, maintenanceTests, modelTests,
	} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				s := open(t)
				Start(t, s)
				test(t, s)
			})
		}
	}
}

// Start runs a store until the function that it returns is called or the test
// ends.
func Start(t testing.TB, s Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := Receive(t, "the store's Run returns", ended); err != nil {
			t.Errorf("the store's Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// Eventually waits until a condition holds and fails the test when it does not.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// Receive waits for a value and fails the test when none comes.
func Receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v in vain: %s", patience, what)
		panic("not reached")
	}
}

// Settled waits until all that was queued has been written.
func Settled(t testing.TB, s Store) {
	t.Helper()
	Eventually(t, "everything is written", func() bool { return s.Status().Pending == 0 })
}

// Call returns a confirmed call of Node with a new id, every field filled in.
// Its legs have no health yet.
func Call() store.Call {
	id := uuid.Must(uuid.NewV7()).String()
	c := store.Call{
		ID:       id,
		State:    store.Confirmed,
		Node:     Node,
		Epoch:    1,
		TrunkIn:  "pbx",
		TrunkOut: "carrier-a",
		Started:  time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC),
		Answered: time.Date(2026, 3, 1, 12, 0, 7, 456e6, time.UTC),
	}
	for _, side := range store.Sides {
		c.Leg(side).Dialog = store.Dialog{
			CallID:     id[24:] + "-" + side.String() + "@192.0.2.1",
			LocalTag:   "local-" + side.String(),
			RemoteTag:  "remote-" + side.String(),
			LocalURI:   `"Bob" <sip:+15550101@192.0.2.1>`,
			RemoteURI:  "<sip:+15550100@192.0.2.10>",
			Target:     "sip:+15550100@192.0.2.10:5062;transport=udp",
			RouteSet:   []string{"<sip:p1.example.net;lr>", "<sip:p2.example.net;lr>"},
			Transport:  "udp",
			Peer:       "192.0.2.10:5060",
			Listener:   "192.0.2.1:5060",
			Seen:       "192.0.2.11",
			Kept:       true,
			UserAgent:  "Example Phone 1.0",
			Allow:      "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE",
			LocalCSeq:  16,
			LocalMark:  16,
			RemoteCSeq: 4711,
		}
	}
	return c
}

// Health returns a health with every field filled in.
func Health() store.Health {
	return store.Health{
		Liveness:     store.Suspect,
		LastAlive:    time.Date(2026, 3, 1, 12, 5, 0, 789e6, time.UTC),
		LastEvidence: "200 OPTIONS",
		Misses:       1,
		RTT:          12345678 * time.Nanosecond,
		Method:       "OPTIONS",
		Answers:      true,
		Calibration:  "discriminating",
	}
}

// get waits until all is written and reads a call.
func get(t *testing.T, s Store, id string) store.Call {
	t.Helper()
	Settled(t, s)
	c, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return c
}

// list waits until all is written and reads the ids of a whole list.
func list(t *testing.T, s Store, q store.Query) []string {
	t.Helper()
	Settled(t, s)
	var ids []string
	for {
		page, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		if len(page.Calls) > q.PageLimit() {
			t.Fatalf("a page has %d calls, limit %d", len(page.Calls), q.PageLimit())
		}
		for _, c := range page.Calls {
			ids = append(ids, c.ID)
		}
		if page.Next == "" {
			return ids
		}
		q.Cursor = page.Next
	}
}

// owned waits until all is written and reads the ids of a node's calls.
func owned(t *testing.T, s Store, node string) []string {
	t.Helper()
	Settled(t, s)
	var ids []string
	err := s.Owned(t.Context(), node, func(c store.Call) bool {
		ids = append(ids, c.ID)
		return true
	})
	if err != nil {
		t.Fatalf("owned: %v", err)
	}
	if n, err := s.Owns(t.Context(), node); err != nil || n != len(ids) {
		t.Errorf("%s owns %d calls, %v, and these are %d", node, n, err, len(ids))
	}
	return ids
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// several returns n calls, in the order of their ids, which are spread over the
// shards of a store.
func several(n int) []store.Call {
	calls := make([]store.Call, n)
	for i := range calls {
		calls[i] = Call()
		calls[i].ID = fmt.Sprintf("019579a0-0000-7000-8000-%010x%02x", i, i*7%256)
	}
	return calls
}
