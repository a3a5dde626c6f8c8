package b2bua

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// What an address of a trunk can be asked with.
const (
	PingOptions  = "options"  // OPTIONS outside of dialogs
	PingRegister = "register" // REGISTER without Contact, which changes nothing
	PingCRLF     = "crlf"     // two line ends over a connection, to be answered by one
	PingTCP      = "tcp"      // a connection that is closed again
)

// Ping is a question to one address of a trunk, outside of calls.
type Ping struct {
	Trunk   string // whose credentials answer a challenge
	Target  string // SIP URI
	Hop     locate.Hop
	With    string // PingOptions and the like
	Timeout time.Duration

	user bool // the target's user is asked, not its host
}

// Locate finds the addresses of a target, and until when the DNS says that they
// hold: for ever, a zero time, when it was not asked. It returns at once.
func (a *Agent) Locate(target string, found func(hops []locate.Hop, until time.Time, err error)) {
	a.work.Go(func() {
		<-a.serving
		var until time.Time
		var hops []locate.Hop
		u, err := dialog.ParseURI(target)
		if err == nil {
			err = errors.New("the look-up broke")
			guarded(func() { hops, until, err = a.resolver.FindUntil(context.Background(), u, a.reach()) }, a.panicked)
		}
		found(hops, until, err)
	})
}

// Ping asks an address. What became of it, after its timeout at the latest,
// goes to answered, once, unless the agent stops. It returns at once.
func (a *Agent) Ping(p Ping, answered func(Traffic)) {
	a.work.Go(func() {
		<-a.serving
		switch p.With {
		case PingTCP:
			a.knock(p, answered)
		case PingCRLF:
			a.pingStream(p, answered)
		default:
			a.pingSIP(p, func(t Traffic, _ *received) { answered(t) })
		}
	})
}

// pingSIP is Ping with a request of SIP, and has the response told, too, nil
// without one.
func (a *Agent) pingSIP(p Ping, answered func(Traffic, *received)) {
	q := &ping{agent: a, trunk: p.Trunk, to: p.Hop.Addr, answered: answered}
	q.at = &attempt{out: a.pingRequest(p)}
	q.tag = dialog.Tag(q.at.out.value("from"))
	a.pings.Store(q.tag, q)
	if q.account = a.accounts[p.Trunk]; q.account != nil {
		q.at.used = q.account.authorize(q.at.out)
	}
	q.limit = time.AfterFunc(p.Timeout, func() { q.giveUp(Traffic{Kind: NoReply}) })
	q.send()
}

// pingRequest is OPTIONS as RFC 3261 section 11.1 has it: to a host and no user
// of it, with a Contact, without which some do not answer. Or it is a REGISTER
// that asks for the bindings of our account, RFC 3261 section 10.2.3.
func (a *Agent) pingRequest(p Ping) *request {
	peer := p.Hop.Addr.String()
	host, _ := a.reachedAt(a.socketFor(p.Hop.Transport, "", peer), peer)
	u := p.uri()
	from := dialog.URI{Scheme: "sip", Host: host}
	to, method := u, "OPTIONS"
	to.Port, to.Params = 0, "" // RFC 3261 section 19.1.1
	if p.With == PingRegister {
		method = "REGISTER"
		if ac := a.accounts[p.Trunk]; ac != nil {
			to.User = ac.credentials.Username
		}
		from = to // RFC 3261 section 10.2
	}
	d := &store.Dialog{
		CallID: invented(), LocalTag: invented(), LocalURI: "<" + from.String() + ">", RemoteURI: "<" + to.String() + ">",
		Transport: p.Hop.Transport, Peer: peer, Kept: true,
	}
	out := a.newRequest(d, outline{method: method, cseq: 1, uri: u.String(), maxForwards: 70, contact: method == "OPTIONS"})
	out.header = append(out.header, probeTail...)
	return out
}

// ping is a request to an address of a trunk that is under way.
type ping struct {
	agent    *Agent
	trunk    string
	to       netip.AddrPort
	tag      string   // ours
	account  *account // nil: challenges are answers like any other
	answered func(Traffic, *received)
	limit    *time.Timer

	mu   sync.Mutex // guards what follows
	at   *attempt
	over bool
}

