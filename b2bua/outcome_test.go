package b2bua_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
)

func TestEachByeIsFollowedToItsEnd(t *testing.T) {
	const never = 0
	for name, tt := range map[string]struct {
		answers     []int // to one BYE after the other
		credentials bool
		want        store.Outcome
		took        time.Duration
		byes        string // their numbers
	}{
		"200":                           {[]int{200}, false, store.ReleaseConfirmed, never, "2"},
		"202":                           {[]int{202}, false, store.ReleaseConfirmed, never, "2"},
		"481":                           {[]int{481}, false, store.ReleaseAlreadyGone, never, "2"},
		"408":                           {[]int{408}, false, store.ReleaseUnconfirmed, never, "2"},
		"403":                           {[]int{403}, false, store.ReleaseUnconfirmed, never, "2"},
		"nothing":                       {nil, false, store.ReleaseUnconfirmed, 32 * time.Second, "2"},
		"100, and then nothing":         {[]int{100}, false, store.ReleaseUnconfirmed, 32 * time.Second, "2"},
		"500, and then 200":             {[]int{500, 200}, false, store.ReleaseConfirmed, never, "2 3"},
		"500, and then 481":             {[]int{500, 481}, false, store.ReleaseAlreadyGone, never, "2 3"},
		"500 twice":                     {[]int{500, 500}, false, store.ReleaseUnconfirmed, never, "2 3"},
		"500, and then nothing":         {[]int{500}, false, store.ReleaseUnconfirmed, 32 * time.Second, "2 3"},
		"a challenge, no credentials":   {[]int{401}, false, store.ReleaseUnconfirmed, never, "2"},
		"a challenge, and then 200":     {[]int{401, 200}, true, store.ReleaseConfirmed, never, "2 3"},
		"a challenge twice":             {[]int{401, 401}, true, store.ReleaseUnconfirmed, never, "2 3"},
		"a challenge, and then 500":     {[]int{401, 500, 200}, true, store.ReleaseConfirmed, never, "2 3 4"},
		"a challenge, and then nothing": {[]int{401}, true, store.ReleaseUnconfirmed, 32 * time.Second, "2 3"},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(*b2bua.Config) {}
			if tt.credentials {
				change = withCredentials(t)
			}
			inWorld(t, change, func(w *world) {
				w.connect()
				w.release(store.End{Reason: store.Operator})
				w.alice.respond(w.alice.next("BYE"), 200, "")
				began := time.Now()
				var byes []string
				for _, status := range tt.answers {
					m := w.bob.next("BYE")
					n, _ := m.CSeq()
					byes = append(byes, fmt.Sprint(n))
					extra := ""
					if status == 401 {
						extra = wwwSHA
					}
					w.bob.respond(m, status, "", extra)
					pass(0)
				}
				for len(w.calls()) == 0 && time.Since(began) < time.Minute {
					if m := w.bob.poll(); m == nil {
						pass(time.Second)
					} else if n, _ := m.CSeq(); len(byes) == 0 || byes[len(byes)-1] != fmt.Sprint(n) {
						byes = append(byes, fmt.Sprint(n))
					}
				}
				ended := time.Since(began)
				if ended != tt.took {
					t.Errorf("it took %v, want %v", ended, tt.took)
				}
				same(t, strings.Join(byes, " "), tt.byes)
				for _, c := range w.calls() {
					same(t, string(c.End.Released[store.Caller]+" "+c.End.Released[store.Callee]), "confirmed "+string(tt.want))
				}
				pass(time.Minute)
				w.alice.nothing()
			})
		})
	}
}

// calls are those that have ended.
func (w *world) calls() []store.Call {
	w.obs.mu.Lock()
	defer w.obs.mu.Unlock()
	return w.obs.ended
}
