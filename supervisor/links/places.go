package links

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// found takes the addresses of a target. Those that it has had go on as they
// are; when a look-up fails it keeps them all.
func (l *Links) found(g *target, at []Place, until time.Time, err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.nudge()
	g.asking = false
	if err != nil {
		g.due = now.Add(failHold)
		if g.fault != err.Error() {
			g.fault = err.Error()
			l.log.Info("addresses of a trunk cannot be looked up", zap.String("trunk", g.trunk.Name),
				zap.String("target", g.uri), zap.Error(err))
		}
		l.sum(g.trunk, now)
		return
	}
	g.fault = ""
	g.due = latest(until, now.Add(leastHold))
	if until.IsZero() {
		g.due = now.Add(idle)
	}
	g.at = at
	g.trunk.place(func(g *target, p Place) *link {
		return &link{
			health: newHealth(now), target: g, place: p,
			due: now.Add(time.Duration(l.random() * float64(firstWait))),
		}
	})
	l.sum(g.trunk, now)
}

// place makes the links of a trunk those that its targets lead to now, each once.
// One that is there already goes on as it is, and stays with its target as long as
// that leads there. Called locked.
func (t *trunk) place(add func(*target, Place) *link) {
	var all []*link
	for _, g := range t.targets {
		for _, p := range g.at {
			k := find(t.links, p)
			switch {
			case find(all, p) != nil:
				continue
			case k == nil:
				k = add(g, p)
			case k.target != g && slices.Contains(k.target.at, p):
				continue
			}
			k.target = g
			all = append(all, k)
		}
	}
	for _, k := range t.links {
		k.gone = find(all, k.place) == nil
	}
	t.links = all
}

// find is the link to a place, nil if there is none.
func find(links []*link, p Place) *link {
	i := slices.IndexFunc(links, func(k *link) bool { return p == k.place })
	if i < 0 {
		return nil
	}
	return links[i]
}

// of are the links of one target. Called locked.
func (t *trunk) of(g *target) []*link {
	var list []*link
	for _, k := range t.links {
		if k.target == g {
			list = append(list, k)
		}
	}
	return list
}

// changed tells of an address whose state is another one now, and of its trunk.
// Called locked.
func (l *Links) changed(k *link, was State, why string, now time.Time) {
	if k.state == was {
		return
	}
	t := k.target.trunk
	l.metrics.changed(t.Name, k.state)
	l.log.Info("link has changed", zap.String("trunk", t.Name), zap.String("state", string(k.state)), zap.String("target", k.target.uri),
		zap.String("transport", k.place.Transport), zap.Stringer("addr", k.place.Addr), zap.String("was", string(was)),
		zap.String("reason", why))
	l.sum(t, now)
}

// sum works out the state of a trunk. Called locked.
func (l *Links) sum(t *trunk, now time.Time) {
	was := t.state
	if t.state = t.sum(); t.state == was {
		return
	}
	t.since = now
	l.log.Info("trunk has changed", zap.String("trunk", t.Name), zap.String("state", string(t.state)), zap.String("was", string(was)))
}

// sum is up when no address is down and one at least is up. A target without
// an address counts as down.
func (t *trunk) sum() State {
	up, down, unknown := 0, 0, 0
	for _, k := range t.links {
		switch k.state {
		case Up:
			up++
		case Down:
			down++
		default:
			unknown++
		}
	}
	for _, g := range t.targets {
		if g.fault != "" && len(t.of(g)) == 0 {
			down++
		}
	}
	switch {
	case down > 0 && up+unknown == 0:
		return Down
	case down > 0:
		return Partial
	case up > 0:
		return Up
	default:
		return Unknown
	}
}
