package ua

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// dialogID names a dialog as the phone sees it: RFC 3261 section 12.
type dialogID struct {
	callID, localTag, remoteTag string
}

// Dialog is one dialog, from its first response on. All its methods may be
// called concurrently, but requests of concurrent calls go out in any order.
type Dialog struct {
	CallID    string
	LocalTag  string
	RemoteTag string
	LocalURI  string // our From (or To) without the tag
	RemoteURI string

	phone    *Phone
	incoming *Incoming // the invitation that made it; nil when we called
	journal  journal
	scripts  scripts
	silent   atomic.Bool
	ended    chan struct{}

	confirmed chan struct{} // closed by confirm
	confirm   func()

	order sync.Mutex // from taking a number until its request is out: numbers leave in order

	mu           sync.Mutex
	localCSeq    uint32
	remoteCSeq   uint32
	remoteTarget string
	through      netip.AddrPort // where requests go whatever the target and routes say, if valid
	routes       []string
	sdp          string
	check        sequence
	unacked      map[uint32]*serverTx // INVITEs answered with 2xx, by CSeq
	inviting     bool                 // a re-INVITE of ours waits for its answer
	leaving      bool                 // our BYE is out
	forgotten    bool
	end          *End
}

// Party says who ended a dialog.
type Party string

// The parties.
const (
	ByUs     Party = "us"
	ByPeer   Party = "peer"
	NoACK    Party = "no ACK"   // our 2xx was never acknowledged
	Vanished Party = "vanished" // the phone was closed
)

// End says how a dialog ended.
type End struct {
	By     Party
	Reason string   // the Reason header of the peer's BYE
	Cause  *Message // the peer's BYE or CANCEL, or the response that refused the call; nil otherwise
	At     time.Time
}

func (d *Dialog) id() dialogID { return dialogID{d.CallID, d.LocalTag, d.RemoteTag} }

// newDialog registers a dialog.
func (p *Phone) newDialog(d *Dialog) *Dialog {
	d.phone = p
	d.journal.keep = p.cfg.History
	d.ended = make(chan struct{})
	d.confirmed = make(chan struct{})
	d.confirm = sync.OnceFunc(func() { close(d.confirmed) })
	d.unacked = make(map[uint32]*serverTx)
	p.mu.Lock()
	p.dialogs[d.id()] = d
	p.mu.Unlock()
	select {
	case <-p.gone: // Close may have looked at the dialogs already
		d.finish(End{By: Vanished})
	default:
	}
	return d
}

// dialogOf finds the dialog of a received request.
func (p *Phone) dialogOf(m *Message) *Dialog {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialogs[dialogID{m.CallID(), m.ToTag(), m.FromTag()}]
}

// finish ends the dialog once; later calls change nothing. For a while it still
// answers 481 and records, or is silent: longer than a request is repeated,
// however late the phone reads the last of them.
func (d *Dialog) finish(end End) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end != nil {
		return
	}
	end.At = time.Now()
	d.end = &end
	close(d.ended)
	if end.By == Vanished && d.incoming != nil {
		d.incoming.release()
	}
	d.phone.tasks.after(2*d.phone.timeout(), func() {
		d.phone.mu.Lock()
		defer d.phone.mu.Unlock()
		delete(d.phone.dialogs, d.id())
	})
}

// Confirmed is closed when the call is set up: our ACK is out, or the ACK to
// our 2xx came.
func (d *Dialog) Confirmed() <-chan struct{} { return d.confirmed }

// Ended is closed when the dialog has ended: BYE from either side, a refused or
// cancelled call, or the phone was closed.
func (d *Dialog) Ended() <-chan struct{} { return d.ended }

// End says how the dialog ended. It is zero while it has not.
func (d *Dialog) End() End {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end == nil {
		return End{}
	}
	return *d.end
}

// WaitEnd waits for the end of the dialog.
func (d *Dialog) WaitEnd(ctx context.Context) (End, error) {
	select {
	case <-d.ended:
		return d.End(), nil
	case <-ctx.Done():
		return End{}, fmt.Errorf("waiting for the end of the call: %w", context.Cause(ctx))
	}
}

