package supervisor

// others counts what is no trunk as one: the legs behind each peer, and the peers
// themselves. Where hundreds of phones have an address each, the loss of the
// network to them shows in no other group.
//
// A peer is ill when none behind it answers. One that is held by itself does not
// count, and of each counts half a floor at most, so that it takes more than one
// or two that are dead to hold all the others.
type others struct {
	group
	cfg   *Brake
	peers [3]int // by class, but those apart
	sick  int    // legs of those that are ill, as far as they count
}

func newOthers(cfg *Brake) others { return others{group: *newGroup(peer{trunk: otherTrunk}), cfg: cfg} }

// count counts a group so many times more.
func (o *others) count(g *group, by int) {
	if g.trunk != otherTrunk || g.engaged || g == &o.group {
		return
	}
	for class, legs := range g.legs {
		o.legs[class] += by * legs
	}
	switch is := g.class(); is {
	case ill:
		o.sick += by * min(g.legs[ill], max(1, o.cfg.Floor/2))
		fallthrough
	case well:
		o.peers[is] += by
	}
}

// class is how a peer counts among all that is no trunk.
func (g *group) class() class {
	switch {
	case g.legs[well] > 0:
		return well
	case g.legs[ill] > 0:
		return ill
	default:
		return apart
	}
}

// many says whether a large share of the peers is ill now.
func (o *others) many() bool {
	return o.sick >= o.cfg.Floor && float64(o.peers[ill]) >= o.cfg.Share*float64(o.peers[well]+o.peers[ill])
}
