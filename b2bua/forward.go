package b2bua

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

// forward passes a request inside a call to the node that owns the call, as a
// stateful proxy does, and its answers back. The owner is told, under a seal that
// only nodes can make, whom it came from. done is called when nothing more is
// to come.
func (a *Agent) forward(in *inbound, addr string, done func()) {
	to, err := netip.ParseAddrPort(addr)
	_, more := forwards(in.req)
	switch {
	case err != nil || in.forwarded || !more:
		in.later("Call Is at Another Node")
	case in.method == "ACK": // of a 2xx: RFC 3261 section 16.7 has it go like any request, without transaction
		a.metrics.forwarded.Inc()
		a.write(a.forwardOf(in, to))
	case in.method == "INVITE":
		f := &forwarding{in: in, done: sync.OnceFunc(done)}
		f.begin(a.forwardOf(in, to))
		return
	default:
		a.forwardOnce(in, a.forwardOf(in, to), done)
		return
	}
	done()
}

// forwardOnce forwards a request that has one answer.
func (a *Agent) forwardOnce(in *inbound, out *request, done func()) {
	tx, err := a.send(out)
	if err != nil {
		in.lost(err)
		done()
		return
	}
	a.metrics.forwarded.Inc()
	a.await(tx, func(res *received) {
		if res.status >= 200 {
			guarded(func() { in.send((&passage{in: in}).returned(res)) }, a.panicked)
			done()
		}
	}, func(err error) {
		if !errors.Is(err, sip.ErrTransactionTimeout) { // RFC 4320 section 4.2: no late answer
			in.lost(err)
		} else {
			in.tx.terminate()
		}
		done()
	})
}

// lost has the sender of a request try again that did not reach the owner.
func (in *inbound) lost(err error) {
	in.agent.log.Info("request cannot be passed to the call's owner", zap.String("method", in.method), zap.Error(err))
	in.later("Owner of the Call Not Reachable")
}

// forwarding is an INVITE on its way to the owner of its call, until its final
// answer.
type forwarding struct {
	in    *inbound
	done  func()
	out   *request
	tx    *clientTx
	limit *time.Timer // RFC 3261 section 16.8: Timer C

	mu        sync.Mutex // guards what is below
	answered  bool       // the owner has the request: it may be cancelled
	cancelled bool
	final     bool
}

// begin sends the INVITE on and has its answers and its CANCEL served.
func (f *forwarding) begin(out *request) {
	in, a := f.in, f.in.agent
	in.answer(100)
	if !a.transaction.listenCancel(in.tx, in.tag, func(*received) { f.cancel() }) {
		in.answer(487)
		f.done()
		return
	}
	tx, err := a.send(out)
	if err != nil {
		in.lost(err)
		f.done()
		return
	}
	a.metrics.forwarded.Inc()
	f.out, f.tx = out, tx
	f.limit = time.AfterFunc(a.cfg.RingTimeout+128*sip.T1, func() { f.failed(errSilent) }) // the owner gives up before
	tx.onRetransmission(f.back)
	a.await(tx, f.answer, f.failed)
}

var errSilent = errors.New("the owner has not answered for too long")

// answer serves an answer of the owner.
func (f *forwarding) answer(res *received) {
	f.mu.Lock()
	over := f.final
	f.final = f.final || res.status >= 200
	first := !f.answered
	f.answered = true
	if first && f.cancelled {
		f.tell()
	}
	f.mu.Unlock()
	if over {
		return
	}
	if res.status > 100 {
		f.back(res)
	}
	if res.status >= 200 {
		f.limit.Stop()
		f.done()
	}
}

// back passes an answer on, a 2xx as often as it comes: RFC 3261 section 16.7.
func (f *forwarding) back(res *received) {
	guarded(func() { f.in.send((&passage{in: f.in}).returned(res)) }, f.in.agent.panicked)
}

// failed gives the INVITE up. 503 ends no dialog, as 408 would.
func (f *forwarding) failed(err error) {
	f.mu.Lock()
	over := f.final
	f.final = true
	f.mu.Unlock()
	if over {
		return
	}
	f.limit.Stop()
	if errors.Is(err, errSilent) {
		f.tx.terminate()
	}
	f.in.lost(err)
	f.done()
}

// cancel passes a CANCEL on.
func (f *forwarding) cancel() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.cancelled && !f.final {
		f.cancelled = true
		f.tell()
	}
}

// tell sends the CANCEL once the owner has the INVITE, RFC 3261 section 9.1.
// Called locked.
func (f *forwarding) tell() {
	if !f.answered || f.final {
		return
	}
	a, out := f.in.agent, f.out.sameBranch("CANCEL")
	a.work.Go(func() {
		if tx, err := a.send(out); err == nil {
			a.await(tx, nil, nil)
		}
	})
}

// forwardOf is the request as the owner gets it: as it came, below a Via of ours.
func (a *Agent) forwardOf(in *inbound, to netip.AddrPort) *request {
	out := in.onward(in.req.uri, "udp", to.String(), branch())
	in.carryOn(out, a.socketFor("udp", in.listener(), out.to))
	source := in.source.String()
	out.add(forwardHeader, source+" "+a.seal(out.branch, source, in.req))
	in.copyTo(out, strings.ToLower(forwardHeader))
	return out
}
