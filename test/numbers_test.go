package test

import (
	"fmt"

	"sipvigil/test/ua"
)

// rising reports a number that is not above all that came before it. Unlike
// Dialog.CheckCSeq it allows gaps, which a restart makes.
func rising(leg *ua.Dialog) error {
	var last uint32
	for _, r := range leg.Received() {
		if r.Retransmission || r.Method == "ACK" || r.Method == "CANCEL" {
			continue
		}
		if r.CSeq <= last {
			return fmt.Errorf("%s has CSeq %d, after %d", r.Method, r.CSeq, last)
		}
		last = r.CSeq
	}
	return nil
}
