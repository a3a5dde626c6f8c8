package supervisor

// Follower is told what changes, to show it to people. Its methods return at
// once and call none of the Supervisor, whose lock may be held.
type Follower interface {
	// Changed says that a call of this node has come to another state, or that
	// its liveness is another.
	Changed(id string)
	// Heard says that something smaller happened to a call: a probe was answered
	// or missed, a far end showed itself.
	Heard(id string)
	// Ended tells of the end of a call. Nothing more is said about it.
	Ended(r *CDR)
	// Left says that a call does not belong to this node any more, and goes on.
	Left(id string)
	// Braked says that the brake begins to hold calls for a reason, or no more.
	Braked(b Braking, engaged bool)
}

// Follow has f told of all changes from now on. It is called before the first
// call.
func (s *Supervisor) Follow(f Follower) { s.follower = f }

// Braking is why the brake holds calls whose legs are silent.
type Braking struct {
	Reason string // stall, trunk, peer or rate, as in the metrics
	Trunk  string // that does not answer, or behind which too many are silent
	Peer   string // the same for what is no trunk, empty for all of that
	Ill    int    // legs behind it that do not answer
	Legs   int    // that are judged there
	Text   string // what was wrong with this process
}

func (n *news) braking() Braking {
	return Braking{Reason: brakeReasons[n.reason], Trunk: n.peer.trunk, Peer: n.peer.host, Ill: n.ill, Legs: n.legs, Text: n.text}
}

// unfollowed is the Follower before there is one.
type unfollowed struct{}

func (unfollowed) Changed(string)       {}
func (unfollowed) Heard(string)         {}
func (unfollowed) Ended(*CDR)           {}
func (unfollowed) Left(string)          {}
func (unfollowed) Braked(Braking, bool) {}
