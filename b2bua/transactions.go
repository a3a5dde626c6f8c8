package b2bua

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// transactions brings each message to its transaction, RFC 3261 sections
// 17.1.3 and 17.2.3, and hands what concerns the agent over in the order in
// which it came: the messages of one Call-ID are served one after the other.
//
// Of the library only its parser is used. Its connections read each message
// twice, and its transactions serve each one in new goroutines, where the
// messages of a dialog overtake each other, answer CANCEL with tags of their own,
// and keep whole messages for as long as they linger.
type transactions struct {
	arrivals  arrivals
	waits     waits
	onRequest func(*received, *serverTx)
	onStray   func(*received) // a response without transaction
	malformed func()
	overload  func() // a call was refused because there is too much to do
	strain    strain
	outlet    func(*request, func(*stream, error)) (*stream, error) // [Agent.outlet]
	closing   *atomic.Bool                                          // nobody is told what fails any more

	mu      sync.Mutex // guards what is below
	clients map[clientKey]*clientTx
	servers map[serverKey]*serverTx
	first   map[requestID]*serverTx // of the requests that begin something
	early   map[serverKey]*inbound  // CANCELs that came before their INVITE
	most    int                     // transactions that there were, see slim
	over    bool
}

// clientKey is what a request has in common with its responses, RFC 3261
// section 17.1.3.
type clientKey struct{ branch, method string }

// serverKey is what the requests of one server transaction have in common, RFC
// 3261 section 17.2.3.
type serverKey struct {
	branch string
	sentBy sentBy
	method string
}

// requestID is the same for copies of a request that came on several ways, RFC
// 3261 section 8.2.2.2. It is empty for requests inside a dialog.
//
// Departs from RFC 3261 section 8.2.2.2: copies that go to different places are
// different requests. We are there for many users, and a proxy that forks may
// reach several of their phones by way of us.
type requestID struct{ callID, fromTag, cseq, uri, route string }

func newTransactions(a *Agent) *transactions {
	t := &transactions{
		outlet:    a.outlet,
		closing:   &a.closing,
		arrivals:  arrivals{work: &a.work, panicked: a.panicked},
		waits:     waits{panicked: a.panicked},
		onRequest: a.onRequest,
		onStray:   a.onStrayResponse,
		malformed: a.metrics.malformed.Inc,
		overload:  a.metrics.rejected.WithLabelValues("overload").Inc,
		clients:   make(map[clientKey]*clientTx),
		servers:   make(map[serverKey]*serverTx),
		first:     make(map[requestID]*serverTx),
		early:     make(map[serverKey]*inbound),
	}
	return t
}

// arrived takes each message in the goroutine that read it. What is left to do is
// returned, if there is anything.
func (t *transactions) arrived(m *received, by carrier) (q *queue) {
	if m.method != "" {
		return t.request(m, by)
	}
	return t.response(m, by)
}

// request gives a request to its transaction, or makes one of it. An ACK whose
// INVITE was not refused has none.
func (t *transactions) request(req *received, conn carrier) (q *queue) {
	key, err := serverKeyOf(req, req.method)
	if err != nil {
		t.unreadable(req, conn)
		return nil
	}
	t.mu.Lock()
	known := t.servers[key]
	t.mu.Unlock()
	if known != nil {
		known.receive(req)
		return nil
	}
	if req.isAck() && strings.HasPrefix(req.toTag, noCallTag) || t.tooMany(key, req, conn) {
		return nil
	}
	tx := &serverTx{of: t, key: key, conn: conn, req: req}
	var asked *inbound
	if !req.isAck() {
		tx.id = idOf(req)
		if known, asked = t.keep(tx); known != nil { // it came on another socket just now
			known.receive(req)
			return nil
		}
		if req.method == "INVITE" {
			t.waits.after(tryingAfter, tx, wakeTrying)
		}
	}
	came := conn.lastCame()
	q, ok := t.arrivals.offer(req.callID, func() { t.strain.waited(came); t.onRequest(req, tx) })
	if !ok {
		tx.terminate() // nobody would answer it: it is as if it had not come
	}
	if asked != nil {
		t.arrivals.add(req.callID, func() { t.late(key, asked) })
	}
	return q
}

// keep has a transaction known until it ends, unless one with its key is known.
// asked is a CANCEL that came before it.
func (t *transactions) keep(tx *serverTx) (known *serverTx, asked *inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known = t.servers[tx.key]; known != nil {
		return known, nil
	}
	t.servers[tx.key] = tx
	if tx.id != (requestID{}) {
		if tx.merged = t.first[tx.id] != nil; !tx.merged {
			t.first[tx.id] = tx
		}
	}
	asked = t.early[tx.key]
	tx.cancelled = asked != nil
	return nil, asked
}

