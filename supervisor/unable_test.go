package supervisor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// methods lists what the callee of call c was asked with.
func (w *world) methods() (list []string) {
	w.legs.mu.Lock()
	defer w.legs.mu.Unlock()
	for _, s := range w.legs.sent[target{"c", store.Callee}] {
		list = append(list, s.method)
	}
	return list
}

func TestAMethodThatCannotBeUsedOrIsRefusedGivesWayToTheNext(t *testing.T) {
	unable := reply{Answer: store.Answer{Kind: store.Unable, Reason: "the session as it stands is not known"}}
	for name, tt := range map[string]struct {
		replies  []reply
		methods  []string
		liveness store.Liveness
		alive    bool // before the last answer
	}{
		"405 is a sign of life":      {[]reply{status(405), status(501), status(200)}, []string{"INVITE", "UPDATE", "OPTIONS"}, store.Alive, true},
		"what cannot be sent is not": {[]reply{unable, nothing()}, []string{"INVITE", "UPDATE"}, store.Unproven, false},
		"and then the next is asked": {[]reply{unable, status(200)}, []string{"INVITE", "UPDATE"}, store.Alive, true},
		"nothing is left":            {[]reply{unable, status(405), status(405)}, []string{"INVITE", "UPDATE", "OPTIONS"}, store.Unsupported, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(c *Config) { c.Method = Reinvite }, func(t *testing.T, w *world) {
				w.legs.says(store.Callee, inTurn(tt.replies...))
				w.call("c")
				sleep(20 * time.Second)
				if diff := cmp.Diff(tt.methods, w.methods()); diff != "" {
					t.Error(diff)
				}
				h := w.health("c", store.Callee)
				if h.Liveness != tt.liveness || h.LastAlive.IsZero() == tt.alive {
					t.Errorf("%s, last alive %v", h.Liveness, h.LastAlive)
				}
			})
		})
	}
}
