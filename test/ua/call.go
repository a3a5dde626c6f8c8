package ua

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Offer is what a call is made with. Its zero value makes an INVITE without SDP.
type Offer struct {
	SDP     string
	Answer  string // SDP for the ACK when the 2xx makes the offer
	Headers []Header
	From    string // URI of the caller; the phone's own when empty
	CallID  string // a new one when empty
	CSeq    uint32 // of the INVITE; 1 when 0
}

// Outgoing is a call that waits for its answer.
type Outgoing struct {
	// Request is the INVITE.
	Request *Message

	phone   *Phone
	offer   Offer
	x       *exchange
	journal journal // responses
	done    chan struct{}
	cancel  chan struct{}

	mu        sync.Mutex
	cancelled bool
	dialogs   map[string]*Dialog // by the far end's tag
	newest    *Dialog
	rseq      map[string]uint32 // the last reliable response that had its PRACK, by tag
	answer    *Dialog
	err       error
}

// Call sends an INVITE for uri to target (host:port or a SIP URI) and returns
// the dialog when it is answered. It fails with a *StatusError for a final
// response of 300 or above and with ErrTimeout when there is no response at all.
// When ctx ends it cancels the call, once a provisional response allows that.
func (p *Phone) Call(ctx context.Context, target, uri string, offer Offer) (*Dialog, error) {
	o := p.Dial(target, uri, offer)
	d, err := o.Wait(ctx)
	if err == nil || ctx.Err() == nil {
		return d, err
	}
	o.Cancel()
	if len(o.journal.all()) > 0 {
		<-o.done // its final response, or 64*T1
	}
	select {
	case <-o.done:
		if o.err == nil {
			return o.answer, nil // it won the race
		}
	default:
	}
	return nil, err
}

// Dial is Call in the background, for scripts that look at what happens before
// the answer. Its errors come from Wait.
func (p *Phone) Dial(target, uri string, offer Offer) *Outgoing {
	o := &Outgoing{
		phone:   p,
		offer:   offer,
		journal: journal{keep: p.cfg.History},
		done:    make(chan struct{}),
		cancel:  make(chan struct{}),
		dialogs: make(map[string]*Dialog),
		rseq:    make(map[string]uint32),
	}
	m := &Message{Method: "INVITE", RequestURI: uri}
	m.add("Via", p.via())
	m.add("Max-Forwards", "70")
	m.add("From", tagged(cmp.Or(offer.From, p.URI()), rand.Text()))
	m.add("To", tagged(uri, ""))
	m.add("Call-ID", cmp.Or(offer.CallID, rand.Text()))
	m.add("CSeq", fmt.Sprintf("%d INVITE", cmp.Or(offer.CSeq, 1)))
	p.describe(m)
	m.merge(offer.Headers)
	m.setBody(offer.SDP)
	o.Request = m

	to, err := resolve(target)
	if err == nil {
		o.x, err = p.begin(m, to)
	}
	if err != nil {
		o.err = fmt.Errorf("calling %s: %w", uri, err)
		close(o.done)
		return o
	}
	p.tasks.start(o.run)
	return o
}

// Wait returns the dialog when the call is answered; see Call for its errors.
// It may be called again after ctx ended.
func (o *Outgoing) Wait(ctx context.Context) (*Dialog, error) {
	select {
	case <-o.done:
		return o.answer, o.err
	case <-o.phone.gone:
		return nil, fmt.Errorf("calling %s: %w", o.Request.RequestURI, ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("calling %s: %w", o.Request.RequestURI, context.Cause(ctx))
	}
}

// Provisional waits for a provisional response with this status.
func (o *Outgoing) Provisional(ctx context.Context, status int) (*Message, error) {
	r, err := o.journal.wait(ctx, o.done, Status(status))
	if err != nil {
		return nil, fmt.Errorf("waiting for %d: %w", status, err)
	}
	return r.Message, nil
}

// Provisionals is the provisional responses that came, in their order.
func (o *Outgoing) Provisionals() []Received { return o.journal.all() }

// Early is the dialog that the last provisional response belongs to; nil before
// the first with a To tag.
func (o *Outgoing) Early() *Dialog {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}

// Cancel gives up the call: CANCEL goes out as soon as a provisional response
// allows it. A 2xx that crosses it is acknowledged and hung up. Wait returns the
// outcome.
func (o *Outgoing) Cancel() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.cancelled {
		o.cancelled = true
		close(o.cancel)
	}
}

