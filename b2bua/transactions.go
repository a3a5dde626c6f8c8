package b2bua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
)

// transactions brings each message to its transaction, RFC 3261 sections
// 17.1.3 and 17.2.3, and hands what concerns the agent over in the order in
// which it came: the messages of one Call-ID are served one after the other.
//
// The library's own layer is not used, because it serves each message in a new
// goroutine, where the messages of a dialog overtake each other, and answers
// CANCEL with tags of its own.
type transactions struct {
	transport *sip.TransportLayer
	log       *slog.Logger
	arrivals  arrivals
	onRequest func(*sip.Request, *sip.ServerTx)
	onStray   func(*sip.Response) // a response without transaction
	malformed func()

	mu      sync.Mutex // guards what is below
	clients map[string]*clientTx
	servers map[string]*serverTx
	first   map[requestID]*serverTx // of the requests that begin something
	early   map[string]*inbound     // CANCELs that came before their INVITE
	over    bool
}

// serverTx is a request that is being served, or was until lately.
type serverTx struct {
	*sip.ServerTx
	id     requestID
	merged bool // another one with this id is there

	cancelled bool                     // guarded by transactions.mu
	onCancel  func(asked *sip.Request) // likewise
	tag       string                   // likewise: ours, as in the answer to the request
}

// clientTx is a request of ours.
type clientTx struct {
	*sip.ClientTx
	awaited   chan struct{} // closed once each is set
	each      func(*sip.Response)
	final     atomic.Bool // a final response has been handed over
	repeating atomic.Bool // the ACK of a repeated refusal is on its way
}

// requestID is the same for copies of a request that came on several ways, RFC
// 3261 section 8.2.2.2. It is empty for requests inside a dialog.
type requestID struct{ callID, fromTag, cseq string }

func newTransactions(transport *sip.TransportLayer, log *slog.Logger, a *Agent) *transactions {
	t := &transactions{
		transport: transport,
		log:       log,
		arrivals:  arrivals{work: &a.work, panicked: a.panicked},
		onRequest: a.onRequest,
		onStray:   a.onStrayResponse,
		malformed: a.metrics.malformed.Inc,
		clients:   make(map[string]*clientTx),
		servers:   make(map[string]*serverTx),
		first:     make(map[requestID]*serverTx),
		early:     make(map[string]*inbound),
	}
	transport.OnMessage(func(m sip.Message) {
		guarded(func() { t.arrived(m) }, a.panicked)
	})
	return t
}

// arrived takes each message in the goroutine that read it.
func (t *transactions) arrived(m sip.Message) {
	switch m := m.(type) {
	case *sip.Request:
		t.request(m)
	case *sip.Response:
		t.response(m)
	}
}

// request gives a request to its transaction, or makes one of it. An ACK whose
// INVITE was not refused has none.
func (t *transactions) request(req *sip.Request) {
	key, err := serverKey(req, string(req.Method))
	if err != nil {
		t.unreadable(req)
		return
	}
	parsed(req)
	t.mu.Lock()
	known := t.servers[key]
	t.mu.Unlock()
	if known != nil && (req.IsAck() || req.Method == known.Origin().Method) {
		if err := known.Receive(req); err != nil {
			t.malformed()
		}
		return
	}
	conn, err := t.transport.GetConnection(req.Transport(), req.Source())
	if err != nil {
		return // closed by now: there is nowhere to answer to
	}
	tx := &serverTx{ServerTx: sip.NewServerTx(key, req, conn, t.log)}
	if !req.IsAck() {
		if err := tx.Init(); err != nil {
			_, _ = conn.TryClose()
			return
		}
		tx.id = idOf(req)
		if known = t.keep(tx); known != nil { // it came on another socket just now
			tx.Terminate()
			_ = known.Receive(req)
			return
		}
	}
	t.arrivals.offer(callID(req), func() { t.onRequest(req, tx.ServerTx) })
	t.mu.Lock()
	asked := t.early[key]
	t.mu.Unlock()
	if asked != nil {
		t.arrivals.add(callID(req), func() { t.late(key, asked) })
	}
}

// keep has a transaction known until it ends, unless one with its key is known.
func (t *transactions) keep(tx *serverTx) (known *serverTx) {
	key := tx.Key()
	t.mu.Lock()
	if known = t.servers[key]; known != nil {
		t.mu.Unlock()
		return known
	}
	t.servers[key] = tx
	if tx.id != (requestID{}) {
		if tx.merged = t.first[tx.id] != nil; !tx.merged {
			t.first[tx.id] = tx
		}
	}
	_, tx.cancelled = t.early[key]
	t.mu.Unlock()
	tx.OnTerminate(func(string, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.servers, key)
		t.lose(tx)
	})
	return nil
}

// lose takes a transaction out of those that merged requests are known by;
// called locked.
func (t *transactions) lose(tx *serverTx) {
	if t.first[tx.id] == tx {
		delete(t.first, tx.id)
	}
}

// merged says whether a request is one more copy of one that is being served
// or was accepted lately, RFC 3261 section 8.2.2.2. Whoever was refused and
// tries again by another way (RFC 3263 section 4.3) is not meant.
func (t *transactions) merged(tx *sip.ServerTx) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.servers[tx.Key()]
	return s != nil && s.merged
}

// refused notes that a request was refused.
func (t *transactions) refused(tx *sip.ServerTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.servers[tx.Key()]; s != nil {
		t.lose(s)
	}
}

