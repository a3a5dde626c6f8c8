package store

// Record is a call detail record as it was written: a line of JSON.
type Record struct {
	Place string // tells it from all others; records that were written later have other places
	Line  []byte
}
