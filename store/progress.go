package store

import "time"

// Progress is how far something is that takes a while.
type Progress struct {
	ID    string
	Node  string // which does it
	What  Task
	Of    string // what it is done to: a node, a batch, a trunk
	Done  int    // calls
	Total int    // of so many, 0 while that is not known
	Began time.Time
	Ended time.Time // zero while it goes on
}

// Task is a kind of thing that takes a while.
type Task string

// The values of Task.
const (
	TaskStart    Task = "start"    // the calls of an earlier run of a node are read back
	TaskAdoption Task = "adoption" // those of a node that is gone are gone on with
	TaskHangup   Task = "hangup"   // those of a batch are ended
	TaskRelease  Task = "release"  // those that the brake holds are ended
	TaskDrain    Task = "drain"    // those of a node or a trunk are waited for
)
