package store

import (
	"strings"
	"time"
)

// Query selects calls. The zero Query selects every call that goes on.
type Query struct {
	State    State
	Liveness Liveness
	Trunk    string        // in or out
	Number   string        // part of either leg's URI, or a whole Call-ID
	Held     bool          // only those that go on although silent; a store does not know which: see Local
	Node     string        // only calls of this node
	NotNode  string        // only calls of other nodes
	Older    time.Duration // only calls started at least this long ago
	Sort     Sort          // not for stores: these know the default only
	Limit    int           // 0 = 100
	Cursor   string        // Next of the page before
}

// Sort is an order of calls.
type Sort string

// The values of Sort.
const (
	Oldest Sort = ""          // by id, which is by start
	Newest Sort = "-started"  // the same, backwards
	Worst  Sort = "-liveness" // the worst liveness first, then by id
)

// Page is part of a list, in the order of call ids, which is that of time,
// unless another was asked for.
type Page struct {
	Calls []Call
	Next  string // empty at the end
}

// Local says whether only the node that has the calls, or had them, knows which
// they are: those that go on although silent, and those that ended lately.
func (q Query) Local() bool { return q.Held || q.State == Terminated }

// Match says whether a call is among those selected. It ignores Limit and
// Cursor.
func (q Query) Match(c *Call, now time.Time) bool {
	switch {
	case q.State == "" && c.State == Terminated,
		q.State != "" && c.State != q.State,
		q.Liveness != "" && c.Liveness() != q.Liveness,
		q.Held && c.Legs[Caller].Held == "" && c.Legs[Callee].Held == "",
		q.Trunk != "" && c.TrunkIn != q.Trunk && c.TrunkOut != q.Trunk,
		q.Node != "" && c.Node != q.Node,
		q.NotNode != "" && c.Node == q.NotNode,
		q.Older > 0 && now.Sub(c.Started) < q.Older,
		q.Number != "" && !c.concerns(q.Number):
		return false
	}
	return true
}

// concerns says whether a number or Call-ID belongs to the call.
func (c *Call) concerns(s string) bool {
	for i := range c.Legs {
		d := &c.Legs[i].Dialog
		if d.CallID == s || strings.Contains(d.RemoteURI, s) || strings.Contains(d.LocalURI, s) {
			return true
		}
	}
	return false
}

// PageLimit is Limit with its default, at most 1000.
func (q Query) PageLimit() int {
	switch {
	case q.Limit <= 0:
		return 100
	case q.Limit > 1000:
		return 1000
	default:
		return q.Limit
	}
}
