package b2bua

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// clientTx is a request of ours that waits for its answer, RFC 3261 section
// 17.1, and an INVITE for a while longer, RFC 6026 section 7.2.
type clientTx struct {
	of     *transactions
	key    clientKey
	conn   outlet // nil until the request goes out
	callID string

	mu         sync.Mutex // guards what is below
	state      txState
	waited     bool          // each and failed are set, or never will be
	awaited    chan struct{} // closed then, nil if nobody waits for that
	out        *request      // until the final answer
	each       func(*received)
	failed     func(error)
	onRepeated func(*received)
	ack        *request      // of a refusal
	heard      bool          // a final response is here, or to an INVITE any: nothing is sent again
	interval   time.Duration // until it is sent again
	left       time.Duration // until it is given up
	err        error         // why it ended
}

// outlet is what a request leaves by: a UDP socket, or a connection.
type outlet interface{ put(r *request) error }

// errNoAnswer ends a transaction that got none in time: Timers B and F.
var errNoAnswer = fmt.Errorf("no answer: %w", sip.ErrTransactionTimeout)

// start sends the request, once there is what it leaves by, and again until
// there is an answer.
func (tx *clientTx) start() error {
	out, interval := tx.out, 64*sip.T1
	if out.transport == "udp" {
		interval = sip.T1
	}
	tx.mu.Lock()
	tx.interval, tx.left = interval, 64*sip.T1
	tx.mu.Unlock()
	tx.of.waits.after(interval, tx, wakeRepeat)
	if out.socket != nil {
		return tx.leave(out.socket)
	}
	conn, err := tx.of.outlet(out, tx.opened)
	if conn == nil {
		return err
	}
	return tx.leave(conn)
}

// opened goes on with a request that waited for its connection.
func (tx *clientTx) opened(conn *stream, err error) {
	if err == nil {
		err = tx.leave(conn)
	}
	if err != nil {
		tx.end(err)
	}
}

// leave sends the request for the first time, unless it has been given up.
func (tx *clientTx) leave(conn outlet) error {
	tx.mu.Lock()
	out := tx.out
	tx.conn = conn
	tx.mu.Unlock()
	if out == nil {
		return nil
	}
	if err := conn.put(out); err != nil {
		return fmt.Errorf("%w: %w", err, sip.ErrTransactionTransport)
	}
	return nil
}

func (tx *clientTx) isInvite() bool { return tx.key.method == "INVITE" }

// wake implements waker.
func (tx *clientTx) wake(why wake) {
	if why == wakeForget {
		tx.end(sip.ErrTransactionTerminated)
		return
	}
	tx.mu.Lock()
	if tx.heard || tx.state > txProceeding {
		tx.mu.Unlock()
		return
	}
	out := tx.out
	tx.left -= tx.interval
	tx.interval *= 2
	if !tx.isInvite() { // Timer E; Timer A doubles on
		tx.interval = min(tx.interval, sip.T2)
		if tx.state == txProceeding {
			tx.interval = sip.T2 // RFC 3261 section 17.1.2.2
		}
	}
	tx.interval = min(tx.interval, tx.left)
	next := tx.interval
	tx.mu.Unlock()
	if next <= 0 {
		tx.end(errNoAnswer)
		return
	}
	if err := tx.conn.put(out); err != nil {
		tx.end(fmt.Errorf("%w: %w", err, sip.ErrTransactionTransport))
		return
	}
	tx.of.waits.after(next, tx, wakeRepeat)
}

// hear notes a response as soon as it has its place: to serve it may take its
// time, and the request is not to go out again meanwhile.
func (tx *clientTx) hear(status int) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if status >= 200 || tx.isInvite() {
		tx.heard = true
	} else if tx.state == txTrying {
		tx.state = txProceeding
	}
}

// receive serves a response, in turn with the other messages of its Call-ID.
func (tx *clientTx) receive(res *received) {
	tx.mu.Lock()
	if !tx.waited { // it is faster than who asked
		tx.awaited = cmp.Or(tx.awaited, make(chan struct{}))
		awaited := tx.awaited
		tx.mu.Unlock()
		<-awaited
		tx.mu.Lock()
	}
	each, onRepeated, ack := tx.each, tx.onRepeated, tx.ack
	was := tx.state
	switch {
	case was > txProceeding:
	case res.status < 200:
		tx.state = txProceeding
	case !tx.isInvite():
		tx.state = txCompleted
	case res.status < 300:
		tx.state, tx.out = txAccepted, nil
	default:
		tx.state = txCompleted
		tx.ack = tx.out.refusedAck(res)
		ack, tx.out = tx.ack, nil
	}
	state := tx.state
	tx.mu.Unlock()

	switch {
	case was == txOver:
		tx.of.onStray(res) // it was given up while this waited
		return
	case was == txAccepted:
		if onRepeated != nil && res.status < 300 && res.status >= 200 {
			onRepeated(res)
		}
		return
	case tx.isInvite() && state == txCompleted:
		if res.status >= 300 {
			_ = tx.conn.put(ack) // or the refusal comes again
		}
		if was == txCompleted {
			return
		}
	case was == txCompleted:
		return
	}
	if state >= txAccepted && tx.isInvite() {
		if _, overUDP := tx.conn.(*packetConn); overUDP || state == txAccepted {
			tx.of.waits.after(64*sip.T1, tx, wakeForget) // Timers D and M
		} else {
			defer tx.end(sip.ErrTransactionTerminated)
		}
	}
	if state == txCompleted && !tx.isInvite() {
		defer tx.end(sip.ErrTransactionTerminated) // what comes later is a repetition
	}
	if each != nil {
		each(res)
	}
}

// onRetransmission has repeated 2xx to an INVITE reported.
func (tx *clientTx) onRetransmission(f func(*received)) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.onRepeated = f
}

// await is [Agent.await].
func (tx *clientTx) await(each func(*received), failed func(error)) {
	tx.mu.Lock()
	tx.each, tx.failed = each, failed
	over, err := tx.state == txOver, tx.err
	tx.listening()
	tx.mu.Unlock()
	if over {
		tx.tell(failed, err)
	}
}

// listening lets those go on that have a response for each. Called locked.
func (tx *clientTx) listening() {
	if tx.awaited != nil && !tx.waited {
		close(tx.awaited)
	}
	tx.waited = true
}

// terminate gives the request up: no answer is awaited any more.
func (tx *clientTx) terminate() { tx.end(sip.ErrTransactionTerminated) }

func (tx *clientTx) end(err error) {
	tx.mu.Lock()
	was, failed := tx.state, tx.failed
	if was == txOver {
		tx.mu.Unlock()
		return
	}
	tx.state, tx.err = txOver, err
	tx.out, tx.each, tx.failed, tx.onRepeated, tx.ack = nil, nil, nil, nil, nil
	tx.listening()
	tx.mu.Unlock()
	t := tx.of
	t.mu.Lock()
	if t.clients[tx.key] == tx {
		delete(t.clients, tx.key)
		t.slim()
	}
	t.mu.Unlock()
	if was <= txProceeding {
		tx.tell(failed, err)
	}
}

// tell says why there is no final response, in turn, because one may be on the
// way.
func (tx *clientTx) tell(failed func(error), err error) {
	if failed == nil {
		return
	}
	tx.of.arrivals.add(tx.callID, func() {
		if !tx.of.closing.Load() {
			failed(err)
		}
	})
}
