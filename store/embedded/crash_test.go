package embedded_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/storetest"
)

// headSize is the length of a journal without calls before its first frame.
const headSize = 27

func TestATornFrameIsCutOffWhereverItEnds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	old, torn, next := storetest.Call(), storetest.Call(), storetest.Call()
	s.Save(old)
	commit(t, s)
	end := len(contents(t, dir))
	s.Save(torn)
	s.Reserve(old.ID, store.Caller, 64, nil)
	s.SaveHealth(store.LegHealth{ID: old.ID, Side: store.Callee, Health: storetest.Health()})
	commit(t, s)
	closed(t, s)
	journal := contents(t, dir)
	for cut := end; cut < len(journal); cut++ {
		// A disk may have made room for what it did not write.
		for _, rest := range []int{0, len(journal) - cut} {
			file := append(slices.Clone(journal[:cut]), make([]byte, rest)...)
			if bytes.Equal(file, journal) {
				continue // it ends in zeros
			}
			s, good, damaged, err := embedded.Replay(bytes.NewReader(file))
			if err != nil || good != int64(end) || damaged != 0 || s.Held() != 1 {
				t.Fatalf("cut at %d, and %d zeros: %d bytes are good, %d parts damaged, %d calls, %v", cut, rest, good, damaged, s.Held(), err)
			}
			same(t, "call", old, read(t, s, old.ID))
		}
	}
	for _, cut := range []int{end, end + 1, (end + len(journal)) / 2, len(journal) - 1} {
		dir := holding(t, journal[:cut])
		core, logs := observer.New(zap.InfoLevel)
		s := embedded.InDir(dir, zap.New(core))
		if err := s.Open(); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		same(t, "size", end, len(contents(t, dir)))
		same(t, "warnings", min(cut-end, 1), logs.FilterMessageSnippet("cut off").Len())
		s.Save(next)
		commit(t, s)
		closed(t, s)
		s = open(t, dir)
		same(t, "call", old, read(t, s, old.ID))
		same(t, "call after it", next, read(t, s, next.ID))
		same(t, "calls", 2, s.Held())
	}
}

func TestDamageCostsOnlyWhatItHit(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	key := tagKey(t, s)
	calls := make([]store.Call, 5)
	ends := make([]int, len(calls)) // of the frame of each
	start := len(contents(t, dir))
	for i := range calls {
		calls[i] = storetest.Call()
		s.Save(calls[i])
		commit(t, s)
		ends[i] = len(contents(t, dir))
	}
	closed(t, s)
	journal := contents(t, dir)
	rapid.Check(t, func(rt *rapid.T) {
		from := rapid.IntRange(start, len(journal)-1).Draw(rt, "from")
		to := min(from+rapid.IntRange(1, 64).Draw(rt, "bytes"), len(journal))
		hurt := slices.Clone(journal)
		for i := from; i < to; i++ {
			hurt[i] ^= rapid.ByteRange(1, 255).Draw(rt, "flip")
		}
		dir := holding(t, hurt)
		s := open(t, dir)
		defer closed(t, s)
		begin := start
		for i, end := range ends {
			_, err := s.Get(t.Context(), calls[i].ID)
			if hit := from < end && to > begin; hit != errors.Is(err, store.ErrNotFound) {
				rt.Errorf("call %d: hit %v, get: %v", i, hit, err)
			}
			begin = end
		}
		if got := tagKey(t, s); !bytes.Equal(key, got) {
			rt.Errorf("tag key %x, want %x", got, key)
		}
		aside, err := os.ReadFile(filepath.Join(dir, "journal.damaged"))
		if torn := to > ends[len(ends)-2]; torn != errors.Is(err, os.ErrNotExist) || !torn && !bytes.Equal(hurt, aside) {
			rt.Errorf("torn %v, what was kept aside: %v", torn, err)
		}
		commit(t, s)
		if _, _, damaged, err := embedded.Replay(bytes.NewReader(contents(t, dir))); damaged > 0 || err != nil {
			rt.Errorf("written anew, it has %d damaged parts, %v", damaged, err)
		}
	})
}

// tagKey is the tag key of a store that no Run writes for.
func tagKey(t *testing.T, s *embedded.Store) []byte {
	t.Helper()
	type result struct {
		key []byte
		err error
	}
	got := make(chan result, 1)
	go func() {
		key, err := s.TagKey(t.Context())
		got <- result{key, err}
	}()
	for {
		select {
		case r := <-got:
			if r.err != nil {
				t.Fatal(r.err)
			}
			return r.key
		default:
			commit(t, s)
		}
	}
}

func TestAFileThatIsNoJournalIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	closed(t, open(t, dir))
	journal := contents(t, dir)
	newer := slices.Clone(journal)
	newer[len("sipvigil journal ")] = '9'
	for name, c := range map[string]struct {
		journal []byte
		want    string
	}{
		"empty":         {nil, "is no journal of sipvigil"},
		"short":         {journal[:headSize-1], "is no journal of sipvigil"},
		"other":         {[]byte(strings.Repeat("something else\n", 10)), "is no journal of sipvigil"},
		"damaged mark":  {append(slices.Clone(journal[:20]), make([]byte, 100)...), "is no journal of sipvigil"},
		"newer version": {newer, `has version "9", and this sipvigil reads 1`},
		"no entry":      {embedded.Journal([]byte{0, 0, 1, 255}), "it holds what this sipvigil does not know"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := holding(t, c.journal)
			err := embedded.InDir(dir, zap.NewNop()).Open()
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), journalOf(dir)) ||
				!strings.Contains(err.Error(), "move it away to start without the calls in it") {
				t.Errorf("%v, want %s", err, c.want)
			}
			if got := contents(t, dir); !bytes.Equal(c.journal, got) {
				t.Errorf("it holds %q now", got)
			}
		})
	}
}

