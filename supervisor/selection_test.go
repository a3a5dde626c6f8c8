package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

func TestListsComeInEveryOrderWhateverThePages(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		var byStart []string
		for i := range 20 {
			id := fmt.Sprintf("%02d", i)
			byStart = append(byStart, id)
			if i%3 == 0 {
				w.call(id)
				continue
			}
			c := elsewhere(id)
			c.Legs[store.Callee].Liveness = []store.Liveness{store.Alive, store.Silent, store.Suspect, store.Gone, store.Unproven}[i%5]
			c.Legs[store.Caller].Liveness = store.Alive
			w.store.calls = append(w.store.calls, c)
		}
		sleep(10 * time.Second) // all of this node are alive
		read := func(sort store.Sort, limit, most int) []string {
			w.store.most = most
			var got []string
			for q := (store.Query{Sort: sort, Limit: limit}); ; {
				p, err := w.sup.Calls(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, ids(p)...)
				if q.Cursor = p.Next; q.Cursor == "" {
					return got
				}
			}
		}
		newest := slices.Clone(byStart)
		slices.Reverse(newest)
		worst := []string{"08", "13", "01", "11", "16", "02", "07", "17", "04", "14", "19", "00", "03", "05", "06", "09", "10", "12", "15", "18"}
		for sort, want := range map[store.Sort][]string{store.Oldest: byStart, store.Newest: newest, store.Worst: worst} {
			for _, limit := range []int{1, 2, 3, 7, 19, 20, 21} {
				for _, most := range []int{0, 1, 3} {
					if d := cmp.Diff(want, read(sort, limit, most)); d != "" {
						t.Errorf("sort %q, pages of %d and %d (-want +got):\n%s", sort, limit, most, d)
					}
				}
			}
		}
		for sort, cursors := range map[store.Sort][]string{store.Worst: {"00", "x.00", "."}, store.Oldest: {"4.00", "."}, store.Newest: {"4.00"}} {
			for _, cursor := range cursors { // some are those of another order
				if _, err := w.sup.Calls(t.Context(), store.Query{Sort: sort, Cursor: cursor}); !errors.Is(err, ErrCursor) {
					t.Errorf("order %q, cursor %q: %v", sort, cursor, err)
				}
			}
		}
	})
}
