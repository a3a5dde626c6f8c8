package ua

import "context"

// handle answers a request of this dialog.
func (d *Dialog) handle(tx *serverTx) {
	request := tx.request
	if d.lost(request.Method) {
		script := d.phone.unknown.get(request.Method)
		if script == nil {
			script = always(481, "", nil)
		}
		d.answer(tx, script)
		return
	}
	if refusal, refused := d.refuse(request); refused {
		tx.reply(refusal)
		return
	}
	if script := d.scripts.get(request.Method); script != nil {
		d.phone.tasks.start(func() { d.answer(tx, script) })
		return
	}
	d.answer(tx, d.standard)
}

// lost tells whether the phone no longer knows this dialog. While its own BYE is
// out only a crossing BYE is welcome: RFC 5407 section 3.
func (d *Dialog) lost(method string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.forgotten || d.end != nil || d.leaving && method != "BYE"
}

// refuse rejects a number that is lower than an earlier one (RFC 3261 section
// 12.2.2) and a re-INVITE that crosses ours (section 14.2).
func (d *Dialog) refuse(request *Message) (Reply, bool) {
	number, _ := request.CSeq()
	d.mu.Lock()
	defer d.mu.Unlock()
	if number < d.remoteCSeq {
		return Reply{Status: 500, Reason: "CSeq Out Of Order"}, true
	}
	d.remoteCSeq = number
	if request.Method == "INVITE" && d.inviting {
		return Reply{Status: 491}, true
	}
	return Reply{}, false
}

// standard is the answer without a script.
func (d *Dialog) standard(request *Message) Reply {
	switch request.Method {
	case "OPTIONS":
		return answerOptions(request)
	case "UPDATE":
		if len(request.Body) == 0 {
			return Reply{Status: 200}
		}
		return Reply{Status: 200, Body: d.SDP()}
	case "PRACK":
		if d.incoming == nil || !d.incoming.pracked(request) {
			return Reply{Status: 481}
		}
		return Reply{Status: 200}
	case "REFER":
		return Reply{Status: 202}
	case "INVITE", "BYE", "INFO", "MESSAGE", "NOTIFY", "SUBSCRIBE":
		return Reply{Status: 200}
	}
	return Reply{Status: 405, Headers: []Header{H("Allow", allowed)}}
}

// answer sends what the script says and does to the dialog what that means.
func (d *Dialog) answer(tx *serverTx, script func(*Message) Reply) {
	r := script(tx.request)
	accepted := r.Status >= 200 && r.Status < 300
	switch tx.request.Method {
	case "INVITE":
		if accepted {
			d.retarget(tx.request)
			d.accept(tx, r)
			return
		}
	case "UPDATE":
		if accepted {
			d.retarget(tx.request)
		}
	case "BYE":
		if accepted || r.Status == 0 || r.Status == 481 {
			tx.reply(r)
			d.finish(End{By: ByPeer, Reason: tx.request.Get("Reason"), Cause: tx.request})
			return
		}
	}
	tx.reply(r)
}

// accept sends a 2xx to an INVITE and repeats it until its ACK. It reports
// false when the INVITE had a final response already.
func (d *Dialog) accept(tx *serverTx, r Reply) bool {
	d.setSDP(r.Body)
	r.Body = d.SDP()
	number, _ := tx.request.CSeq()
	d.mu.Lock()
	d.unacked[number] = tx
	d.mu.Unlock()
	return tx.respond(tx.response(r), d.abandon)
}

// acknowledged is told of the ACK to a 2xx.
func (d *Dialog) acknowledged(number uint32) {
	d.mu.Lock()
	tx := d.unacked[number]
	delete(d.unacked, number)
	d.mu.Unlock()
	if tx != nil {
		tx.acknowledged()
		d.confirm()
	}
}

// abandon hangs up when nobody acknowledges our 2xx: RFC 3261 section 13.3.1.4.
func (d *Dialog) abandon() {
	d.finish(End{By: NoACK})
	if d.silent.Load() || d.phone.silent.Load() {
		return
	}
	x, err := d.ask(func() uint32 { return d.LocalCSeq() + 1 }, "BYE", "", nil)
	if err == nil {
		d.phone.tasks.start(func() { _, _ = x.final(context.Background()) })
	}
}
