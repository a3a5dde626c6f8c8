package store

import "time"

// Node is one of the processes that share a store.
type Node struct {
	Name  string
	State NodeState
	Epoch int64      // under which it holds its lease
	Since time.Time  // when this run of it began
	Seen  time.Time  // when it last renewed its lease
	Calls int        // that it owned then
	Addr  string     // where its SIP is reached by the other nodes
	Tally Tally      // how its calls fared then
	Doing []Progress // what takes a while, as it was then
}

// Tally is how many calls of a node fare how.
type Tally struct {
	PerSecond float64 // calls that began, a second, over the last few
	Live      int     // confirmed calls of which both far ends answer
	Suspect   int     // of which one does not, or does not know the call
	Unproven  int     // of which one was not asked yet, or never answers
	Held      int     // that silence would have ended, but for the brake
	Reclaimed int     // channels of trunks given back today (UTC) because a far end was found dead
}

// NodeState is how a node fares.
type NodeState string

// The values of NodeState.
const (
	NodeUp       NodeState = "up"       // holds its lease
	NodeDraining NodeState = "draining" // is about to stop and takes no new calls
	NodeLeft     NodeState = "left"     // has stopped in order: its calls are free at once
	NodeDead     NodeState = "dead"     // did not renew its lease
)

// Live says whether the node may own calls.
func (n *Node) Live() bool { return n.State == NodeUp || n.State == NodeDraining }
