package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sipvigil/store"
)

// Calls returns a page of calls, of this node and the others. With the state
// Terminated it is those of this node that ended a short while ago. When the
// calls of other nodes cannot be read, it returns those of this node, and an
// error that wraps store.ErrUnavailable.
func (s *Supervisor) Calls(ctx context.Context, q store.Query) (store.Page, error) {
	now := time.Now()
	sel := selection{after: q.Cursor, most: q.PageLimit()}
	pick := func(c store.Call) bool {
		if sel.wants(c.ID) && q.Match(&c, now) {
			sel.add(c)
		}
		return ctx.Err() == nil
	}
	if q.State == store.Terminated {
		s.ended.each(now, pick)
		return sel.page(), ctx.Err()
	}
	if (q.Node == "" || q.Node == s.cfg.Node) && q.NotNode != s.cfg.Node {
		s.legs.Calls(func(c store.Call) bool {
			if sel.wants(c.ID) {
				s.overlay(&c)
				return pick(c)
			}
			return ctx.Err() == nil
		})
	}
	if err := ctx.Err(); err != nil {
		return store.Page{}, fmt.Errorf("list calls: %w", err)
	}
	if q.Node == s.cfg.Node {
		return sel.page(), nil
	}
	others, err := s.others(ctx, q)
	if err != nil {
		return sel.page(), fmt.Errorf("list calls of other nodes: %w", err)
	}
	for _, c := range others.Calls {
		pick(c)
	}
	sel.until = others.Next
	return sel.page(), nil
}

// others asks the store for the calls of other nodes. It does not wait for a
// store that is known to be away.
func (s *Supervisor) others(ctx context.Context, q store.Query) (store.Page, error) {
	if st := s.st.Status(); !st.Reachable {
		return store.Page{}, fmt.Errorf("%w: %s", store.ErrUnavailable, st.LastError)
	}
	q.NotNode = s.cfg.Node
	return s.st.List(ctx, q)
}

// overlay adds the health of the legs to a call of this node.
func (s *Supervisor) overlay(c *store.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.calls[c.ID]; k != nil {
		for i := range k.legs {
			c.Legs[i].Health = k.legs[i].Health
			if h := s.brake.held[&k.legs[i]]; h != nil {
				c.Legs[i].Held = s.brake.text(h, len(s.calls))
			} else if s.found(&k.legs[i]) {
				c.Legs[i].Held = k.found.text()
			}
		}
	}
}

// selection collects the first calls after an id, from calls in any order.
type selection struct {
	after string // ids up to this one were on earlier pages
	until string // nothing is known of ids beyond this one, unless empty
	most  int
	calls []store.Call
	bound string // with enough calls at hand: greater ids are of no use
}

// wants says whether a call with this id may be on the page.
func (p *selection) wants(id string) bool {
	return id > p.after && (p.bound == "" || id < p.bound)
}

// add takes a call. One more than fits is kept: it tells that there is more.
func (p *selection) add(c store.Call) {
	p.calls = append(p.calls, c)
	if len(p.calls) >= 2*(p.most+1) {
		p.trim()
	}
}

func (p *selection) trim() {
	slices.SortStableFunc(p.calls, func(a, b store.Call) int { return strings.Compare(a.ID, b.ID) })
	p.calls = slices.CompactFunc(p.calls, func(a, b store.Call) bool { return a.ID == b.ID })
	if keep := p.most + 1; len(p.calls) >= keep {
		clear(p.calls[keep:])
		p.calls = p.calls[:keep]
		p.bound = p.calls[p.most].ID
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
		next = calls[p.most-1].ID
	}
	return store.Page{Calls: calls, Next: next}
}
