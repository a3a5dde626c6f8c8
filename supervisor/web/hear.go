package web

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	settleTime  = 2 * time.Second  // from a gap until calls are read again: until then the store has what was before
	gapTime     = 10 * time.Second // between two times that the calls of one node are read again
	refreshTime = 30 * time.Second // the same for a node that says nothing
	earTime     = time.Second      // how often who is to be heard is looked at
)

// hearOthers passes on what happens on the other nodes while clients read the
// events of this one, until ctx ends. After a gap the clients read the calls of
// that node again. Those of a node that tells nothing (it is of an older version,
// or the store does not let it) they read again now and then.
func (s *Server) hearOthers(ctx context.Context) {
	ears := make(map[string]*ear)
	var listening sync.WaitGroup
	defer listening.Wait()
	ticks := time.NewTicker(earTime)
	defer ticks.Stop()
	for {
		now, others := time.Now(), s.others()
		for name, e := range ears {
			if !others[name] {
				e.close()
				delete(ears, name)
			}
		}
		for name := range others {
			e := ears[name]
			if e == nil {
				e = newEar(ctx, now)
				ears[name] = e
				listening.Go(func() { s.listen(e, name) })
			}
			if e.due(now) {
				s.feed.tell("reset", Reset{Node: name})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-s.feed.arrived:
		}
	}
}

// others are the nodes that are worth listening to now.
func (s *Server) others() map[string]bool {
	names := make(map[string]bool)
	nodes := s.around.Load()
	if nodes == nil || !s.feed.watched(time.Now()) {
		return names
	}
	for _, n := range *nodes {
		if n.Live() && n.Name != s.cfg.Node {
			names[n.Name] = true
		}
	}
	return names
}

// listen hears one node until its ear is closed.
func (s *Server) listen(e *ear, node string) {
	for e.ctx.Err() == nil {
		err := s.cfg.Wire.Listen(e.ctx, node, func(message []byte) {
			b, err := unpackBulletin(message)
			if err != nil {
				s.log.Debug("what another node tells cannot be read", zap.String("node", node), zap.Error(err))
				return // a gap, if it was one of the session
			}
			if e.note(&b, time.Now()) {
				s.feed.relay(b.events)
			}
		})
		if e.ctx.Err() == nil {
			s.log.Debug("another node is not heard", zap.String("node", node), zap.Error(err))
		}
		select {
		case <-e.ctx.Done():
		case <-time.After(earTime):
		}
	}
}

// relay passes on what happened on another node.
func (f *feed) relay(events []bulletinEvent) {
	f.note(func() {
		for _, e := range events {
			f.enqueue(message{kind: e.kind, body: json.RawMessage(e.body), foreign: true})
		}
	})
}

// ear listens to one node, and knows whether it has missed anything.
type ear struct {
	ctx   context.Context // until it is closed
	close context.CancelFunc

	mu      sync.Mutex
	session string
	number  uint64    // of the last bulletin
	heard   time.Time // when one came that followed the one before
	gap     time.Time // when one came that did not; zero: since then all was read
	read    time.Time // when clients were told to read again
}

func newEar(ctx context.Context, now time.Time) *ear {
	e := &ear{heard: now}
	e.ctx, e.close = context.WithCancel(ctx)
	return e
}

// note takes a bulletin, and says whether it tells anything.
func (e *ear) note(b *bulletin, now time.Time) bool {
	if b.session == "" {
		return false // it will tell once it knows of us
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if b.session == e.session && b.number == e.number+1 {
		e.heard = now
	} else {
		e.gap = now
	}
	e.session, e.number = b.session, b.number
	return true
}

// due says whether it is time to read the calls of the node again.
func (e *ear) due(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	missing := !e.gap.IsZero() && now.Sub(e.gap) >= settleTime && now.Sub(e.read) >= gapTime
	silent := now.Sub(e.heard) >= refreshTime && now.Sub(e.read) >= refreshTime
	if !missing && !silent {
		return false
	}
	e.gap, e.read = time.Time{}, now
	return true
}
