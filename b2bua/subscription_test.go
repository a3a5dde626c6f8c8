package b2bua

import (
	"strconv"
	"testing"
)

func TestNoMoreCallsLingerThanAreAllowed(t *testing.T) {
	a := &Agent{cfg: Default(), lingering: make(map[string]*call)}
	var calls []*call
	for i := range mostLingering + 1 {
		c := &call{agent: a, id: strconv.Itoa(i), end: &ending{}, subscriptions: []*subscription{{event: "refer"}}}
		c.linger()
		calls = append(calls, c)
	}
	if n := len(a.lingering); n != mostLingering || a.callOf(strconv.Itoa(mostLingering)) != nil {
		t.Errorf("%d calls linger, want %d", n, mostLingering)
	}
	for _, c := range calls {
		c.unsubscribed(c.subscriptions[0])
		if c.end.farewell != nil {
			t.Errorf("call %s has a timer left", c.id)
		}
	}
	if n := len(a.lingering); n != 0 {
		t.Errorf("%d calls linger without a subscription", n)
	}
}
