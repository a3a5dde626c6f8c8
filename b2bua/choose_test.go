package b2bua

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sipvigil/store"
)

func TestTrunksComeFirstByTheirShareOfTheWeights(t *testing.T) {
	r := &Route{To: []string{"a", "b", "c", "d"}, Weights: []int{70, 30, 0, 0}, Choose: ChooseWeight}
	for _, c := range []struct {
		draws []int
		want  string
	}{
		{[]int{0, 0}, "a b c d"},
		{[]int{69, 29}, "a b c d"},
		{[]int{70, 0}, "b a c d"},
		{[]int{99, 69}, "b a c d"},
	} {
		a := &Agent{}
		draws := slices.Clone(c.draws)
		a.cfg.Draw = func(n int) int {
			d := draws[0]
			draws = draws[1:]
			if d >= n {
				t.Errorf("draw below %d, want at least %d", n, d+1)
			}
			return d
		}
		if got := strings.Join(a.choose(r), " "); got != c.want {
			t.Errorf("draws %v: %s, want %s", c.draws, got, c.want)
		}
	}
	if got := strings.Join(r.To, " "); got != "a b c d" {
		t.Errorf("the route itself has changed: %s", got)
	}
}

func TestWeightsHoldOverManyCalls(t *testing.T) {
	r := &Route{To: []string{"a", "b", "c"}, Weights: []int{1, 2, 7}, Choose: ChooseWeight}
	a, n := &Agent{}, 0
	a.cfg.Draw = func(most int) int { n++; return n * 7919 % most } // evenly spread
	first := make(map[string]int)
	for range 10_000 {
		first[a.choose(r)[0]]++
	}
	for name, want := range map[string]int{"a": 1000, "b": 2000, "c": 7000} {
		if got := first[name]; got < want*9/10 || got > want*11/10 {
			t.Errorf("%s came first %d times, want about %d", name, got, want)
		}
	}
}

// left is how many channels each trunk has.
type left map[string]int

func (left) Claim(store.Claim) (store.Grant, error) { return store.Grant{}, nil }
func (left) Free(string, store.Side, string)        {}
func (l left) Left(trunk string, _ store.Side) int  { return l[trunk] }

func TestTheTrunkWithTheMostFreeChannelsComesFirst(t *testing.T) {
	r := &Route{To: []string{"a", "b", "c"}, Choose: ChooseFree}
	for want, l := range map[string]left{
		"a b c": {},
		"b c a": {"a": 1, "b": 9, "c": 9},
		"c a b": {"a": 2, "b": 1, "c": 3},
	} {
		a := &Agent{}
		a.cfg.Channels = l
		for _, name := range r.To {
			a.cfg.Trunks = append(a.cfg.Trunks, Trunk{Name: name, Limit: store.Limit{Out: 10}})
		}
		if got := strings.Join(a.choose(r), " "); got != want {
			t.Errorf("%s: %s, want %s", fmt.Sprint(l), got, want)
		}
	}
}