// run follows the INVITE to its final response.
func (o *Outgoing) run() {
	defer close(o.done)
	final, err := o.x.follow(o.cancel, o.progress)
	if err == nil {
		err = statusError(final)
	}
	if err != nil {
		o.err = fmt.Errorf("calling %s: %w", o.Request.RequestURI, err)
		o.leave(nil, final)
		return
	}
	d := o.dialog(final)
	d.routed(final)
	d.acknowledge(o.x, final, o.offer.Answer, o.fork)
	o.leave(d, final)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cancelled {
		o.err = fmt.Errorf("calling %s: answered after CANCEL: %w", o.Request.RequestURI, ErrOver)
		o.phone.tasks.start(func() { _ = d.Bye(context.Background()) })
		return
	}
	o.answer = d
}

// progress takes in a provisional response: it makes the early dialog (RFC 3261
// section 12.1.2) and is acknowledged if it asks for it (RFC 3262 section 4).
func (o *Outgoing) progress(m *Message) {
	o.journal.add(newReceived(m, false))
	tag := m.ToTag()
	if m.Status == 100 || tag == "" {
		return
	}
	d := o.dialog(m)
	var rseq uint32
	if _, err := fmt.Sscan(m.Get("RSeq"), &rseq); err != nil || !requires(m, "100rel") {
		return
	}
	o.mu.Lock()
	last := o.rseq[tag]
	if fresh := last == 0 || rseq == last+1; !fresh {
		o.mu.Unlock()
		return
	}
	o.rseq[tag] = rseq
	o.mu.Unlock()
	number, _ := o.Request.CSeq()
	rack := H("RAck", fmt.Sprintf("%d %d INVITE", rseq, number))
	o.phone.tasks.start(func() { _, _ = d.Request(context.Background(), "PRACK", "", rack) })
}

func requires(m *Message, option string) bool {
	return slices.ContainsFunc(m.Values("Require"), func(o string) bool { return strings.EqualFold(o, option) })
}

// dialog is the dialog of a response, made by the first response with its tag.
func (o *Outgoing) dialog(response *Message) *Dialog {
	tag := response.ToTag()
	o.mu.Lock()
	d := o.dialogs[tag]
	if d == nil {
		number, _ := o.Request.CSeq()
		d = o.phone.newDialog(&Dialog{
			CallID:    o.Request.CallID(),
			LocalTag:  o.Request.FromTag(),
			RemoteTag: tag,
			LocalURI:  addressURI(o.Request.Get("From")),
			RemoteURI: addressURI(o.Request.Get("To")),
			localCSeq: number,
			sdp:       o.offer.SDP,
		})
		o.dialogs[tag] = d
		d.routed(response)
	}
	o.newest = d
	o.mu.Unlock()
	return d
}

// leave ends the early dialogs other than the one that was answered.
func (o *Outgoing) leave(answered *Dialog, cause *Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.dialogs {
		if d != answered {
			d.finish(End{By: ByPeer, Cause: cause})
		}
	}
}

// fork hangs up when a 2xx comes from yet another phone: RFC 3261 section 13.2.2.4.
func (o *Outgoing) fork(final *Message) {
	d := o.dialog(final)
	d.routed(final)
	number, _ := o.Request.CSeq()
	ack := d.Build("ACK", number, "")
	o.phone.tasks.start(func() {
		to, err := d.hop()
		if err != nil {
			o.phone.fault(err)
			return
		}
		ack.Raw = string(ack.Bytes())
		_ = o.phone.transmit(ack, to)
		select {
		case <-d.confirmed: // a repetition: the BYE is out
		default:
			d.confirm()
			_ = d.Bye(context.Background())
		}
	})
}
