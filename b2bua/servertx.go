package b2bua

import (
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// carrier is what a message came through and its answers leave by: a UDP
// socket, or a connection.
type carrier interface {
	answer(text []byte, to netip.AddrPort) error
	lastCame() time.Time // when the message that is being read came to this host
}

// tryingAfter is how long an INVITE may go without an answer, RFC 3261 section
// 17.2.1.
const tryingAfter = 200 * time.Millisecond

// serverTx is a request that is being served, or was until lately: RFC 3261
// section 17.2, with RFC 6026 section 7.1 for an INVITE that was accepted.
// After its final answer it keeps nothing of the request, and of the answer
// what is needed to send it again.
type serverTx struct {
	of   *transactions
	key  serverKey
	conn carrier
	id   requestID

	mu       sync.Mutex // guards what is below
	state    txState
	req      *received       // until its final answer
	sent     []byte          // the last answer, if it may have to be sent again
	to       netip.AddrPort  // where that went
	interval time.Duration   // until a refusal is sent again
	left     time.Duration   // until it is given up
	onAck    func(*received) // of an INVITE that was accepted

	// Guarded by transactions.mu.
	merged    bool // another one with this id is there
	cancelled bool
	onCancel  func(asked *received)
	tag       string // ours, as in the answer to the request
}

// txState is how far a transaction is.
type txState uint8

const (
	txTrying     txState = iota // nothing has been answered; for a client: calling
	txProceeding                // a provisional answer
	txAccepted                  // an INVITE has its 2xx
	txCompleted                 // another final answer, which may have to be sent again
	txConfirmed                 // the ACK of a refusal came
	txOver
)

func (tx *serverTx) isInvite() bool { return tx.key.method == "INVITE" }

// respond sends an answer. After a final one nothing is sent but the same 2xx
// to an INVITE, which is not repeated by itself: RFC 6026 section 7.1.
func (tx *serverTx) respond(res *response) error {
	status := res.status
	tx.mu.Lock()
	switch {
	case tx.state < txAccepted:
	case tx.state == txAccepted && status >= 200 && status < 300:
	case tx.state == txOver:
		tx.mu.Unlock()
		return sip.ErrTransactionTerminated
	default:
		tx.mu.Unlock()
		return nil
	}
	first := tx.state < txAccepted
	text, to := res.text(), res.to
	_, overUDP := tx.conn.(*packetConn)
	if overUDP || tx.isInvite() && status >= 200 {
		tx.sent, tx.to = text, to
	}
	switch {
	case status < 200:
		tx.state = txProceeding
	case !tx.isInvite():
		tx.state = txCompleted
	case status < 300:
		tx.state = txAccepted
	default:
		tx.state = txCompleted
		tx.interval, tx.left = sip.T1, 64*sip.T1
	}
	state := tx.state
	if state >= txAccepted {
		tx.req = nil
	}
	tx.mu.Unlock()

	err := tx.conn.answer(text, to)
	if state < txAccepted || !first {
		return err
	}
	tx.of.mu.Lock()
	tx.onCancel = nil // RFC 3261 section 9.2: it has no effect any more
	tx.of.mu.Unlock()
	tx.completed(state, overUDP)
	return err
}

// completed has the transaction last for as long as the request may come again,
// or the answer has to be sent again: Timers G, H, J and L.
func (tx *serverTx) completed(state txState, overUDP bool) {
	switch {
	case !tx.isInvite() && !overUDP:
		tx.terminate()
	case state == txCompleted && tx.isInvite() && overUDP:
		tx.of.waits.after(sip.T1, tx, wakeRepeat)
	default:
		tx.of.waits.after(64*sip.T1, tx, wakeForget)
	}
}

// wake implements waker.
func (tx *serverTx) wake(why wake) {
	switch why {
	case wakeTrying:
		tx.mu.Lock()
		req := tx.req
		trying := tx.state == txTrying && req != nil
		tx.mu.Unlock()
		if !trying {
			return
		}
		tx.aside(func() { _ = tx.respond(reply(req, 100, reasonPhrase(100), value(req, "to"))) }) // or it will ask again
	case wakeForget:
		tx.terminate()
	case wakeRepeat:
		tx.repeat()
	}
}

// repeat sends a refusal again until its ACK comes, Timer G, or gives up, Timer
// H.
func (tx *serverTx) repeat() {
	tx.mu.Lock()
	if tx.state != txCompleted {
		tx.mu.Unlock()
		return
	}
	tx.left -= tx.interval
	tx.interval = min(2*tx.interval, sip.T2, tx.left)
	next := tx.interval
	tx.mu.Unlock()
	if next <= 0 {
		tx.terminate()
		return
	}
	tx.resend()
	tx.of.waits.after(next, tx, wakeRepeat)
}

func (tx *serverTx) resend() {
	tx.mu.Lock()
	sent, to := tx.sent, tx.to
	tx.mu.Unlock()
	if sent != nil {
		tx.aside(func() { _ = tx.conn.answer(sent, to) }) // or it is sent again
	}
}

// aside has a timer, or who reads a socket, send an answer: a far end that does
// not read its connection must not hold them up.
func (tx *serverTx) aside(say func()) {
	if _, overUDP := tx.conn.(*packetConn); overUDP {
		say()
		return
	}
	tx.of.arrivals.work.Go(say)
}

// receive takes the request once more, or the ACK of an INVITE.
func (tx *serverTx) receive(req *received) {
	tx.mu.Lock()
	state, onAck := tx.state, tx.onAck
	if req.isAck() && state == txCompleted {
		tx.state = txConfirmed
	}
	tx.mu.Unlock()
	switch {
	case !req.isAck():
		if state == txProceeding || state == txCompleted {
			tx.resend()
		}
	case state == txAccepted && onAck != nil:
		onAck(req)
	case state == txCompleted:
		if _, overUDP := tx.conn.(*packetConn); overUDP {
			tx.of.waits.after(sip.T4, tx, wakeForget) // Timer I
		} else {
			tx.terminate()
		}
	}
}

// listenAck has ACKs with the INVITE's own branch reported, which is how RFC
// 2543 peers acknowledge a 2xx; nil for none any more.
func (tx *serverTx) listenAck(f func(ack *received)) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.onAck = f
}

// terminate forgets the transaction.
func (tx *serverTx) terminate() {
	tx.mu.Lock()
	over := tx.state == txOver
	tx.state, tx.req, tx.sent, tx.onAck = txOver, nil, nil, nil
	tx.mu.Unlock()
	if over {
		return
	}
	t := tx.of
	t.mu.Lock()
	if t.servers[tx.key] == tx {
		delete(t.servers, tx.key)
	}
	tx.onCancel = nil
	t.lose(tx)
	t.slim()
	t.mu.Unlock()
}
