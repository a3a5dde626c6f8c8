package supervisor

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// rows is the table: a row is the id, the liveness and both strips.
func (w *world) rows() ([]string, error) {
	var list []string
	err := w.sup.Rows(w.t.Context(), "", func(r *Row) bool {
		list = append(list, r.ID+" "+string(r.Liveness())+" "+string(r.Strips[store.Caller])+" "+string(r.Strips[store.Callee]))
		return true
	})
	slices.Sort(list)
	return list, err
}

func TestRowsShowWhatTheLegsDidLately(t *testing.T) {
	inWorld(t, func(c *Config) { c.Action = Observe }, func(t *testing.T, w *world) {
		test := func(want ...string) {
			t.Helper()
			got, err := w.rows()
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		w.legs.says(store.Callee, inTurn(status(200), nothing(), nothing(), status(404), status(481)))
		w.call("a")
		test("a unproven  ")
		w.sup.Evidence("a", store.Caller, store.Evidence{What: "INFO", At: time.Now()})
		w.store.calls = []store.Call{elsewhere("b"), elsewhere("c"), {ID: "d", State: store.Terminated, Node: "there"}}
		w.store.most = 1 // a page
		sleep(10 * time.Second)
		test("a alive ea a", "b   ", "c   ")
		sleep(65 * time.Second)
		test("a suspect eaaa am", "b   ", "c   ")
		sleep(35 * time.Second)
		test("a silent eaaaa ammh", "b   ", "c   ")
		sleep(4 * time.Minute)
		w.store.calls = nil
		got, _ := w.rows()
		if len(got) != 1 || !slices.Contains([]byte(got[0]), byte(TickDenied)) {
			t.Errorf("an answer that denies the call does not show: %q", got)
		}
	})
}

func TestRowsOfThisNodeAreThereWithoutTheStore(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.call("a")
		w.store.status.Reachable = false
		got, err := w.rows()
		if len(got) != 1 || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("got %q, %v", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.sup.Rows(ctx, "", func(*Row) bool { return true }); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
		w.store.status.Reachable = true
		w.store.calls = []store.Call{elsewhere("b")}
		for node, want := range map[string]string{w.sup.cfg.Node: "a", "there": "b", "nowhere": ""} {
			var ids string
			if err := w.sup.Rows(t.Context(), node, func(r *Row) bool { ids += r.ID; return true }); err != nil || ids != want {
				t.Errorf("rows of %q: %q, %v", node, ids, err)
			}
		}
		w.store.calls = nil
		n := 0
		w.call("b")
		if err := w.sup.Rows(t.Context(), "", func(*Row) bool { n++; return false }); err != nil || n != 1 {
			t.Errorf("after the reader has left: %d rows, %v", n, err)
		}
	})
}