// maxKept is how many requests are known while those outside of calls are kept
// once they are answered. A busy node has fewer; whoever sends ten thousand a
// second, be it in the name of a trunk, would have them fill the memory.
const maxKept = 1 << 16

// crowded says whether there are more.
func (t *transactions) crowded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.servers) > maxKept
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
func (t *transactions) merged(tx *serverTx) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tx.merged
}

// refused notes that a request was refused.
func (t *transactions) refused(tx *serverTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lose(tx)
}

// response gives a response to its transaction.
func (t *transactions) response(res *received, conn carrier) (q *queue) {
	key, err := clientKeyOf(res)
	if err != nil {
		t.malformed()
		return nil
	}
	t.mu.Lock()
	tx := t.clients[key]
	t.mu.Unlock()
	if tx == nil {
		q, _ = t.arrivals.offer(res.callID, func() { t.onStray(res) })
		return q
	}
	came := conn.lastCame()
	q, ok := t.arrivals.offer(res.callID, func() { t.strain.waited(came); tx.receive(res) })
	if ok {
		tx.hear(res.status)
	}
	return q
}

// begin starts a client transaction.
func (t *transactions) begin(req *request) (*clientTx, error) {
	key := clientKey{req.branch, req.method}
	tx := &clientTx{of: t, key: key, callID: req.callID, out: req}
	t.mu.Lock()
	over := t.over
	if !over {
		t.clients[key] = tx
	}
	t.mu.Unlock()
	if over {
		tx.terminate()
		return nil, net.ErrClosed
	}
	if err := tx.start(); err != nil {
		tx.terminate()
		return nil, err
	}
	return tx, nil
}

// stop ends all transactions, and none begins any more.
func (t *transactions) stop() {
	t.waits.stop()
	t.mu.Lock()
	t.over = true
	var all []interface{ terminate() }
	for _, tx := range t.clients {
		all = append(all, tx)
	}
	for _, tx := range t.servers {
		all = append(all, tx)
	}
	t.mu.Unlock()
	for _, tx := range all {
		tx.terminate()
	}
}

// unreadable answers a request that no transaction can be made of; over UDP
// the screen has done that.
func (t *transactions) unreadable(req *received, conn carrier) {
	t.malformed()
	if req.isAck() {
		return
	}
	res := reply(req, 400, "Bad or Missing Via or CSeq", value(req, "to"))
	_ = conn.answer(res.text(), req.source) // that it cannot be sent is the far end's loss
}

var errNoKey = errors.New("b2bua: no Via, CSeq or Call-ID")

// clientKeyOf is the key of the request that a response answers.
func clientKeyOf(m *received) (clientKey, error) {
	branch, method := m.via.branch, m.cseqMethod
	if method == "" || !isUnique(branch) {
		return clientKey{}, errNoKey
	}
	return clientKey{branch, method}, nil
}

// serverKeyOf is the key of a request; ACK and CANCEL are of their INVITE when
// method says so. A transaction of an RFC 2543 peer has no branch that names it:
// RFC 3261 section 17.2.3 has it known by Request-URI, From tag, Call-ID, CSeq
// number and topmost Via. The To tag is left out, so that ACK and CANCEL find
// their INVITE.
func serverKeyOf(req *received, method string) (serverKey, error) {
	if req.via.host == "" || req.cseqMethod == "" {
		return serverKey{}, errNoKey
	}
	if method == "ACK" {
		method = "INVITE"
	}
	if isUnique(req.via.branch) {
		return serverKey{req.via.branch, req.via.sentBy, method}, nil
	}
	return serverKey{fmt.Sprintf("2543 %s %s %s %d %s", req.uri, req.fromTag, req.callID, req.cseq, value(req, "via")), sentBy{}, method}, nil
}

// isUnique says whether a branch is one of RFC 3261, which names its transaction.
func isUnique(branch string) bool {
	return len(branch) > len(magicCookie) && strings.HasPrefix(branch, magicCookie)
}

// idOf is the requestID of a request that begins something.
func idOf(req *received) requestID {
	if req.method == "CANCEL" || req.toTag != "" {
		return requestID{}
	}
	return requestID{req.callID, req.fromTag, value(req, "cseq"), req.uri, value(req, "route")}
}
