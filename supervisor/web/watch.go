package web

import (
	"bytes"

	"sipvigil/store"
)

// watchTrunks returns a function that tells of trunks whose state or maintenance
// is another than when it was called before. What their channels are used for
// changes with each call, and is not told.
func (s *Server) watchTrunks() func() {
	was := make(map[string][]byte)
	var names []string // those that are not watched, too; configuration does not change
	for _, t := range s.allTrunks() {
		names = append(names, t.Name)
	}
	return func() {
		states := make(map[string]Trunk)
		if s.cfg.Trunks != nil {
			for _, h := range s.cfg.Trunks() {
				states[h.Name] = trunkOf(&h)
			}
		}
		for _, name := range names {
			t, watched := states[name]
			if !watched {
				t = Trunk{Name: name, State: "unwatched", Addresses: []Place{}}
			}
			t.Maintenance = s.maintenance(store.ScopeTrunk, name)
			now := t.gist()
			if before, ok := was[name]; ok && !bytes.Equal(now, before) {
				s.feed.tell("trunk", t)
			}
			was[name] = now
		}
	}
}

// gist is what is worth an event when it changes: not each answer to a question.
func (t *Trunk) gist() []byte {
	b := appendText(appendText(nil, t.State), t.Maintenance)
	for _, a := range t.Addresses {
		b = appendText(appendText(appendText(b, a.Address), a.State), a.Use)
	}
	return b
}
