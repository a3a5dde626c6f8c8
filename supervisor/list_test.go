package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

func ids(p store.Page) []string {
	var list []string
	for _, c := range p.Calls {
		list = append(list, c.ID)
	}
	return list
}

// elsewhere is a call of another node.
func elsewhere(id string) store.Call {
	c := store.Call{ID: id, State: store.Confirmed, Node: "there", Started: time.Now()}
	c.Legs[store.Caller].CallID = id + "@there"
	return c
}

func TestPagesHoldAllCallsInOrderWhateverTheirSize(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		var want []string
		for i := range 40 {
			id := fmt.Sprintf("%02d", i)
			want = append(want, id)
			if i%3 == 0 || i > 30 {
				w.call(id)
			} else {
				w.store.calls = append(w.store.calls, elsewhere(id))
			}
			if i == 33 { // on its way from one node to another
				w.store.calls = append(w.store.calls, elsewhere(id))
			}
		}
		for limit := 1; limit < 45; limit++ {
			for most := range 9 {
				w.store.most = most // the store's pages may be shorter
				var got []string
				for q := (store.Query{Limit: limit}); ; {
					p, err := w.sup.Calls(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					if len(p.Calls) > limit {
						t.Fatalf("%d calls on a page of %d", len(p.Calls), limit)
					}
					got = append(got, ids(p)...)
					if q.Cursor = p.Next; q.Cursor == "" {
						break
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("limit %d, store's limit %d: %s", limit, most, diff)
				}
			}
		}
	})
}

func TestTheLastPageHasNoNext(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("a")
		w.call("b")
		p, err := w.sup.Calls(t.Context(), store.Query{Limit: 2})
		if err != nil || p.Next != "" || len(p.Calls) != 2 {
			t.Errorf("%v, next %q, %v", ids(p), p.Next, err)
		}
	})
}

func TestCallsAreFilteredWithTheirHealth(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		stale := elsewhere("d")
		stale.Node = "here" // not any more
		w.store.calls = []store.Call{elsewhere("b"), stale}
		w.call("a")
		w.legs.add("c")
		test := func(q store.Query, want ...string) {
			t.Helper()
			p, err := w.sup.Calls(t.Context(), q)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, ids(p)); diff != "" {
				t.Errorf("%+v: %s", q, diff)
			}
		}
		sleep(10 * time.Second)
		test(store.Query{}, "a", "b", "c")
		test(store.Query{Liveness: store.Alive}, "a")
		test(store.Query{Liveness: store.Suspect})
		test(store.Query{State: store.Trying}, "c")
		test(store.Query{Node: "here"}, "a", "c")
		test(store.Query{Node: "there"}, "b")
		test(store.Query{NotNode: "here"}, "b")
		test(store.Query{NotNode: "there"}, "a", "c")
		test(store.Query{Number: "a@callee"}, "a")
		test(store.Query{Older: 11 * time.Second})
	})
}

func TestWithoutTheStoreTheCallsOfThisNodeAreListed(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("a")
		away := store.Status{Reachable: false, LastError: "connection refused"}
		for _, fake := range []*fakeStore{{status: away}, {status: store.Status{Reachable: true}, err: store.ErrUnavailable}} {
			w.sup.st = fake
			p, err := w.sup.Calls(t.Context(), store.Query{})
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("error is %v", err)
			}
			if diff := cmp.Diff([]string{"a"}, ids(p)); diff != "" {
				t.Error(diff)
			}
			if _, err := w.sup.Calls(t.Context(), store.Query{Node: "here"}); err != nil {
				t.Error("only this node's:", err)
			}
		}
		w.sup.st = w.store
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.sup.Calls(ctx, store.Query{}); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	})
}

// The store does not know which calls are held: a list of them needs none.
func TestHeldCallsAreListedInPages(t *testing.T) {
	braking := func(c *Config) { c.Brake.Floor = 2 }
	for name, test := range map[string]struct {
		change func(*Config)
		says   reply
	}{"by the brake": {braking, nothing()}, "for we observe only": {observing, status(481)}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, test.change, func(t *testing.T, w *world) {
				var want []string
				for i := range 20 {
					id := fmt.Sprintf("%02d", i)
					if w.call(id); i%3 == 0 {
						want = append(want, id)
					}
				}
				sleep(40 * time.Second) // each has answered once
				w.legs.mu.Lock()
				w.legs.reply = func(id string, side store.Side) (reply, bool) {
					return test.says, slices.Contains(want, id) && side == store.Callee
				}
				w.legs.mu.Unlock()
				sleep(3 * time.Minute)
				w.sup.st = &fakeStore{status: store.Status{LastError: "connection refused"}}
				wantPages(t, w, store.Query{Held: true}, want...)
				wantPages(t, w, store.Query{Held: true, Sort: store.Worst}, want...)
				slices.Reverse(want)
				wantPages(t, w, store.Query{Held: true, Sort: store.Newest}, want...)
				wantPages(t, w, store.Query{Held: true, Node: "there"})
			})
		})
	}
}

// wantPages compares a list in pages of several sizes.
func wantPages(t *testing.T, w *world, q store.Query, want ...string) {
	t.Helper()
	for q.Limit = 1; q.Limit < 9; q.Limit++ {
		var got []string
		for q.Cursor = ""; ; {
			p, err := w.sup.Calls(t.Context(), q)
			if err != nil || len(p.Calls) > q.Limit {
				t.Fatalf("%d calls on a page of %d, %v", len(p.Calls), q.Limit, err)
			}
			got = append(got, ids(p)...)
			if q.Cursor = p.Next; q.Cursor == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: %s", q, diff)
		}
	}
}

func TestEndedCallsAreRememberedForAWhile(t *testing.T) {
	inWorld(t, func(c *Config) { c.Keep, c.KeepCalls = time.Minute, 20 }, func(t *testing.T, w *world) {
		test := func(want ...string) {
			t.Helper()
			p, err := w.sup.Calls(t.Context(), store.Query{State: store.Terminated})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, ids(p)); diff != "" {
				t.Error(diff)
			}
		}
		w.call("b")
		sleep(10 * time.Second)
		w.legs.end("b", store.End{Reason: store.Caller.Bye()})
		sleep(40 * time.Second)
		w.call("a")
		w.legs.end("a", store.End{Reason: store.Caller.Bye()})
		test("a", "b")
		if got := w.health("b", store.Callee); got.Liveness != store.Alive || got.LastEvidence != "200 OPTIONS" {
			t.Errorf("its health is lost: %+v", got)
		}
		sleep(21 * time.Second)
		test("a")
		sleep(time.Minute)
		test()

		var want []string
		for i := range 100 {
			id := fmt.Sprintf("%02d", i)
			want = append(want, id)
			w.call(id)
			w.legs.end(id, store.End{Reason: store.Caller.Bye()})
		}
		p, _ := w.sup.Calls(t.Context(), store.Query{State: store.Terminated})
		if got := ids(p); len(got) < 18 || len(got) > 20 || !slices.Equal(got, want[100-len(got):]) {
			t.Errorf("of 100 calls these are remembered: %v", got)
		}
	})
}
