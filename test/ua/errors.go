package ua

import (
	"errors"
	"fmt"
)

// Errors that a script tells apart.
var (
	// ErrTimeout says that no final answer came within 64*T1 (Timer B or F of
	// RFC 3261 section 17), or no PRACK.
	ErrTimeout = errors.New("no answer in time")
	// ErrClosed says that the phone was closed meanwhile.
	ErrClosed = errors.New("phone is closed")
	// ErrOver says that the call or the invitation has ended already.
	ErrOver = errors.New("call is over")
)

// StatusError is a call that was answered with a final response of 300 or above.
type StatusError struct {
	Status   int
	Reason   string
	Response *Message
}

// Error names status and reason.
func (e *StatusError) Error() string { return fmt.Sprintf("answered %d %s", e.Status, e.Reason) }
