package web

import (
	"context"
	"crypto/rand"
	"time"

	"go.uber.org/zap"
)

// Wire carries messages between the nodes that share a store.
type Wire interface {
	// Publish hands a message to all who listen to this node now, and returns how
	// many they are.
	Publish(ctx context.Context, message []byte) (listeners int, err error)
	// Listen hands over what a node publishes from now on, in its order, until
	// ctx ends, or messages may have been lost; it returns why.
	Listen(ctx context.Context, node string, hear func(message []byte)) error
	// Send hands a message to one node, and returns how many processes of that
	// name have it. An error leaves open whether it got there.
	Send(ctx context.Context, node string, message []byte) (reached int, err error)
	// Receive hands over what is sent to this node from now on, until ctx ends or
	// nothing can come any more; it returns why.
	Receive(ctx context.Context, hear func(message []byte)) error
}

// helloTime is how often a node says at least that it is there, and learns
// whether anybody listens.
const helloTime = time.Second

// tellOthers has those who look at other nodes know what happens on this one:
// it says that it is there, and all while somebody listens. It reads events as a
// client does, so that nothing waits for it, until ctx ends.
func (s *Server) tellOthers(ctx context.Context) {
	ticks := time.NewTicker(helloTime)
	defer ticks.Stop()
	out := newBulletinWriter()
	failed := false
	for {
		listeners, err := s.cfg.Wire.Publish(ctx, out.pack(&bulletin{}))
		if err != nil && !failed && ctx.Err() == nil && s.status().Reachable { // else the store itself has warned
			s.log.Warn("other nodes cannot be told what happens here: their pages show it late", zap.Error(err))
		}
		failed = err != nil
		if listeners > 0 {
			s.tellAll(ctx, out)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// tellAll tells all that happens, until nobody listens, ctx ends, or something
// is lost: the next session begins with that gap.
func (s *Server) tellAll(ctx context.Context, out *bulletinWriter) {
	s.feed.mu.Lock()
	place := s.feed.enter()
	s.feed.mu.Unlock()
	defer s.feed.leave()
	b := bulletin{session: rand.Text()[:8]}
	hello := time.NewTimer(helloTime)
	defer hello.Stop()
	for {
		frames, news, ok := s.feed.after(place)
		if !ok {
			return
		}
		place += uint64(len(frames))
		for first := true; first || len(frames) > 0; first = false {
			b.number++
			b.events, frames = fill(b.events[:0], frames)
			listeners, err := s.cfg.Wire.Publish(ctx, out.pack(&b))
			if err != nil || listeners == 0 {
				return
			}
		}
		hello.Reset(helloTime)
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-hello.C:
		}
	}
}

// fill takes what is to be told out of frames, as much as goes into one
// bulletin, and returns the rest.
func fill(events []bulletinEvent, frames []frame) ([]bulletinEvent, []frame) {
	size := 0
	for i, f := range frames {
		e, tell := eventOf(f)
		if !tell {
			continue
		}
		if size += len(e.body); size > bulletinSize && len(events) > 0 {
			return events, frames[i:]
		}
		events = append(events, e)
	}
	return events, nil
}
