package b2bua

import (
	"math/rand/v2"
	"slices"

	"sipvigil/store"
)

// inOrder is the order in which the trunks of a route are listed.
func inOrder(r *Route) []string { return r.To }

// choose is the order in which a call tries the trunks of a route.
func (a *Agent) choose(r *Route) []string {
	switch r.Choose {
	case ChooseWeight:
		return a.byWeight(r)
	case ChooseFree:
		return a.byFree(r)
	default:
		return inOrder(r)
	}
}

// byWeight draws one trunk after the other, each by its share of the weights that
// are left, as RFC 2782 does for services.
func (a *Agent) byWeight(r *Route) []string {
	draw := a.cfg.Draw
	if draw == nil {
		draw = rand.IntN
	}
	names, weights := slices.Clone(r.To), slices.Clone(r.Weights)
	for first := range names {
		sum := 0
		for _, w := range weights[first:] {
			sum += w
		}
		if sum == 0 {
			break // as they are listed
		}
		at, n := first, draw(sum)
		for ; n >= weights[at]; at++ {
			n -= weights[at]
		}
		name, weight := names[at], weights[at]
		copy(names[first+1:at+1], names[first:at])
		copy(weights[first+1:at+1], weights[first:at])
		names[first], weights[first] = name, weight
	}
	return names
}

// byFree puts the trunk first that has the most channels left, as far as this
// node knows.
func (a *Agent) byFree(r *Route) []string {
	left := make(map[string]int, len(r.To))
	for _, name := range r.To {
		if t := a.limited(name); t != nil {
			left[name] = a.cfg.Channels.Left(name, store.Callee)
		}
	}
	names := slices.Clone(r.To)
	slices.SortStableFunc(names, func(x, y string) int { return left[y] - left[x] })
	return names
}
