package supervisor

import (
	"context"
	"fmt"
	"math"
	"time"

	"sipvigil/store"
)

// Calls returns a page of calls, of this node and the others; of this node only
// where [store.Query.Local] says so: with the state Terminated those that ended a
// short while ago. When the calls of other nodes cannot be read, it returns those
// of this node, and an error that wraps store.ErrUnavailable.
func (s *Supervisor) Calls(ctx context.Context, q store.Query) (store.Page, error) {
	now := time.Now()
	sel, err := newSelection(q)
	if err != nil {
		return store.Page{}, err
	}
	pick := func(c store.Call) bool {
		if sel.wants(&c) && q.Match(&c, now) {
			sel.add(c)
		}
		return ctx.Err() == nil
	}
	if q.State == store.Terminated {
		s.ended.each(now, pick)
		return sel.page(), ctx.Err()
	}
	if q.Held {
		s.eachHeld(pick)
		return sel.page(), ctx.Err()
	}
	if (q.Node == "" || q.Node == s.cfg.Node) && q.NotNode != s.cfg.Node {
		s.legs.Calls(func(c store.Call) bool {
			if q.Sort != store.Worst && !sel.wants(&c) {
				return ctx.Err() == nil
			}
			s.overlay(&c)
			return pick(c)
		})
	}
	if err := ctx.Err(); err != nil {
		return store.Page{}, fmt.Errorf("list calls: %w", err)
	}
	if q.Node == s.cfg.Node {
		return sel.page(), nil
	}
	if q.Sort != store.Oldest { // the store has one order: all of them are needed
		q.Cursor, q.Limit = "", math.MaxInt
	}
	for {
		others, err := s.others(ctx, q)
		if err != nil {
			return sel.page(), fmt.Errorf("list calls of other nodes: %w", err)
		}
		for _, c := range others.Calls {
			pick(c)
		}
		q.Cursor = others.Next
		if q.Sort == store.Oldest || q.Cursor == "" {
			sel.until = q.Cursor
			return sel.page(), nil
		}
	}
}

// eachHeld visits the calls of this node that go on although a leg is silent.
func (s *Supervisor) eachHeld(yield func(store.Call) bool) {
	var ids []string
	s.mu.Lock()
	for id, k := range s.calls {
		for i := range k.legs {
			if l := &k.legs[i]; s.brake.held[l] != nil || s.found(l) {
				ids = append(ids, id)
				break
			}
		}
	}
	s.mu.Unlock()
	for _, id := range ids {
		if c, ok := s.Local(id); ok && !yield(c) {
			return
		}
	}
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
