package supervisor

import (
	"context"
	"fmt"
	"strconv"

	"sipvigil/store"
)

// Tick is one thing that the far end of a leg did lately, or failed to do, as a
// letter: a strip of them shows at a glance how a leg fared.
type Tick byte

// The values of Tick.
const (
	TickAnswer    Tick = 'a' // it answered a probe
	TickEvidence  Tick = 'e' // it showed itself in another way
	TickMiss      Tick = 'm' // it did not answer a probe
	TickDenied    Tick = 'x' // it answered that it does not know the dialog
	TickDisturbed Tick = 'd' // the network said that it cannot be reached
	TickHeld      Tick = 'h' // it is silent, and the call was held or only observed
)

// Row is a call in a table of all.
type Row struct {
	store.Call
	Strips [2][]Tick // by side, the oldest first; empty for calls of other nodes
}

// Rows visits all calls that go on, or those of one node if it is named, in any
// order, until yield is false. The row and what it points to is valid during yield
// only. When the calls of other nodes cannot be read it returns an error that
// wraps store.ErrUnavailable, after those of this node.
func (s *Supervisor) Rows(ctx context.Context, node string, yield func(*Row) bool) error {
	var row Row
	more := true
	if node == "" || node == s.cfg.Node {
		s.legs.Calls(func(c store.Call) bool {
			row.Call = c
			s.overlay(&row.Call)
			s.strips(&row)
			more = ctx.Err() == nil && yield(&row)
			return more
		})
	}
	if err := ctx.Err(); err != nil || !more || node == s.cfg.Node {
		return err
	}
	row.Strips = [2][]Tick{}
	q := store.Query{Node: node, Limit: 1000}
	for {
		page, err := s.others(ctx, q)
		if err != nil {
			return fmt.Errorf("rows of other nodes: %w", err)
		}
		for i := range page.Calls {
			row.Call = page.Calls[i]
			if row.State != store.Terminated && !yield(&row) {
				return nil
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

// strips reads the history of a call into ticks, in the room that the row has.
func (s *Supervisor) strips(row *Row) {
	for i := range row.Strips {
		row.Strips[i] = row.Strips[i][:0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.calls[row.ID]
	if k == nil {
		return
	}
	n := min(k.history.count, historyLength)
	for i := k.history.count - n; i < k.history.count; i++ {
		e := &k.history.entries[i%historyLength]
		if t := s.tick(e); t != 0 {
			row.Strips[e.side()] = append(row.Strips[e.side()], t)
		}
	}
}

// tick is what an entry looks like in a strip, 0 for nothing. Called locked.
func (s *Supervisor) tick(e *entry) Tick {
	switch e.kind() {
	case EventAnswer:
		if denies(s.texts.all[e.text()]) {
			return TickDenied
		}
		return TickAnswer
	case EventEvidence:
		return TickEvidence
	case EventMiss:
		return TickMiss
	case EventDisturbed:
		return TickDisturbed
	case EventHeld, EventObserved:
		return TickHeld
	default:
		return 0
	}
}

// denies says whether an answer such as "481 OPTIONS" speaks against the dialog.
func denies(text string) bool {
	if len(text) < 3 || text[0] < '0' || text[0] > '9' {
		return false
	}
	status, err := strconv.Atoi(text[:3])
	v := byStatus[status].verdict
	return err == nil && (v == gone || v == doubtful || v == looped)
}
