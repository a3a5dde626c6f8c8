package ua

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Incoming is a call that waits for an answer. Nothing but 100 Trying is sent
// before the script says so.
type Incoming struct {
	// Request is the INVITE.
	Request *Message

	tx        *serverTx
	dialog    *Dialog
	cancelled chan struct{}
	release   func() // closes cancelled

	mu      sync.Mutex
	rseq    uint32
	pending map[string]chan struct{} // reliable responses without PRACK, by the RAck that they wait for
}

// invite takes in an INVITE that starts a call.
func (p *Phone) invite(tx *serverTx) {
	m := tx.request
	number, _ := m.CSeq()
	in := &Incoming{Request: m, tx: tx, cancelled: make(chan struct{}), pending: make(map[string]chan struct{})}
	in.release = sync.OnceFunc(func() { close(in.cancelled) })
	d := &Dialog{
		CallID:     m.CallID(),
		LocalTag:   rand.Text(),
		RemoteTag:  m.FromTag(),
		LocalURI:   addressURI(m.Get("To")),
		RemoteURI:  addressURI(m.Get("From")),
		incoming:   in,
		remoteCSeq: number,
		routes:     m.Values("Record-Route"),
	}
	in.dialog = p.newDialog(d)
	d.retarget(m)
	tx.dialog.Store(d)
	d.record(m)
	tx.respond(tx.response(Reply{Status: 100}), nil)
	if handle := p.handler.Load(); handle != nil {
		p.tasks.start(func() { (*handle)(in) })
		return
	}
	select {
	case p.invited <- in:
	default:
		in.Reject(486, "")
	}
}

// Dialog is the call's dialog, which is early until Accept.
func (in *Incoming) Dialog() *Dialog { return in.dialog }

// Cancelled is closed when the caller cancels, which is answered with 487 at
// once, and when the phone is closed.
func (in *Incoming) Cancelled() <-chan struct{} { return in.cancelled }

// Ring sends a provisional response without a body.
func (in *Incoming) Ring(status int, headers ...Header) {
	in.Progress(status, "", headers...)
}

// Progress sends a provisional response, with early media if sdp is not empty.
func (in *Incoming) Progress(status int, sdp string, headers ...Header) {
	in.dialog.setSDP(sdp)
	in.tx.reply(Reply{Status: status, Headers: headers, Body: sdp})
}

// Accept answers the call with 200 and returns its dialog without waiting for
// the ACK (see Dialog.Confirmed). Without one for 64*T1 the phone hangs up. It
// fails with ErrOver when the call was answered, rejected or cancelled before.
func (in *Incoming) Accept(sdp string, headers ...Header) (*Dialog, error) {
	select {
	case <-in.dialog.phone.gone:
		return nil, fmt.Errorf("accepting call %s: %w", in.dialog.CallID, ErrClosed)
	default:
	}
	if !in.dialog.accept(in.tx, Reply{Status: 200, Headers: headers, Body: sdp}) {
		return nil, fmt.Errorf("accepting call %s: %w", in.dialog.CallID, ErrOver)
	}
	return in.dialog, nil
}

// Reject refuses the call. An empty reason is the usual phrase. It does nothing
// when the call is over.
func (in *Incoming) Reject(status int, reason string, headers ...Header) {
	response := in.tx.response(Reply{Status: status, Reason: reason, Headers: headers})
	if in.tx.respond(response, nil) {
		in.dialog.finish(End{By: ByUs, Cause: response})
	}
}

// cancel is the caller's CANCEL.
func (in *Incoming) cancel() {
	// First the response, so that who waits for Cancelled finds the call over.
	if in.tx.respond(in.tx.response(Reply{Status: 487}), nil) {
		in.dialog.finish(End{By: ByPeer, Cause: in.Request})
		in.release()
	}
}

// RingReliably sends a provisional response that asks for PRACK, repeats it and
// returns when the PRACK came: RFC 3262 section 3. It fails with ErrTimeout after
// 64*T1, and with ErrOver when the caller cancels first.
func (in *Incoming) RingReliably(ctx context.Context, status int, sdp string, headers ...Header) error {
	p := in.dialog.phone
	number, _ := in.Request.CSeq()
	in.mu.Lock()
	in.rseq++
	rack := fmt.Sprintf("%d %d INVITE", in.rseq, number)
	acknowledged := make(chan struct{})
	in.pending[rack] = acknowledged
	headers = append([]Header{H("Require", "100rel"), H("RSeq", fmt.Sprint(in.rseq))}, headers...)
	in.mu.Unlock()

	in.dialog.setSDP(sdp)
	response := in.tx.response(Reply{Status: status, Headers: headers, Body: sdp})
	if !in.tx.respond(response, nil) {
		return fmt.Errorf("ringing in call %s: %w", in.dialog.CallID, ErrOver)
	}
	again := newRepeater(p)
	defer again.stop()
	deadline := time.NewTimer(p.timeout())
	defer deadline.Stop()
	for {
		select {
		case <-acknowledged:
			return nil
		case <-again.due():
			in.tx.send(response)
			again.next(p.timeout())
		case <-deadline.C:
			return fmt.Errorf("waiting for PRACK: %w", ErrTimeout)
		case <-in.cancelled:
			return fmt.Errorf("waiting for PRACK: %w", ErrOver)
		case <-ctx.Done():
			return fmt.Errorf("waiting for PRACK: %w", context.Cause(ctx))
		}
	}
}

// pracked takes in a PRACK. It reports false when no response waits for it.
func (in *Incoming) pracked(m *Message) bool {
	rack := strings.Join(strings.Fields(m.Get("RAck")), " ")
	in.mu.Lock()
	defer in.mu.Unlock()
	acknowledged := in.pending[rack]
	if acknowledged == nil {
		return false
	}
	delete(in.pending, rack)
	close(acknowledged)
	return true
}
