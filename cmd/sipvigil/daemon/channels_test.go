package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/store/embedded"
)

// flaky is a store of channels that can be away, and writes down what it is
// given to vouch for and to free.
type flaky struct {
	*embedded.Store
	mu    sync.Mutex // guards what is below
	known bool       // that it is away
	away  bool
	slow  time.Duration // how long giving back takes
	lines []string
}

func (f *flaky) gone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away
}

func (f *flaky) Status() store.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return store.Status{Reachable: !f.away || !f.known}
}

func (f *flaky) ClaimChannel(ctx context.Context, c store.Claim) (store.Grant, error) {
	if f.gone() {
		<-ctx.Done() // a store that hangs
		return store.Grant{}, store.ErrUnavailable
	}
	return f.Store.ClaimChannel(ctx, c)
}

func (f *flaky) VouchChannels(ctx context.Context, lease time.Duration, held []store.Held) ([]int, error) {
	if f.gone() {
		return nil, store.ErrUnavailable
	}
	f.note("vouched", held)
	return f.Store.VouchChannels(ctx, lease, held)
}

func (f *flaky) FreeChannels(ctx context.Context, held []store.Held) error {
	if f.gone() {
		return store.ErrUnavailable
	}
	f.mu.Lock()
	slow := f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	f.note("freed", held)
	return f.Store.FreeChannels(ctx, held)
}

// delay is how long giving back takes from now on.
func (f *flaky) delay(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow = d
}

func (f *flaky) note(what string, held []store.Held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range held {
		if len(h.IDs) > 0 {
			f.lines = append(f.lines, fmt.Sprintf("%s %s %s %v", what, h.Trunk, direction(h.Side), h.IDs))
		}
	}
}

func (f *flaky) told(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := strings.Join(f.lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the store was told:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	f.lines = nil
}

// going are the calls that go on, each with a channel to go out by of trunk a,
// and of b.
type going struct {
	mu  sync.Mutex // guards ids
	ids map[string]bool
}

func (g *going) set(id string, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids[id] = on
}

func (g *going) channels(yield func(string, store.Side, string) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, on := range g.ids {
		if on {
			yield("a", store.Callee, id)
			yield("b", store.Callee, id)
		}
	}
}

// counting runs a test with the channels of trunk a, which has two to go out by.
func counting(t *testing.T, onOutage string, f func(k *channels, st *flaky, live *going)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Store.OnOutage = onOutage
		cfg.Trunks = []Trunk{{Name: "a", Capacity: Capacity{Out: 2}}, {Name: "b"}}
		st := &flaky{Store: embedded.New(), known: true}
		k := newChannels(&cfg, st, zap.NewNop(), prometheus.NewRegistry())
		live := &going{ids: make(map[string]bool)}
		k.live = live.channels
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.run(ctx); close(done) }()
		synctest.Wait()
		f(k, st, live)
		stop()
		<-done
	})
}

// claims claims a channel of trunk a to go out by.
func (k *channels) claims(id string) string {
	g, err := k.Claim(store.Claim{Trunk: "a", Side: store.Callee, ID: id, Limit: k.limits["a"]})
	if err != nil {
		return "error"
	}
	if g.Refused != "" {
		return string(g.Refused)
	}
	return "granted"
}

func wantWord(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestOnlyTheCallsOfTheLastSecondAreRememberedForTheRate(t *testing.T) {
	counting(t, "accept", func(k *channels, _ *flaky, _ *going) {
		for i := range 1000 {
			id := fmt.Sprint(i)
			wantWord(t, id, k.claims(id), "granted")
			k.Free("a", store.Callee, id)
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		n := k.ways[way{"a", store.Callee}]
		if len(n.starts) > 11 || n.begun(time.Now()) != 9 {
			t.Errorf("%d are remembered, %d of the last second", len(n.starts), n.begun(time.Now()))
		}
	})
}

func TestChannelsAreRenewedAsLongAsTheirCallsGoOn(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		wantWord(t, "1", k.claims("1"), "granted")
		live.set("1", true)
		wantWord(t, "2", k.claims("2"), "granted") // whose call is lost without a word
		wantWord(t, "3", k.claims("3"), "full")
		time.Sleep(channelTime + 2*vouchEvery)
		wantWord(t, "3 later", k.claims("3"), "granted")
		used, counted := k.used("a")
		if used != [2]int{0, 2} || !counted || k.Left("a", store.Callee) != 0 {
			t.Errorf("used %v %v, left %d", used, counted, k.Left("a", store.Callee))
		}
		if _, counted := k.used("b"); counted {
			t.Error("a trunk without a capacity is counted")
		}
	})
}

func TestAChannelOfACallThatAnotherNodeTookIsNotRenewed(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		wantWord(t, "1", k.claims("1"), "granted")
		live.set("1", true)
		time.Sleep(2 * vouchEvery) // it is renewed
		live.set("1", false)       // dropped without a word
		if err := st.FreeChannels(t.Context(), []store.Held{{Trunk: "a", Side: store.Callee, IDs: []string{"1"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(vouchEvery)
		if used, _ := k.used("a"); used != [2]int{} {
			t.Errorf("used %v", used)
		}
	})
}

func TestAChannelIsFreeAsSoonAsItsCallEnds(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		k.claims("1")
		k.claims("2")
		st.told(t)
		k.Free("a", store.Callee, "1")
		st.told(t, "freed a out [1]")
		wantWord(t, "3", k.claims("3"), "granted")
		wantWord(t, "4", k.claims("4"), "full")
	})
}

