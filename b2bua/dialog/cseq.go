package dialog

import (
	"math"

	"sipvigil/store"
)

// The two distances of a reservation.
const (
	// Block is how many numbers are reserved at a time.
	Block = 16
	// Jump is the distance that a new owner leaves above the stored mark. It
	// covers the numbers that were spent while the store did not answer, and
	// marks that the store acknowledged and lost in a failover.
	Jump = 4096
)

// A dialog's local numbers obey three marks: LocalCSeq is the last number
// spent, LocalMark the highest that the store has acknowledged, LocalAsked the
// highest that it has been asked for. Spending runs ahead of LocalMark when the
// store is slow, but never as far as Jump, so that LocalMark + Jump is above
// everything that a crashed owner can have spent.
//
// LocalCSeq 0 means that nothing has been sent: RFC 3261 section 12.1.1 calls
// the number empty. A leg whose first request is the far end's needs no Start;
// its first Spend gives 1 and asks for the first block. Only LocalMark is
// stored, and the store must never lower it.

// Start prepares the leg for its first request, which takes the number first.
// The first block is stored together with the record, and so counts as
// acknowledged. A first number is at least 1, and below 2^31, as required by
// RFC 3261 section 8.1.1.5: what is above loses its high bit.
func Start(d *store.Dialog, first uint32) {
	first = max(first&math.MaxInt32, 1)
	d.LocalCSeq = first - 1
	d.LocalMark = first - 1 + Block
	d.LocalAsked = d.LocalMark
}

// Spend gives the number of the next request, always one more than the last:
// RFC 3261 section 12.2.1.1. ACK and CANCEL take their INVITE's number and
// spend none. A reserve other than zero is a mark that the store is to cover
// now; the request need not wait for it. It must not be called while
// [Overdrawn].
func Spend(d *store.Dialog) (n, reserve uint32) {
	n = plus(d.LocalCSeq, 1)
	d.LocalCSeq = n
	asked := max(d.LocalAsked, d.LocalMark)
	if asked > n && asked-n > Block/2 {
		return n, 0
	}
	mark := plus(max(asked, n-1), Block)
	if mark == asked {
		return n, 0
	}
	d.LocalAsked = mark
	return n, mark
}

// Covered notes that the store has acknowledged a mark. Acknowledgements may
// come in any order: it never lowers LocalMark.
func Covered(d *store.Dialog, mark uint32) {
	d.LocalMark = max(d.LocalMark, mark)
	d.LocalAsked = max(d.LocalAsked, mark)
}

// Overdrawn says that no number may be spent until a mark is [Covered],
// because a new owner could spend it again. The mark to ask for once more is
// LocalAsked. A leg that has reached the last number of 32 bits stays
// overdrawn; see [Resume].
func Overdrawn(d *store.Dialog) bool {
	return d.LocalCSeq == math.MaxUint32 ||
		uint64(d.LocalCSeq)+1 >= uint64(d.LocalMark)+Jump
}

// Resume prepares a leg that was read back from the store, after a restart or
// a takeover, to go on above every number that may have been used: the far end
// accepts a gap but no lower number, RFC 3261 section 12.2.2. It returns the
// mark to reserve; the leg is [Overdrawn] until that is [Covered].
//
// Numbers are to be below 2^31 by RFC 3261 section 8.1.1.5; inside a dialog
// they count to 2^32 by RFC 3261 section 12.2.1.1. A leg whose first number is
// below 2^30 comes to 2^31 after some 260,000 takeovers. It goes on above, as a
// BYE with a large number is better than none, and ends at 2^32-1, where it
// stays overdrawn.
func Resume(d *store.Dialog) (mark uint32) {
	d.LocalCSeq = plus(d.LocalMark, Jump)
	d.LocalAsked = plus(d.LocalCSeq, Block)
	return d.LocalAsked
}

// Leap goes on higher once more, because the far end has refused the first
// request after [Resume] as one that is old, RFC 3261 section 12.2.2: the stored
// mark had been lost. It returns the mark to reserve, and leaves a [Block] to spend
// until that is [Covered].
func Leap(d *store.Dialog) (mark uint32) {
	d.LocalCSeq = max(d.LocalCSeq, plus(d.LocalMark, Jump-Block))
	d.LocalAsked = max(d.LocalAsked, plus(d.LocalCSeq, Block))
	return d.LocalAsked
}

// plus adds and stays at the highest number instead of starting again at zero.
func plus(n, more uint32) uint32 {
	if n > math.MaxUint32-more {
		return math.MaxUint32
	}
	return n + more
}

// Arrive takes over the number of a request of the far end when it is higher
// than the last, and says whether it is: RFC 3261 section 12.2.2. Gaps are
// allowed. One that is not higher changes nothing and is answered 500. ACK and
// CANCEL carry their INVITE's number, which may be lower by then: they are not
// for Arrive.
//
// RemoteCSeq 0 means that the far end has sent no request, so that any first
// number is higher: RFC 3261 section 12.1.2 calls the number empty. A far end
// whose first number is 0 counts as one that has sent nothing until its second.
func Arrive(d *store.Dialog, n uint32) bool {
	if d.RemoteCSeq != 0 && n <= d.RemoteCSeq {
		return false
	}
	d.RemoteCSeq = n
	return true
}
