package daemon

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// resumed is the part that has the calls, where it is only looked at in which
// order it is told to go on with them.
type resumed struct {
	t *testing.T

	mu            sync.Mutex // guards what is below
	ending, going map[string]bool
	late          int // calls to be ended that came after one that goes on
}

func newResumed(t *testing.T) *resumed {
	return &resumed{t: t, ending: make(map[string]bool), going: make(map[string]bool)}
}

func (r *resumed) Restore(_ context.Context, calls []store.Call) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range calls {
		if c.State != store.Ending {
			r.going[c.ID] = true
		} else if r.ending[c.ID] = true; len(r.going) > 0 {
			r.late++
		}
	}
	return nil
}

func (*resumed) Count() int               { return 0 }
func (*resumed) Held() map[string]int64   { return nil }
func (*resumed) Drop(string)              {}
func (*resumed) Resave(string)            {}
func (*resumed) Claim(string, int64) bool { return false }
func (*resumed) Announce([]string)        {}
func (*resumed) GoOn()                    {}

// Many calls of one node, of which the last ones are to be ended: pages of both.
const (
	manyCalls  = 4500
	manyEnding = 1200
)

func (r *resumed) check() {
	r.t.Helper()
	if r.late > 0 || len(r.ending) != manyEnding || len(r.ending)+len(r.going) != manyCalls {
		r.t.Errorf("of %d calls to be ended %d came after one of %d that go on, want %d before %d",
			len(r.ending), r.late, len(r.going), manyEnding, manyCalls-manyEnding)
	}
}

// leaveBehind stores the calls of a node that will not come back by itself.
func leaveBehind(t *testing.T, s storetest.Store) {
	t.Helper()
	stop := storetest.Start(t, s)
	for i := range manyCalls {
		c := storetest.Call()
		c.ID = fmt.Sprintf("019579a0-0000-7000-8000-%010x%02x", i, i*7%256)
		if i >= manyCalls-manyEnding {
			c.State = store.Ending
		}
		s.Save(c)
	}
	storetest.Settled(t, s)
	stop()
}

func TestAfterARestartCallsThatWereEndingAreEndedBeforeAnyOtherGoesOn(t *testing.T) {
	t.Parallel()
	test := func(name string, left, found func(t *testing.T) keeper) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaveBehind(t, left(t).(storetest.Store))
			s := found(t)
			storetest.Start(t, s.(storetest.Store))
			r := newResumed(t)
			count, err := readBack(t.Context(), s, storetest.Node, r)
			if err != nil || count != manyCalls {
				t.Errorf("%d calls are read back, %v", count, err)
			}
			r.check()
		})
	}
	dir := t.TempDir()
	journal := func(t *testing.T) keeper {
		s := embedded.InDir(dir, zap.NewNop())
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	test("journal", journal, journal)
	url, _ := storetest.Redis(t)
	shared := func(t *testing.T) keeper { return ofNode(t, url, storetest.Node) }
	test("redis", shared, shared)
}

func ofNode(t *testing.T, url, name string) *redis.Store {
	t.Helper()
	s, err := redis.New(redis.Config{URL: url, Node: name}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAdoptedCallsThatWereEndingAreEndedBeforeAnyOtherGoesOn(t *testing.T) {
	t.Parallel()
	url, _ := storetest.Redis(t)
	leaveBehind(t, ofNode(t, url, storetest.Node))
	s, r := ofNode(t, url, "edge-2"), newResumed(t)
	storetest.Start(t, s)
	m := newMember(s, r, r.Drop, "edge-2", zap.NewNop(), prometheus.NewRegistry())
	if _, err := m.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := &seen{Node: store.Node{Name: storetest.Node, State: store.NodeDead}}
	if err := m.inherit(t.Context(), gone, []string{"edge-2"}); err != nil {
		t.Fatal(err)
	}
	r.check()
}
