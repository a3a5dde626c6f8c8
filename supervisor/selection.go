package supervisor

import (
	"errors"
	"slices"

	"sipvigil/store"
)

// ErrCursor says that a cursor is not one of a list in the same order.
var ErrCursor = errors.New("the cursor is not one of this list")

// selection collects the first calls after a place, from calls in any order.
type selection struct {
	sort  store.Sort
	after *store.Place // calls up to this one were on earlier pages; nil: there were none
	until string       // with the order Oldest: nothing is known of ids beyond this one, unless empty
	most  int
	calls []store.Call
	bound *store.Place // with enough calls at hand: those beyond are of no use
}

func newSelection(q store.Query) (*selection, error) {
	p := &selection{sort: q.Sort, most: q.PageLimit()}
	if q.Cursor == "" {
		return p, nil
	}
	after, ok := q.Sort.Find(q.Cursor)
	if !ok {
		return nil, ErrCursor
	}
	p.after = &after
	return p, nil
}

func (p *selection) place(c *store.Call) store.Place { return p.sort.Place(c.ID, c.Liveness()) }

// wants says whether a call may be on the page.
func (p *selection) wants(c *store.Call) bool {
	at := p.place(c)
	return (p.after == nil || p.sort.Compare(at, *p.after) > 0) && (p.bound == nil || p.sort.Compare(at, *p.bound) < 0)
}

// add takes a call. One more than fits is kept: it tells that there is more.
func (p *selection) add(c store.Call) {
	p.calls = append(p.calls, c)
	if len(p.calls) >= 2*(p.most+1) {
		p.trim()
	}
}

func (p *selection) trim() {
	slices.SortStableFunc(p.calls, func(a, b store.Call) int { return p.sort.Compare(p.place(&a), p.place(&b)) })
	p.calls = slices.CompactFunc(p.calls, func(a, b store.Call) bool { return a.ID == b.ID })
	if keep := p.most + 1; len(p.calls) >= keep {
		clear(p.calls[keep:])
		p.calls = p.calls[:keep]
		bound := p.place(&p.calls[p.most])
		p.bound = &bound
	}
}

// page is what was collected. A call that is on its way from one node to
// another may have been added twice; the first counts.
func (p *selection) page() store.Page {
	p.trim()
	calls, next := p.calls, ""
	if p.until != "" {
		for len(calls) > 0 && calls[len(calls)-1].ID > p.until {
			calls = calls[:len(calls)-1]
		}
		next = p.until
	}
	if len(calls) > p.most {
		calls = calls[:p.most]
		next = p.sort.Cursor(p.place(&calls[p.most-1]))
	}
	return store.Page{Calls: calls, Next: next}
}
