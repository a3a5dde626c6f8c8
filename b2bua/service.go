package b2bua

import (
	"strconv"
	"time"
)

// Service is what new calls from a trunk get. The zero Service takes them.
type Service struct {
	Status     int           // that they are refused with, 0: they are taken
	RetryAfter time.Duration // said along with it, 0: nothing is said
	Why        string        // label of a metric
	Mute       bool          // OPTIONS from there get no answer at all
}

// storeAway refuses calls while the store cannot be reached, where that is
// configured.
var storeAway = fault{503, "Store Not Reachable", []string{"Retry-After", "10"}}

// refusal is why a new call from this trunk is refused, whatever it asks for, or
// nil; why is a metric's label. OPTIONS gets the same.
func (a *Agent) refusal(trunk string) (f *fault, why string) {
	if a.draining.Load() {
		return &fault{503, "Stopping", []string{"Retry-After", "10"}}, "draining"
	}
	if a.cfg.RejectDown && !a.store.Status().Reachable {
		return &storeAway, "store"
	}
	s := a.service(trunk)
	if s.Status == 0 {
		return nil, ""
	}
	f = &fault{status: s.Status}
	if s.RetryAfter > 0 {
		f.header = []string{"Retry-After", strconv.Itoa(int((s.RetryAfter + time.Second - 1) / time.Second))}
	}
	return f, s.Why
}

func (a *Agent) service(trunk string) Service {
	if a.cfg.Service == nil {
		return Service{}
	}
	return a.cfg.Service(trunk)
}
