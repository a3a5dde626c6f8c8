package web

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	sendTime = 10 * time.Second // a reader that takes nothing for so long is dropped
	hushTime = 15 * time.Second // after so long without events a comment shows that the line is open
	nodeTime = 2 * time.Second  // how often nodes are looked at
)

// streamEvents answers with events as they happen, until the client leaves. One
// that comes back with Last-Event-ID gets what it missed; when that is not kept
// any more the event reset tells it to load again. Every other answer begins
// with the overview.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // said to a proxy of nginx
	if r.Method == http.MethodHead {
		return
	}
	last := r.Header.Get("Last-Event-ID")
	place, gap, ok := s.feed.join(last)
	if !ok {
		w.Header().Set("Retry-After", "30")
		problem(w, http.StatusServiceUnavailable, "too many clients read events already")
		return
	}
	defer s.feed.part()
	out := eventWriter{w, http.NewResponseController(w)}
	_ = out.rc.SetReadDeadline(time.Time{}) // nothing more is to come; not every writer can
	begin := []byte("retry: 2000\n\n")
	if gap {
		begin = append(begin, s.feed.frame(message{kind: "reset", body: Reset{}}, place)...)
	}
	if gap || last == "" {
		begin = append(begin, s.feed.frame(message{kind: "overview", body: s.overview(s.glance(r.Context()))}, place)...)
	}
	if !out.send(begin) || !out.flush() {
		return
	}
	s.relay(r, out, place)
}

// relay sends what comes after a place until the client leaves, is left behind,
// or has a token no more.
func (s *Server) relay(r *http.Request, out eventWriter, place uint64) {
	hush := time.NewTimer(hushTime)
	defer hush.Stop()
	for checked := time.Now(); ; {
		if now := time.Now(); now.Sub(checked) >= hushTime {
			checked = now
			if _, known := s.identify(r); !known {
				return
			}
		}
		frames, news, ok := s.feed.after(place)
		if !ok {
			s.log.Debug("a reader of events is too slow")
			return
		}
		if len(frames) > 0 {
			for _, f := range frames {
				if !out.send(f.text) {
					return
				}
			}
			if !out.flush() {
				return
			}
			place += uint64(len(frames))
			continue
		}
		hush.Reset(hushTime)
		select {
		case <-r.Context().Done():
			return
		case <-news:
		case <-hush.C:
			if !out.send([]byte(":\n\n")) || !out.flush() {
				return
			}
		}
	}
}

type eventWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// send is false when the client has left, or does not read.
func (e eventWriter) send(text []byte) bool {
	_ = e.rc.SetWriteDeadline(time.Now().Add(sendTime)) // not every writer has one
	_, err := e.w.Write(text)
	return err == nil
}

func (e eventWriter) flush() bool { return e.rc.Flush() == nil }

// follow passes changes on while there are readers, until ctx ends.
func (s *Server) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.feed.woken:
		}
		s.around.Store(nil)
		awake, sleep := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() { s.watchNodes(awake) })
		s.feed.serve(awake, s.watchAll())
		sleep()
		watching.Wait()
	}
}

// watchAll returns a function that tells of the store and the overview if they
// have changed since it was called before, and of trunks.
func (s *Server) watchAll() func() {
	var shown []byte
	fresh := true // readers begin with the overview
	was, trunks, progress := storeState(s.status()), s.watchTrunks(), s.watchProgress()
	return func() {
		trunks()
		progress(s.cfg.Progress.List())
		if now := storeState(s.status()); now.State != was.State || now.Error != was.Error {
			was = now
			s.feed.tell("store", now)
		}
		list := s.around.Load()
		if list == nil || fresh {
			fresh = false
			return
		}
		o := s.overview(*list)
		if now := encode(o); !bytes.Equal(now, shown) {
			shown = now
			s.feed.tell("overview", o)
		}
	}
}

// watchNodes keeps the list of nodes, and tells of those that change, but for
// when they were seen.
func (s *Server) watchNodes(ctx context.Context) {
	ticks := time.NewTicker(nodeTime)
	defer ticks.Stop()
	was, others := make(map[string]Node), s.watchProgress()
	for {
		look, cancel := context.WithTimeout(ctx, lookTime)
		list, err := s.nodes(look)
		cancel()
		if err != nil {
			s.log.Debug("nodes cannot be listed", zap.Error(err))
			s.around.CompareAndSwap(nil, &list)
		} else {
			s.around.Store(&list)
			others(s.elsewhere(list))
			now := make(map[string]Node)
			for i := range list {
				n := s.node(&list[i])
				seen := n.Seen
				n.Seen = Time{}
				if now[n.Name] = n; was[n.Name] != n && len(was) > 0 {
					n.Seen = seen
					s.feed.tell("node", n)
				}
			}
			was = maps.Clone(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
