package ua

import "fmt"

// receive takes one message off the wire. It runs in the goroutine of the
// socket or connection, so messages of one peer are handled in their order.
func (p *Phone) receive(raw []byte, from source) {
	if len(trimBlank(raw)) == 0 {
		return // a keep-alive
	}
	m, err := Parse(raw)
	if err != nil {
		p.fault(fmt.Errorf("from %s: %w", from.addr, err))
		return
	}
	if m.IsRequest() {
		stampVia(m, from)
	}
	if drop := p.filter.Load(); drop != nil && (*drop)(In, m) {
		if d := p.dialogOf(m); m.IsRequest() && d != nil {
			d.overlook(m)
		}
		return
	}
	if p.cfg.Trace != nil {
		p.cfg.Trace(In, m)
	}
	switch {
	case !m.IsRequest():
		p.response(m)
	case m.Method == "ACK":
		p.acknowledgement(m)
	default:
		p.requested(m, from)
	}
}

// trimBlank removes the line ends and NULs that keep-alives consist of.
func trimBlank(raw []byte) []byte {
	for len(raw) > 0 && (raw[0] == '\r' || raw[0] == '\n' || raw[0] == 0) {
		raw = raw[1:]
	}
	return raw
}

// response hands a response to its client transaction. One that nobody waits
// for is dropped: RFC 6026 section 8.
func (p *Phone) response(m *Message) {
	p.mu.Lock()
	f := p.clients[clientKey(m)]
	p.mu.Unlock()
	if f != nil {
		f(m)
	}
}

// acknowledgement ends the repetition of a final response. The ACK to a 2xx is
// a transaction of its own and finds its INVITE by the dialog and the CSeq.
func (p *Phone) acknowledgement(m *Message) {
	d := p.dialogOf(m)
	tx := p.transactionOf(m)
	if tx != nil && d == nil {
		d = tx.dialog.Load()
	}
	switch {
	case tx != nil && tx.refused():
		tx.acknowledged()
	case d != nil:
		number, _ := m.CSeq()
		d.acknowledged(number)
	}
	if tx != nil && !tx.refused() {
		p.fault(fmt.Errorf("ACK to a 2xx has the branch of its INVITE (RFC 3261 section 17.1.1.3): %s", m))
	}
	if d != nil {
		d.record(m)
	} else {
		p.journal.add(newReceived(m, false))
	}
}

// requested handles a request other than ACK.
func (p *Phone) requested(m *Message, from source) {
	tx, fresh := p.serve(m, from)
	if !fresh {
		if d := tx.dialog.Load(); d != nil {
			d.record(m)
		} else {
			p.journal.add(newReceived(m, true))
		}
		tx.again()
		return
	}
	switch {
	case m.Method == "CANCEL":
		p.cancelled(tx)
	case m.ToTag() != "":
		p.inDialog(tx)
	case m.Method == "INVITE":
		p.invite(tx)
	default:
		p.journal.add(newReceived(m, false))
		tx.scripted(p.outside.get(m.Method), p.defaultOutside)
	}
}

// cancelled answers a CANCEL and ends the INVITE that it is for: RFC 3261
// section 9.2.
func (p *Phone) cancelled(tx *serverTx) {
	var d *Dialog
	invite := p.transactionOf(tx.request)
	if invite != nil {
		d = invite.dialog.Load()
	}
	if d == nil {
		p.journal.add(newReceived(tx.request, false))
		tx.respond(tx.response(Reply{Status: 481}), nil)
		return
	}
	tx.dialog.Store(d)
	d.record(tx.request)
	tx.respond(tx.response(Reply{Status: 200}), nil)
	if in := d.incoming; in != nil && in.tx == invite {
		in.cancel()
	}
}

// inDialog hands a request with a To tag to its dialog.
func (p *Phone) inDialog(tx *serverTx) {
	if d := p.dialogOf(tx.request); d != nil {
		tx.dialog.Store(d)
		d.record(tx.request)
		d.handle(tx)
		return
	}
	p.journal.add(newReceived(tx.request, false))
	tx.scripted(p.unknown.get(tx.request.Method), always(481, "", nil))
}

// defaultOutside answers what came without a dialog and without a script.
func (p *Phone) defaultOutside(m *Message) Reply {
	switch m.Method {
	case "OPTIONS":
		return answerOptions(m)
	case "BYE", "PRACK", "UPDATE", "INFO":
		return Reply{Status: 481}
	case "REFER":
		return Reply{Status: 202}
	case "REGISTER", "MESSAGE", "NOTIFY", "SUBSCRIBE", "PUBLISH":
		return Reply{Status: 200}
	}
	return Reply{Status: 405, Headers: []Header{H("Allow", allowed)}}
}

// scripted answers with the script, in a goroutine because it may block, or
// else with the default.
func (tx *serverTx) scripted(script, fallback func(*Message) Reply) {
	if script == nil {
		tx.reply(fallback(tx.request))
		return
	}
	tx.phone.tasks.start(func() { tx.reply(script(tx.request)) })
}

// reply sends a scripted answer, unless the script wants none.
func (tx *serverTx) reply(r Reply) {
	if r.Status != 0 {
		tx.respond(tx.response(r), nil)
	}
}