// Forget lets the phone lose the call: from now on it answers 481 to every
// request of this dialog (see AnswerUnknown), and still records them.
func (d *Dialog) Forget() {
	d.mu.Lock()
	d.forgotten = true
	unacked := d.unacked
	d.unacked = make(map[uint32]*serverTx)
	d.mu.Unlock()
	for _, tx := range unacked {
		tx.acknowledged()
	}
}

// Silence lets the phone receive, record and follow what comes in this dialog,
// but send no response and no ACK until Speak. Requests of the script still go out.
func (d *Dialog) Silence() { d.silent.Store(true) }

// Speak ends Silence. What was asked meanwhile is answered when it is repeated.
func (d *Dialog) Speak() { d.silent.Store(false) }

// Received is the requests of this dialog that came in, in their order: from
// the INVITE on if the other side called, ACK, CANCEL and retransmissions included.
func (d *Dialog) Received() []Received { return d.journal.all() }

// Wait returns the first received request that matches, as soon as there is one.
func (d *Dialog) Wait(ctx context.Context, match func(Received) bool) (Received, error) {
	r, err := d.journal.wait(ctx, d.phone.gone, match)
	if err != nil {
		return r, fmt.Errorf("waiting in call %s: %w", d.CallID, err)
	}
	return r, nil
}

// Next is Wait for what came after the request that Next returned last.
func (d *Dialog) Next(ctx context.Context, match func(Received) bool) (Received, error) {
	r, err := d.journal.next(ctx, d.phone.gone, match)
	if err != nil {
		return r, fmt.Errorf("waiting in call %s: %w", d.CallID, err)
	}
	return r, nil
}

// CheckCSeq reports the first violation in the far end's CSeq numbers: each new
// request must have the number after that of the request before it; ACK and
// CANCEL have that of an INVITE. Messages that Drop dropped count as seen.
func (d *Dialog) CheckCSeq() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.check.fault != nil {
		return fmt.Errorf("call %s: %w", d.CallID, d.check.fault)
	}
	return nil
}

// LocalCSeq is the number of our last request.
func (d *Dialog) LocalCSeq() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.localCSeq
}

// RemoteCSeq is the highest number of the far end; 0 before its first request.
func (d *Dialog) RemoteCSeq() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.remoteCSeq
}

// RemoteTarget is the URI that our requests go to: the far end's last Contact.
func (d *Dialog) RemoteTarget() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.remoteTarget
}

// Routes is the route set in the order of our Route header fields.
func (d *Dialog) Routes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.routes)
}

// SDP is our last session description, which also answers re-INVITEs.
func (d *Dialog) SDP() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sdp
}

// record takes a request into the journal and the check of the numbers.
func (d *Dialog) record(m *Message) {
	d.mu.Lock()
	request := d.check.see(m)
	again := request.delivered
	request.delivered = true
	d.mu.Unlock()
	d.journal.add(newReceived(m, again))
}

// overlook notes the number of a request that the filter drops.
func (d *Dialog) overlook(m *Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.check.see(m)
}

// retarget follows a Contact: RFC 3261 section 12.2, only for the methods that
// refresh the target.
func (d *Dialog) retarget(m *Message) {
	if contact := m.Values("Contact"); len(contact) > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.remoteTarget = addressURI(contact[0])
	}
}

// routed sets route set and remote target from a response to our INVITE: RFC
// 3261 sections 12.1.2 and 13.2.2.4.
func (d *Dialog) routed(response *Message) {
	routes := response.Values("Record-Route")
	slices.Reverse(routes)
	d.mu.Lock()
	d.routes = routes
	d.mu.Unlock()
	d.retarget(response)
}

// setSDP keeps our session description; an empty one changes nothing.
func (d *Dialog) setSDP(sdp string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sdp = cmp.Or(sdp, d.sdp)
}
