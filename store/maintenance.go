package store

import (
	"cmp"
	"time"
)

// Scope is what may be in maintenance.
type Scope string

// The values of Scope.
const (
	ScopeTrunk Scope = "trunk"
	ScopeNode  Scope = "node"
)

// Maintenance says that a trunk, or a node, takes no new calls. Those that go on
// are left alone.
type Maintenance struct {
	Scope Scope
	Name  string // of the trunk or the node
	Drain bool   // somebody waits for its calls to end
	Since time.Time
}

// CompareMaintenance sorts by scope, then by name.
func CompareMaintenance(a, b Maintenance) int {
	return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Name, b.Name))
}
