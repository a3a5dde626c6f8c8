package supervisor

import "time"

// texts keeps each text of histories once for all calls. There is a bound, because
// some have a part that far ends or the network choose. What no history has any
// more makes room.
type texts struct {
	all   []string
	index map[string]uint16
	free  []uint16  // places in all
	idle  []uint16  // those that no history had when it was last looked
	tidy  time.Time // when that was
}

const (
	mostTexts = 1 << (16 - kindBits - sideBits)
	tidyEvery = 10 * time.Minute // it takes a look at every call
)

func newTexts() texts { return texts{all: []string{"…"}, index: make(map[string]uint16)} }

// keepText is the number of a text, 0 when there is no room. Called locked.
func (s *Supervisor) keepText(text string, at time.Time) uint16 {
	t := &s.texts
	i, ok := t.index[text]
	switch {
	case ok:
		return i
	case len(t.all) < mostTexts:
		i = uint16(len(t.all))
		t.all = append(t.all, text)
	default:
		if len(t.free) == 0 && at.Sub(t.tidy) >= tidyEvery {
			s.tidyTexts(at)
		}
		last := len(t.free) - 1
		if last < 0 {
			return 0
		}
		i, t.free = t.free[last], t.free[:last]
		t.all[i] = text
	}
	t.index[text] = i
	return i
}

// tidyTexts frees the texts that no history has, and had when it was last looked:
// that of a call that is just ending is in no list. Called locked.
func (s *Supervisor) tidyTexts(at time.Time) {
	var used, idle [mostTexts]bool
	mark := func(k *call) {
		for i := range min(k.history.count, historyLength) {
			used[k.history.entries[i].text()] = true
		}
	}
	for _, k := range s.calls {
		mark(k)
	}
	s.ended.histories(mark)
	t := &s.texts
	for _, i := range t.idle {
		idle[i] = true
	}
	t.idle, t.tidy = t.idle[:0], at
	for i := uint16(1); i < mostTexts; i++ {
		switch {
		case used[i]:
		case idle[i]:
			delete(t.index, t.all[i])
			t.free = append(t.free, i)
		default:
			t.idle = append(t.idle, i)
		}
	}
}
