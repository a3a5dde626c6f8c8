//go:build !linux

package nap

import "time"

// Napper waits.
type Napper struct{}

// New returns a Napper, to be closed when it is not needed any more.
func New() *Napper { return &Napper{} }

// Sleep waits for d.
func (*Napper) Sleep(d time.Duration) { time.Sleep(d) }

// Close does nothing.
func (*Napper) Close() {}
