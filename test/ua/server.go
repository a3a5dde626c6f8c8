package ua

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// serverTx is one server transaction: a request that came in, and the response
// that answers it and its repetitions.
type serverTx struct {
	phone   *Phone
	key     string
	request *Message
	to      source                 // where responses go
	dialog  atomic.Pointer[Dialog] // set before the first response; nil outside dialogs

	mu       sync.Mutex
	last     *Message // the response that repetitions get
	interval time.Duration
	repeat   *alarm
	giveUp   *alarm
}

// serverKey names a server transaction: RFC 3261 section 17.2.3.
func serverKey(m *Message, method string) string {
	return m.Branch() + " " + m.sentBy() + " " + method + " " + m.CallID()
}

// serve finds or opens the transaction of a request other than ACK.
func (p *Phone) serve(m *Message, from source) (tx *serverTx, fresh bool) {
	key := serverKey(m, m.Method)
	p.mu.Lock()
	defer p.mu.Unlock()
	if tx := p.servers[key]; tx != nil {
		return tx, false
	}
	tx = &serverTx{phone: p, key: key, request: m, to: responsePath(m, from)}
	p.servers[key] = tx
	return tx, true
}

// transactionOf is the open INVITE transaction that a CANCEL or the ACK to a
// failure belongs to; nil when there is none.
func (p *Phone) transactionOf(m *Message) *serverTx {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.servers[serverKey(m, "INVITE")]
}

func (tx *serverTx) end() {
	tx.phone.mu.Lock()
	defer tx.phone.mu.Unlock()
	delete(tx.phone.servers, tx.key)
}

// responsePath says where responses go: RFC 3261 section 18.2.2 and RFC 3581 section 4.
func responsePath(m *Message, from source) source {
	via := m.topVia()
	if _, rport := findParam(via, "rport"); rport || from.stream != nil {
		return from
	}
	port := uint16(5060)
	if at, err := netip.ParseAddrPort(withPort(m.sentBy())); err == nil {
		port = at.Port()
	} else if _, text, err := net.SplitHostPort(withPort(m.sentBy())); err == nil {
		_, _ = fmt.Sscan(text, &port)
	}
	return source{addr: netip.AddrPortFrom(from.addr.Addr(), port)}
}

// stampVia notes in the topmost Via where a request came from.
func stampVia(m *Message, from source) {
	for i, h := range m.Headers {
		if !sameName(h.Name, "Via") {
			continue
		}
		values := splitList(h.Value)
		parts := splitParams(values[0])
		received := ";received=" + from.addr.Addr().String()
		stamped := parts[0]
		for _, p := range parts[1:] {
			if strings.EqualFold(strings.TrimSpace(p), "rport") {
				stamped += fmt.Sprintf(";rport=%d", from.addr.Port())
				continue
			}
			stamped += ";" + p
		}
		values[0] = stamped + received
		m.Headers[i].Value = strings.Join(values, ", ")
		return
	}
}

// again answers a repetition of the request.
func (tx *serverTx) again() {
	tx.mu.Lock()
	last := tx.last
	tx.mu.Unlock()
	if last != nil {
		tx.send(last)
	}
}

func (tx *serverTx) muted() bool {
	d := tx.dialog.Load()
	return tx.phone.silent.Load() || d != nil && d.silent.Load()
}

func (tx *serverTx) send(m *Message) {
	if !tx.muted() {
		_ = tx.phone.reply(m, tx.to) // a lost response is asked for again
	}
}

// response builds a response to the request: RFC 3261 section 8.2.6.
func (tx *serverTx) response(r Reply) *Message {
	m := &Message{Status: r.Status, Reason: r.Reason}
	if m.Reason == "" {
		m.Reason = reasonPhrase(r.Status)
	}
	m.copyAll(tx.request, "Via")
	m.copyAll(tx.request, "From")
	to := tx.request.Get("To")
	if tx.request.ToTag() == "" && r.Status > 100 {
		to += ";tag=" + tx.tag()
	}
	m.add("To", to)
	m.copyAll(tx.request, "Call-ID")
	m.copyAll(tx.request, "CSeq")
	if method := tx.request.Method; r.Status > 100 && r.Status < 300 {
		if method == "INVITE" {
			m.copyAll(tx.request, "Record-Route")
		}
		if method == "INVITE" || method == "UPDATE" || method == "OPTIONS" {
			m.add("Contact", tx.phone.contact())
		}
	}
	if agent := tx.phone.cfg.UserAgent; agent != "" {
		m.add("Server", agent)
	}
	m.merge(r.Headers)
	m.setBody(r.Body)
	return m
}

// tag is the local tag for a response that needs one.
func (tx *serverTx) tag() string {
	if d := tx.dialog.Load(); d != nil {
		return d.LocalTag
	}
	// The same for all responses of the transaction: section 8.2.6.2.
	return "stateless" + strings.TrimPrefix(tx.request.Branch(), "z9hG4bK")
}

// respond sends a response and keeps it for repetitions of the request. A
// final one is sent again until its ACK where the request is an INVITE, and
// abandoned is called if there is none for 64*T1; it may be nil. respond
// reports false, and sends nothing, when a final response went out before.
func (tx *serverTx) respond(m *Message, abandoned func()) bool {
	m.Raw = string(m.Bytes())
	p := tx.phone
	tx.mu.Lock()
	if tx.last != nil && tx.last.Status >= 200 {
		tx.mu.Unlock()
		return false
	}
	tx.last = m
	switch {
	case m.Status < 200:
	case tx.request.Method != "INVITE":
		p.tasks.after(p.timeout(), tx.end) // Timer J
	default:
		if m.Status < 300 || !p.reliable() {
			tx.interval = p.cfg.T1
			tx.repeat = p.tasks.after(tx.interval, tx.resend)
		}
		tx.giveUp = p.tasks.after(p.timeout(), func() { tx.abandon(abandoned) })
	}
	tx.mu.Unlock()
	tx.send(m)
	return true
}

// refused tells whether the final response was 300 or above.
func (tx *serverTx) refused() bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.last != nil && tx.last.Status >= 300
}

// resend is Timer G of RFC 3261 section 17.2.1, and section 13.3.1.4 for a 2xx.
func (tx *serverTx) resend() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.repeat == nil {
		return
	}
	last := tx.last
	tx.interval = min(2*tx.interval, tx.phone.t2())
	tx.repeat = tx.phone.tasks.after(tx.interval, tx.resend)
	tx.phone.tasks.start(func() { tx.send(last) })
}

// acknowledged stops the repetition of a final response. It reports whether
// this is the first ACK.
func (tx *serverTx) acknowledged() bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.giveUp == nil {
		return false
	}
	tx.repeat.stop()
	tx.giveUp.stop()
	tx.repeat, tx.giveUp = nil, nil
	tx.phone.tasks.after(tx.phone.timeout(), tx.end) // Timer I, or L for a 2xx (RFC 6026)
	return true
}

// abandon is Timer H: nobody acknowledged.
func (tx *serverTx) abandon(then func()) {
	if tx.acknowledged() && then != nil {
		then()
	}
}
