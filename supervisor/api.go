package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sipvigil/store"
)

// Errors that callers tell apart.
var (
	// ErrEnding says that a call cannot be asked or ended, because it is ending
	// or has ended already.
	ErrEnding = errors.New("call is ending already")
	// ErrElsewhere says that only the node that owns a call can do this: see
	// [Elsewhere].
	ErrElsewhere = errors.New("call belongs to another node")
)

// Elsewhere says which node owns a call. It wraps ErrElsewhere.
type Elsewhere struct{ ID, Node string }

func (e *Elsewhere) Error() string { return fmt.Sprintf("call %s: %v: %s", e.ID, ErrElsewhere, e.Node) }

// Unwrap returns ErrElsewhere.
func (e *Elsewhere) Unwrap() error { return ErrElsewhere }

// Call returns the call with this id, or with a leg that has this Call-ID: one
// of this node, one that ended here a short while ago, or one of another node.
// Its error wraps store.ErrNotFound or store.ErrUnavailable.
func (s *Supervisor) Call(ctx context.Context, id string) (store.Call, error) {
	if c, ok := s.local(id); ok {
		return c, nil
	}
	c, err := s.st.Get(ctx, id)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return store.Call{}, fmt.Errorf("get call %s: %w", id, err)
	}
	page, err := s.st.List(ctx, store.Query{Number: id, NotNode: s.cfg.Node})
	if err != nil {
		return store.Call{}, fmt.Errorf("look for Call-ID %s: %w", id, err)
	}
	if i := slices.IndexFunc(page.Calls, func(c store.Call) bool { return named(&c, id) }); i >= 0 {
		return page.Calls[i], nil
	}
	return store.Call{}, fmt.Errorf("call %s: %w", id, store.ErrNotFound)
}

// Local returns a call of this node that goes on.
func (s *Supervisor) Local(id string) (store.Call, bool) {
	c, ok := s.legs.Call(id)
	if ok {
		s.overlay(&c)
	}
	return c, ok
}

// local looks for a call of this node, first among those that go on.
func (s *Supervisor) local(id string) (c store.Call, ok bool) {
	if c, ok = s.Local(id); ok {
		return c, ok
	}
	find := func(have store.Call) bool {
		if named(&have, id) {
			c, ok = have, true
		}
		return !ok
	}
	if s.legs.Calls(find); ok {
		s.overlay(&c)
		return c, ok
	}
	s.ended.each(time.Now(), find)
	return c, ok
}

// named says whether a call goes by this id or Call-ID.
func named(c *store.Call, id string) bool {
	return c.ID == id || c.Legs[store.Caller].CallID == id || c.Legs[store.Callee].CallID == id
}

// own finds the id of a call that this node can do something to.
func (s *Supervisor) own(ctx context.Context, id string) (string, error) {
	c, err := s.Call(ctx, id)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	k := s.calls[c.ID]
	s.mu.Unlock()
	switch {
	case k != nil:
		return c.ID, nil
	case c.State == store.Terminated || c.Node == s.cfg.Node:
		return "", fmt.Errorf("call %s: %w", id, ErrEnding)
	default:
		return "", &Elsewhere{c.ID, c.Node}
	}
}

// Probe asks both legs of a call now and returns what came back, by side. A
// probe that is under way already is not repeated. The answers count like any
// others. A leg that may not be asked yet gives Deferred. When ctx ends first,
// its error is returned with the answers that there are.
func (s *Supervisor) Probe(ctx context.Context, id string) ([2]store.Answer, error) {
	var answers [2]store.Answer
	id, err := s.own(ctx, id)
	if err != nil {
		return answers, err
	}
	w, err := s.join(id)
	if err != nil {
		return answers, err
	}
	s.legs.Ask(w.tasks, s.cfg.Timeout)
	for side, answer := range w.answers {
		select {
		case answers[side] = <-answer:
		case <-ctx.Done():
			s.quit(&w)
			return answers, fmt.Errorf("probe call %s: %w", id, ctx.Err())
		}
	}
	return answers, nil
}

// watcher waits for the next answers of both legs of a call.
type watcher struct {
	legs    [2]*leg
	answers [2]chan store.Answer
	tasks   []store.Question // what is to be sent for it
}

// join begins to wait, and takes the turn of legs that are not being asked.
func (s *Supervisor) join(id string) (watcher, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.calls[id]
	if k == nil || k.ending {
		return watcher{}, fmt.Errorf("probe call %s: %w", id, ErrEnding)
	}
	var w watcher
	for i := range k.legs {
		l, ch := &k.legs[i], make(chan store.Answer, 1)
		w.legs[i], w.answers[i] = l, ch
		if !k.confirmed {
			ch <- store.Answer{Kind: store.Deferred, Reason: "call is not answered yet", At: now}
			continue
		}
		s.waiting[l] = append(s.waiting[l], ch)
		if l.asking() {
			continue
		}
		if l.Method == "" { // all were refused; to refuse again is an answer, too
			l.refused = 0
			s.pick(l)
		}
		s.ask(l, now.Sub(s.made))
		w.tasks = append(w.tasks, l.question())
		s.nudge() // Run is to know by when it is lost
	}
	return w, nil
}

// quit stops waiting.
func (s *Supervisor) quit(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range w.legs {
		mine := func(ch chan<- store.Answer) bool { return ch == w.answers[i] }
		if rest := slices.DeleteFunc(s.waiting[l], mine); len(rest) > 0 {
			s.waiting[l] = rest
		} else {
			delete(s.waiting, l)
		}
	}
}

// Hangup begins to end a call of this node for the operator; text says why.
func (s *Supervisor) Hangup(ctx context.Context, id, text string) error {
	id, err := s.own(ctx, id)
	if err != nil {
		return err
	}
	if !s.legs.Release(id, store.End{Reason: store.Operator, Text: text, At: time.Now()}) {
		return fmt.Errorf("hang up call %s: %w", id, ErrEnding)
	}
	return nil
}