func TestACallThatWantsItsChannelAgainKeepsIt(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		st.delay(time.Second / 2)
		k.claims("1")
		k.Free("a", store.Callee, "1")
		synctest.Wait() // it is being given back
		wantWord(t, "again", k.claims("1"), "granted")
		time.Sleep(time.Second)
		used, err := st.VouchChannels(t.Context(), time.Minute, []store.Held{{Trunk: "a", Side: store.Callee}})
		if err != nil || used[0] != 1 {
			t.Errorf("the store has %v channels, %v", used, err)
		}
	})
}

func TestAChannelThatWaitsToBeGivenBackIsKeptIfItsCallWantsItAgain(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		st.delay(time.Second / 2)
		k.claims("1")
		k.Free("a", store.Callee, "another")
		synctest.Wait() // that is being given back
		k.Free("a", store.Callee, "1")
		wantWord(t, "again", k.claims("1"), "granted")
		time.Sleep(2 * time.Second)
		st.told(t, "freed a out [another]")
	})
}

func TestACallThatEndsWhileChannelsAreRenewedIsNotCounted(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		k.claims("1")
		live.set("1", true) // it is looked at before its end
		st.mu.Lock()
		st.away = true
		st.mu.Unlock()
		k.Free("a", store.Callee, "1")
		time.Sleep(vouchEvery)
		if used, _ := k.used("a"); used != [2]int{} {
			t.Errorf("used %v", used)
		}
	})
}

func TestWithoutTheStoreMemoryCounts(t *testing.T) {
	for _, known := range []bool{true, false} {
		counting(t, "accept", func(k *channels, st *flaky, live *going) {
			other := store.Claim{Trunk: "a", Side: store.Callee, ID: "theirs", Limit: k.limits["a"], Lease: time.Hour}
			if _, err := st.ClaimChannel(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			time.Sleep(vouchEvery)
			st.mu.Lock()
			st.away, st.known = true, known
			st.mu.Unlock()
			began := time.Now()
			wantWord(t, "1", k.claims("1"), "granted")
			live.set("1", true)
			wantWord(t, "2", k.claims("2"), "full")
			want := 2 * claimTime
			if known {
				want = 0
			}
			if took := time.Since(began); took != want {
				t.Errorf("two claims took %v, want %v", took, want)
			}
			k.Free("a", store.Callee, "1")
			live.set("1", false)
			wantWord(t, "3", k.claims("3"), "granted")
			live.set("3", true)
			time.Sleep(vouchEvery)
			st.mu.Lock()
			st.away = false
			st.lines = nil
			st.mu.Unlock()
			time.Sleep(vouchEvery)
			st.told(t, "vouched a out [3]", "freed a out [1]")
			wantWord(t, "4", k.claims("4"), "full")
		})
	}
}

func TestWithoutTheStoreCallsAreRefusedIfThatIsConfigured(t *testing.T) {
	counting(t, "reject", func(k *channels, st *flaky, live *going) {
		st.mu.Lock()
		st.away = true
		st.mu.Unlock()
		_, err := k.Claim(store.Claim{Trunk: "a", Side: store.Callee, ID: "1", Limit: k.limits["a"]})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWithoutTheStoreMemoryCountsWhatBeginsInASecond(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		st.mu.Lock()
		st.away = true
		st.mu.Unlock()
		claim := func(id string) store.Refusal {
			g, _ := k.Claim(store.Claim{Trunk: "a", Side: store.Caller, ID: id, Limit: store.Limit{PerSecond: 2}})
			return g.Refused
		}
		for i, want := range []store.Refusal{"", "", store.TooMany} {
			wantWord(t, fmt.Sprint(i), string(claim(fmt.Sprint(i))), string(want))
		}
		time.Sleep(time.Second)
		wantWord(t, "a second later", string(claim("x")), "")
	})
}

// failing is a store that answers, but not to claims: a part of a cluster is
// away, of which writing does not know yet.
type failing struct {
	*flaky
	claims atomic.Int64
}

func (f *failing) ClaimChannel(context.Context, store.Claim) (store.Grant, error) {
	f.claims.Add(1)
	return store.Grant{}, store.ErrUnavailable
}

func TestAStoreThatRefusesClaimsAtOnceIsNotAskedWithoutAPause(t *testing.T) {
	counting(t, "accept", func(k *channels, st *flaky, live *going) {
		f := &failing{flaky: st}
		k.st = f
		began := time.Now()
		wantWord(t, "1", k.claims("1"), "granted")
		took, tries, most := time.Since(began), f.claims.Load(), int64(claimTime/claimPause)
		if took != claimTime || tries < most || tries > most+1 { // the last pause ends as the time does
			t.Errorf("%d tries in %v", tries, took)
		}
	})
}
