package main

import (
	"encoding/json"
	"net/url"

	tea "charm.land/bubbletea/v2"

	"sipvigil/supervisor/web"
)

// What comes of a server: the stream of events is opened first and the list of
// calls is read after it, so that nothing falls between the two. What events say
// while a list is on its way is newer than the list.
type (
	stream struct{ err error } // of events: it is open, or why it is not
	loaded struct {
		calls []*web.Call
		err   error
	}
)

// opened is told how the stream of events fares.
func (s *screen) opened(err error) tea.Cmd {
	if err != nil {
		s.away = true
		s.tell(err.Error())
		return nil
	}
	if s.away {
		s.away = false
		s.tell(s.client.name + " answers again")
	}
	return s.read()
}

// read begins to read all calls.
func (s *screen) read() tea.Cmd {
	s.reading++
	if s.since == nil {
		s.since = make(map[string]*web.Call)
	}
	return s.load
}

// load reads all calls.
func (s *screen) load() tea.Msg {
	l, err := s.client.list(s.ctx, make(url.Values), 0)
	if err != nil {
		return loaded{err: err}
	}
	calls := make([]*web.Call, len(l.items))
	for i, raw := range l.items {
		calls[i] = new(web.Call)
		if err := json.Unmarshal(raw, calls[i]); err != nil {
			return loaded{err: unreadable(err)}
		}
	}
	return loaded{calls: calls}
}

// take shows a list of calls that was read.
func (s *screen) take(l loaded) {
	if l.err != nil {
		s.tell(l.err.Error())
	} else {
		clear(s.calls)
		for _, c := range l.calls {
			s.calls[c.ID] = c
		}
		for id, c := range s.since {
			s.calls[id] = c
			if c == nil {
				delete(s.calls, id)
			}
		}
		s.arrange()
	}
	if s.reading--; s.reading == 0 {
		s.since = nil
	}
}

// know keeps what an event says of a call, nil when it has ended, for a list that
// is on its way.
func (s *screen) know(id string, c *web.Call) {
	if s.since != nil {
		s.since[id] = c
	}
}

// heard takes an event of the server.
func (s *screen) heard(e streamed) tea.Cmd {
	switch e.Event {
	case "reset":
		return s.read()
	case "overview":
		_ = json.Unmarshal(e.Data, &s.overview) // the next one is better
	case "progress":
		var p web.Progress
		if json.Unmarshal(e.Data, &p) == nil && p.Ended.IsZero() {
			s.doing[p.ID] = p
		} else {
			delete(s.doing, p.ID)
		}
	case "call":
		c := new(web.Call)
		if json.Unmarshal(e.Data, c) != nil {
			return nil
		}
		s.calls[c.ID] = c
		s.know(c.ID, c)
		s.arrange()
		if c.ID == s.open {
			return s.look(c.ID)
		}
	case "ended":
		var c struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(e.Data, &c) != nil {
			return nil
		}
		delete(s.calls, c.ID)
		s.know(c.ID, nil)
		delete(s.marked, c.ID)
		s.arrange()
		if c.ID == s.open {
			return s.look(c.ID)
		}
	}
	return nil
}
