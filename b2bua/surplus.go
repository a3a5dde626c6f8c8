package b2bua

import (
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// decline acknowledges a 2xx to this INVITE that is one too many, ends its
// dialog, of which d is what is known without it, and follows the BYE to its
// end: RFC 3261 section 13.2.2.4. It returns the ACK, for when the 2xx comes
// again.
func (a *Agent) decline(d *store.Dialog, invite *attempt, trunk string, res *received) (ack *request) {
	d.RemoteTag = res.toTag
	d.RouteSet = dialog.RouteSet(values(res, "record-route"), true)
	if uri, err := contactURI(res); err == nil {
		d.Target = uri
	}
	_, _, hop := dialog.NextHop(d)
	hops, _ := a.known(hop)
	if hops = fromThere(d.Peer, hops); len(hops) > 0 { // else the address of the INVITE will do
		d.Transport, d.Peer = aim(d, hops)
	}
	ack = a.newRequest(d, inDialog(d, outline{method: "ACK", cseq: invite.out.cseq}))
	invite.vouch(ack)
	a.write(ack)
	cseq, _ := dialog.Spend(d) // of a dialog that no store knows
	bye := a.newRequest(d, inDialog(d, outline{method: "BYE", cseq: cseq}))
	a.follow(bye, trunk)
	return ack
}

// follow sends a BYE of a dialog that is not the call's and lets it go to its
// end, with the credentials of its trunk if they are asked for.
func (a *Agent) follow(bye *request, trunk string) {
	at := &attempt{out: bye}
	ac := a.accounts[trunk]
	if ac != nil {
		at.used = ac.authorize(bye)
	}
	var send func()
	send = func() {
		tx, err := a.send(at.out)
		if err != nil {
			a.log.Info("BYE to a fork not sent", zap.String("callee_call_id", bye.callID), zap.Error(err))
			return
		}
		a.await(tx, func(res *received) {
			if ac == nil || res.status != 401 && res.status != 407 || ac.answer(at, res) != nil {
				return
			}
			at.out = at.out.again(at.out.cseq + 1)
			at.used = ac.authorize(at.out)
			a.work.Go(send)
		}, nil)
	}
	a.work.Go(send)
}
