package ua

import (
	"fmt"
)

// sequence checks the far end's CSeq numbers as they come: RFC 3261 section
// 12.2.1.1. It is not safe for concurrent use.
type sequence struct {
	last    uint32 // highest number so far
	started bool
	fault   error    // the first violation
	recent  [32]seen // the last transactions, to know a retransmission
	next    int
}

// seen is a request that came; delivered says that the filter let it through.
type seen struct {
	transaction string
	delivered   bool
}

// see takes in a request, also one that the filter drops. The result is shared
// by all transmissions of the request and good until the next call.
func (s *sequence) see(m *Message) *seen {
	number, method := m.CSeq()
	transaction := fmt.Sprint(m.Branch(), " ", number, " ", method)
	for i := range s.recent {
		if s.recent[i].transaction == transaction {
			return &s.recent[i]
		}
	}
	s.count(number, method)
	fresh := &s.recent[s.next]
	*fresh = seen{transaction: transaction}
	s.next = (s.next + 1) % len(s.recent)
	return fresh
}

// count compares the number of a new request with the one before it.
func (s *sequence) count(number uint32, method string) {
	if method == "ACK" || method == "CANCEL" {
		if s.fault == nil && s.started && number > s.last {
			s.fault = fmt.Errorf("%s has CSeq %d, no INVITE had it", method, number)
		}
		return
	}
	if s.fault == nil && s.started && number != s.last+1 {
		s.fault = fmt.Errorf("%s has CSeq %d, the request before it %d", method, number, s.last)
	}
	s.started, s.last = true, max(s.last, number)
}