// send sends the request, or its next round.
func (q *ping) send() {
	q.mu.Lock()
	at := q.at
	q.mu.Unlock()
	sent := time.Now()
	tx, err := q.agent.send(at.out)
	if err != nil {
		q.end(Traffic{Kind: Unsent, Reason: cause(err)}, nil)
		return
	}
	q.mu.Lock()
	at.tx = tx
	over := q.over
	q.mu.Unlock()
	if over {
		tx.terminate()
	}
	q.agent.await(tx, func(res *received) {
		if res.status < 200 {
			return
		}
		if q.challenged(at, res) {
			q.send()
			return
		}
		t := answerOf(res)
		t.RTT = time.Since(sent)
		q.end(t, res)
	}, func(err error) {
		t := Traffic{Kind: Unsent, Reason: cause(err)}
		if errors.Is(err, sip.ErrTransactionTimeout) {
			t = Traffic{Kind: NoReply}
		}
		q.end(t, nil)
	})
}

// challenged says whether a response is a challenge that is answered in a next
// round: RFC 3261 section 22.2.
func (q *ping) challenged(at *attempt, res *received) bool {
	if q.account == nil {
		return false
	}
	if res.status != 401 && res.status != 407 {
		if len(at.used) > 0 {
			q.account.worked()
		}
		return false
	}
	if err := q.account.answer(at, res); err != nil {
		q.agent.refusedCredentials(q.trunk, q.account, err, zap.String("method", at.out.method))
		return false
	}
	q.agent.metrics.challenges.WithLabelValues(q.trunk, "answered").Inc()
	out := at.out.again(at.out.cseq + 1)
	used := q.account.authorize(out)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at = &attempt{out: out, used: used, answered: at.answered}
	return !q.over
}

// giveUp ends the wait for an answer.
func (q *ping) giveUp(t Traffic) {
	q.mu.Lock()
	tx := q.at.tx
	q.mu.Unlock()
	q.end(t, nil)
	if tx != nil {
		tx.terminate()
	}
}

// end reports what became of it, once.
func (q *ping) end(t Traffic, res *received) {
	q.limit.Stop()
	q.agent.pings.Delete(q.tag)
	q.mu.Lock()
	was := q.over
	q.over = true
	t.Method = q.at.out.method
	q.mu.Unlock()
	if !was && !q.agent.closing.Load() {
		q.answered(t, res)
	}
}

// until is a context that ends with a time-out, or when the agent stops.
func (a *Agent) until(timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	a.work.Go(func() {
		select {
		case <-a.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// knock opens a connection and closes it.
func (a *Agent) knock(p Ping, answered func(Traffic)) {
	ctx, cancel := a.until(p.Timeout)
	defer cancel()
	sent := time.Now()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", p.Hop.Addr.String())
	if err == nil {
		_ = conn.Close()
	}
	a.report(ctx, answered, sent, err, "connection")
}

// pingStream asks whether a connection is alive, RFC 5626 section 3.5.1. One
// that is not has failed, RFC 5626 section 4.4.1: the next ping opens another.
func (a *Agent) pingStream(p Ping, answered func(Traffic)) {
	ctx, cancel := a.until(p.Timeout)
	defer cancel()
	sent := time.Now()
	s, err := a.connect(ctx, a.pingRequest(p))
	if err == nil {
		if err = s.ping(ctx); err != nil {
			s.close()
		}
	}
	a.report(ctx, answered, sent, err, "ping")
}

// report says what became of something that is no SIP.
func (a *Agent) report(ctx context.Context, answered func(Traffic), sent time.Time, err error, what string) {
	t := Traffic{Kind: Answer, Method: what, Status: 200, RTT: time.Since(sent)}
	switch {
	case a.closing.Load():
		return
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		t = Traffic{Kind: NoReply, Method: what}
	case err != nil:
		t = Traffic{Kind: Unsent, Method: what, Reason: cause(err)}
	}
	answered(t)
}