// TestWhatIsCoveredOutlivesACrash crashes at any point of a random history.
// What the file held when it was synced is there, and of what was written since
// any first part.
func TestWhatIsCoveredOutlivesACrash(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		s := open(t, dir)
		defer func() { closed(t, s) }()
		synced := 0 // bytes that are sure to be there
		disk := func() {
			s.Disk((*os.File).WriteAt, func(f *os.File) error {
				info, err := f.Stat()
				synced = int(info.Size())
				return err
			})
		}
		disk()
		synced = len(contents(t, dir))
		type leg struct {
			id   string
			side store.Side
		}
		covered := make(map[leg]uint32) // the highest marks
		saved := make(map[string]bool)  // calls that were on disk once
		fresh := make(map[string]bool)  // calls that will be with the next commit
		over := make(map[string]bool)
		ids := []string{storetest.Call().ID, storetest.Call().ID, storetest.Call().ID}
		id := rapid.SampledFrom(ids)
		crash := func(rt *rapid.T) {
			closed(t, s)
			journal := contents(t, dir)
			cut := rapid.IntRange(min(synced, len(journal)), len(journal)).Draw(rt, "cut")
			dir = holding(t, journal[:cut])
			if rapid.Bool().Draw(rt, "while it was written anew") {
				if err := os.WriteFile(journalOf(dir)+".new", journal[:cut/2], 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s = open(t, dir)
			disk()
			synced = len(contents(t, dir))
			for l, mark := range covered {
				c, err := s.Get(t.Context(), l.id)
				if over[l.id] && err != nil {
					continue
				}
				if got := c.Legs[l.side].LocalMark; err != nil || got < mark {
					rt.Fatalf("%s of %s: mark %d, %v, covered %d", l.side, l.id, got, err, mark)
				}
			}
			for id := range saved {
				if _, err := s.Get(t.Context(), id); err != nil && !over[id] {
					rt.Fatalf("call %s: %v", id, err)
				}
			}
			fresh = make(map[string]bool)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"save": func(rt *rapid.T) {
				c := storetest.Call()
				c.ID = id.Draw(rt, "id")
				s.Save(c)
				if !over[c.ID] {
					fresh[c.ID] = true
				}
			},
			"health": func(rt *rapid.T) {
				s.SaveHealth(store.LegHealth{ID: id.Draw(rt, "id"), Side: store.Callee, Health: storetest.Health()})
			},
			"reserve": func(rt *rapid.T) {
				l := leg{id.Draw(rt, "id"), rapid.SampledFrom(store.Sides[:]).Draw(rt, "side")}
				_, err := s.Get(t.Context(), l.id)
				s.Reserve(l.id, l.side, rapid.Uint32Range(1, 1000).Draw(rt, "mark"), func(mark uint32) {
					if err == nil && !over[l.id] {
						covered[l] = max(covered[l], mark)
					}
				})
			},
			"finish": func(rt *rapid.T) {
				c := storetest.Call()
				c.ID = id.Draw(rt, "id")
				s.Finish(c, time.Hour)
				over[c.ID] = true
			},
			"commit": func(*rapid.T) {
				commit(t, s)
				maps.Copy(saved, fresh)
			},
			"rewrite": func(*rapid.T) {
				s.Rewrite()
				commit(t, s)
				maps.Copy(saved, fresh)
			},
			"crash": crash,
		})
		crash(rt)
	})
}

func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	s := open(f, dir)
	c := storetest.Call()
	s.Save(c)
	commit(f, s)
	s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: storetest.Health()})
	s.Reserve(c.ID, store.Callee, 64, nil)
	commit(f, s)
	s.Finish(c, time.Hour)
	commit(f, s)
	journal := contents(f, dir)
	f.Add(journal)
	f.Add(journal[headSize+12:])
	f.Add([]byte{0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, end, _, err := embedded.Replay(bytes.NewReader(b))
		if end > int64(len(b)) || err == nil && end < headSize {
			t.Errorf("%d of %d bytes are good", end, len(b))
		}
		if len(b) > 1<<20 {
			return
		}
		// What a whole frame holds is read to its end, or refused.
		whole := embedded.Journal(b)
		s, end, damaged, err := embedded.Replay(bytes.NewReader(whole))
		if err == nil && (end != int64(len(whole)) || damaged != 0) {
			t.Errorf("%d of %d bytes are good, %d parts damaged", end, len(whole), damaged)
		}
		err = s.Owned(t.Context(), storetest.Node, func(store.Call) bool { return true })
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAFrameCountsOnlyInItsPlace(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	c := storetest.Call()
	s.Save(c)
	commit(t, s)
	first := contents(t, dir)
	s.Finish(c, 0)
	commit(t, s)
	journal := contents(t, dir)
	stale := append(slices.Clone(journal), first[headSize:]...)
	s, end, damaged, err := embedded.Replay(bytes.NewReader(stale))
	if end != int64(len(journal)) || damaged != 0 || err != nil || s.Held() != 0 {
		t.Errorf("%d bytes of %d are good, %d parts damaged, %d calls, %v", end, len(stale), damaged, s.Held(), err)
	}
}
