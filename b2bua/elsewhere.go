package b2bua

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
)

// Place is where a call is that this agent did not have: nowhere, here by now,
// or at another node.
type Place struct {
	Here bool
	Addr string // address and UDP port of the node that has it
}

// findTime bounds how long a request inside a call may wait for its place.
const findTime = 3 * time.Second

// elsewhere serves a request inside a call that this agent does not have, but
// whose tag was made by a node of ours.
func (a *Agent) elsewhere(id string, in *inbound) {
	if a.passing.Add(1) > maxPassing {
		a.passing.Add(-1)
		in.later("Too Many Requests Under Way")
		return
	}
	a.work.Go(func() {
		defer a.passing.Add(-1)
		defer in.rescue()
		ctx, cancel := context.WithTimeout(context.Background(), findTime)
		defer cancel()
		place, err := a.cfg.Find(ctx, id)
		switch {
		case err != nil:
			a.log.Debug("owner of a call is not known", zap.String("call", id), zap.Error(err))
			in.later("Owner of the Call Not Known")
		case place.Here && a.call(id) != nil:
			in.sought = true
			a.inDialog(in)
		case place.Addr != "":
			a.forward(in, place.Addr)
		default:
			in.unknownDialog()
		}
	})
}

// later has the sender try again: 503 ends no dialog, RFC 5057 section 5.1.
func (in *inbound) later(why string) {
	in.refuse(&fault{503, why, []string{"Retry-After", "2"}})
}

// forward passes a request inside a call to the node that owns the call, as a
// stateful proxy does, and its answer back. The owner is told, under a seal that
// only nodes can make, whom it came from.
//
// Departs from RFC 3261 section 16: an INVITE is not passed on but refused with
// 503, for a while: its ACK would have to follow it. The sender tries again.
func (a *Agent) forward(in *inbound, addr string) {
	to, err := netip.ParseAddrPort(addr)
	_, more := forwards(in.req)
	switch {
	case in.method == "ACK":
		return
	case err != nil || in.forwarded || !more || in.method == "INVITE" || in.method == "CANCEL":
		in.later("Call Is at Another Node")
		return
	}
	tx, err := a.send(a.forwardOf(in, to))
	if err != nil {
		a.log.Info("request cannot be passed to the call's owner", zap.String("owner", addr), zap.Error(err))
		in.later("Owner of the Call Not Reachable")
		return
	}
	a.metrics.forwarded.Inc()
	a.await(tx, func(res *sip.Response) {
		if res.StatusCode >= 200 {
			guarded(func() { in.send((&passage{in: in}).returned(res)) }, a.panicked)
		}
	}, func(err error) {
		if !errors.Is(err, sip.ErrTransactionTimeout) { // RFC 4320 section 4.2: no late answer
			in.later("Owner of the Call Not Reachable")
			return
		}
		in.tx.Terminate()
	})
}

// forwardOf is the request as the owner gets it: as it came, below a Via of ours.
func (a *Agent) forwardOf(in *inbound, to netip.AddrPort) *sip.Request {
	s := a.socketFor("udp", in.listener(), to.String())
	host, port := a.sentBy(s, to.String())
	mark := branch()
	out := sip.NewRequest(in.req.Method, in.req.Recipient)
	out.AppendHeader(&sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: host, Port: port,
		Params: sip.HeaderParams{{K: "branch", V: mark}, {K: "rport"}},
	})
	in.carryOn(out)
	out.AppendHeader(sip.NewHeader(forwardHeader, in.source+" "+a.seal(mark, in.source, in.req)))
	for _, h := range in.req.Headers() {
		switch long(h.Name()) {
		case "via", "max-forwards", "content-length", strings.ToLower(forwardHeader):
		default:
			out.AppendHeader(h)
		}
	}
	out.SetBody(in.req.Body())
	out.SetTransport("UDP")
	out.SetDestination(to.String())
	if s.transport == "udp" {
		out.Laddr = sip.Addr{IP: s.ip, Port: s.port}
	}
	return out
}

// forwardHeader says where a request came from that another node passed on.
const forwardHeader = "X-Sipvigil-Source"

// seal proves that a node of ours passed this request on, which came from
// source.
func (a *Agent) seal(branch, source string, req *sip.Request) string {
	mac := hmac.New(sha256.New, a.identity.Load().tagKey)
	for _, part := range []string{"forward", branch, source, string(req.Method), value(req, "call-id"), value(req, "cseq")} {
		_, _ = mac.Write([]byte(part)) // never fails
		_, _ = mac.Write([]byte{0})
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// takeSource has a request that another node passed on count as coming from
// where that node got it. Without the right seal the header means nothing; it
// goes no further in any case.
func (in *inbound) takeSource() {
	v, ok := first(in.req, strings.ToLower(forwardHeader))
	if !ok {
		return
	}
	for in.req.RemoveHeader(forwardHeader) {
	}
	via := in.req.Via()
	source, sealed, _ := strings.Cut(v, " ")
	if via == nil || !addrOf(source).IsValid() {
		return
	}
	mark, _ := via.Params.Get("branch")
	if hmac.Equal([]byte(sealed), []byte(in.agent.seal(mark, source, in.req))) && dialog.CheckTag(in.agent.identity.Load().tagKey, dialog.Tag(value(in.req, "to"))) {
		in.source, in.forwarded = source, true
	}
}