// response gives a response to its transaction.
func (t *transactions) response(res *sip.Response) {
	key, err := sip.ClientTxKeyMake(res)
	if err != nil {
		t.malformed()
		return
	}
	t.mu.Lock()
	tx := t.clients[key]
	t.mu.Unlock()
	if tx == nil {
		t.arrivals.offer(callID(res), func() { t.onStray(res) })
		return
	}
	t.arrivals.offer(callID(res), func() { t.receive(tx, res) })
}

// receive has a response served to its end, so that what comes after it on the
// same leg finds it served. Whoever does not await it takes it from the
// transaction by itself.
func (t *transactions) receive(tx *clientTx, res *sip.Response) {
	if tx.final.Load() && !res.IsSuccess() {
		t.repeat(tx, res)
		return
	}
	done := make(chan struct{})
	go func() { // and is waited for
		defer close(done)
		guarded(func() { tx.Receive(res) }, t.arrivals.panicked)
	}()
	select {
	case <-tx.awaited:
	case <-done:
		return
	}
	select {
	case <-tx.Responses():
		<-done
	case <-done: // a repetition
		return
	}
	if !res.IsProvisional() {
		tx.final.Store(true)
	}
	if tx.each != nil {
		tx.each(res)
	}
	if tx.final.Load() && !tx.Origin().IsInvite() {
		tx.Terminate() // what comes later is a repetition
	}
}

// repeat acknowledges a refusal once more. The library takes its time for
// that, and keeps the transaction locked: one at a time, and nobody waits.
func (t *transactions) repeat(tx *clientTx, res *sip.Response) {
	if !tx.repeating.CompareAndSwap(false, true) {
		return
	}
	t.arrivals.work.Go(func() {
		defer tx.repeating.Store(false)
		guarded(func() { tx.Receive(res) }, t.arrivals.panicked)
	})
}

// Request starts a client transaction.
func (t *transactions) Request(ctx context.Context, req *sip.Request) (*sip.ClientTx, error) {
	key, err := sip.ClientTxKeyMake(req)
	if err != nil {
		return nil, fmt.Errorf("b2bua: %s has no key: %w", req.Method, err)
	}
	conn, err := t.transport.ClientRequestConnection(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("b2bua: connection to %s: %w", req.Destination(), err)
	}
	tx := &clientTx{ClientTx: sip.NewClientTx(key, req, conn, t.log), awaited: make(chan struct{})}
	t.mu.Lock()
	over := t.over
	if !over {
		t.clients[key] = tx
	}
	t.mu.Unlock()
	if over {
		tx.Terminate()
		return nil, net.ErrClosed
	}
	tx.OnTerminate(func(string, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.clients, key)
	})
	if err := tx.Init(); err != nil {
		tx.Terminate()
		return nil, err
	}
	return tx.ClientTx, nil
}

// await has each called with every answer up to the final one, in turn with
// the other messages of its Call-ID, or failed when none comes any more. It is
// called once a transaction, without delay.
func (t *transactions) await(of *sip.ClientTx, each func(*sip.Response), failed func(error)) {
	t.mu.Lock()
	tx := t.clients[of.Key()]
	t.mu.Unlock()
	if tx == nil {
		t.arrivals.work.Go(func() { failed(of.Err()) })
		return
	}
	tx.each = each
	ended := func(_ string, err error) {
		// In turn, because it may end while its final response is being served.
		t.arrivals.add(callID(of.Origin()), func() {
			if !tx.final.Load() {
				failed(err)
			}
		})
	}
	if !tx.OnTerminate(ended) {
		ended("", of.Err())
	}
	close(tx.awaited)
}

// Close ends all transactions, and none begins any more.
func (t *transactions) Close() {
	t.mu.Lock()
	t.over = true
	var all []interface{ Terminate() }
	for _, tx := range t.clients {
		all = append(all, tx)
	}
	for _, tx := range t.servers {
		all = append(all, tx)
	}
	t.mu.Unlock()
	for _, tx := range all {
		tx.Terminate()
	}
}

// unreadable answers a request that no transaction can be made of; over UDP
// the screen has done that.
func (t *transactions) unreadable(req *sip.Request) {
	t.malformed()
	if req.IsAck() {
		return
	}
	res := reply(req, 400, "Bad or Missing Via or CSeq", "")
	res.SetDestination(req.Source())
	_ = t.transport.WriteMsg(res) // that it cannot be sent is the far end's loss
}

var errNoKey = errors.New("b2bua: no Via, CSeq or Call-ID")

// serverKey is what the requests of one server transaction have in common, RFC
// 3261 section 17.2.3; ACK and CANCEL are of their INVITE when method says so.
func serverKey(req *sip.Request, method string) (string, error) {
	via, cseq := req.Via(), req.CSeq()
	if via == nil || cseq == nil {
		return "", errNoKey
	}
	if method == "ACK" {
		method = "INVITE"
	}
	branch, _ := via.Params.Get("branch")
	if strings.HasPrefix(branch, sip.RFC3261BranchMagicCookie) && len(branch) > len(sip.RFC3261BranchMagicCookie) {
		return fmt.Sprintf("%s %s:%d %s", branch, strings.ToLower(via.Host), via.Port, method), nil
	}
	return fmt.Sprintf("2543 %s %s %d %s %s", dialog.Tag(value(req, "from")), value(req, "call-id"),
		cseq.SeqNo, via.Value(), method), nil
}

// idOf is the requestID of a request that begins something.
func idOf(req *sip.Request) requestID {
	if req.IsCancel() || dialog.Tag(value(req, "to")) != "" {
		return requestID{}
	}
	return requestID{callID(req), dialog.Tag(value(req, "from")), value(req, "cseq")}
}

func callID(m message) string { return value(m, "call-id") }
