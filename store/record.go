package store

import "time"

// Record is a call detail record as it was written: a line of JSON.
type Record struct {
	Place string // tells it from all others; records that were written later have other places
	Line  []byte

	// Written is when the store took it, after all older records. It is zero where
	// records are written as their calls end.
	Written time.Time
}
