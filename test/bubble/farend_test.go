package bubble

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"sipvigil/test/ua"
	"sipvigil/test/udp"
)

// reply is what a far end does with one request that asks whether it is there.
type reply struct {
	status int
	drop   int           // so many transmissions are lost before it is answered
	after  time.Duration // the answer comes so late
	twice  bool          // it comes once more
	lost   bool          // it never comes, however often it is asked for
}

func (r reply) String() string {
	if r.lost {
		return "lost"
	}
	return fmt.Sprintf("%d after %v (drop %d, twice %v)", r.status, r.after, r.drop, r.twice)
}

// script is what a far end is like.
type script struct {
	replies []reply // to requests that ask whether it is there; then 200 for ever
	blind   bool    // answers 200 to OPTIONS of any dialog
	update  bool    // says that it takes UPDATE
	mute    bool    // does not answer it
}

// transaction is a request that came, by its branch.
type transaction struct {
	reply reply
	seen  int // transmissions
	sent  bool
}

// farEnd is a SIP user agent as small as it can be. It checks the numbers of
// what it is sent.
type farEnd struct {
	script
	user string
	host *udp.Host
	to   net.Addr

	mu           sync.Mutex // guards what is below
	callID       string
	tag, farTag  string
	local, far   string // From and To of its requests, without tags
	target       string // Request-URI of its requests
	cseq, high   uint32 // the last of its own, and the highest that it was sent
	leaps        bool   // the next number may leave some out
	fresh        bool   // nothing may have been answered since it did
	transactions map[string]*transaction
	asked        int    // requests that ask whether it is there
	method       string // of the last of them
	answers      string // the methods of those that it has answered
	dead         bool
	forgotten    bool
	byes         int
	said         []time.Time // when it sent something in its dialog
	faults       []error
}

func newFarEnd(n *udp.Network, user, addr string, s script) *farEnd {
	to, err := net.ResolveUDPAddr("udp", sipvigilAddr)
	if err != nil {
		panic(err) // a constant
	}
	return &farEnd{script: s, user: user, host: n.Listen(addr), to: to, tag: user + "-tag",
		transactions: make(map[string]*transaction)}
}

// serve takes what comes until the host is closed.
func (f *farEnd) serve() {
	b := make([]byte, 65536)
	for {
		n, _, err := f.host.ReadFrom(b)
		if err != nil {
			return
		}
		m, err := ua.Parse(append([]byte(nil), b[:n]...))
		f.mu.Lock()
		switch {
		case err != nil:
			f.faults = append(f.faults, err)
		case m.IsRequest():
			f.request(m)
		default:
			f.response(m)
		}
		f.mu.Unlock()
	}
}

// request serves a request. Called locked, as all that follows it here.
func (f *farEnd) request(m *ua.Message) {
	if m.Method == "ACK" {
		return
	}
	key := m.Branch() + m.Method
	tx := f.transactions[key]
	fresh := tx == nil
	if fresh {
		tx = &transaction{reply: f.decide(m)}
		f.transactions[key] = tx
	}
	tx.seen++
	if f.dead || tx.reply.lost || tx.seen <= tx.reply.drop || tx.sent && tx.reply.after > 0 {
		return
	}
	tx.sent = true
	if m.CallID() == f.callID {
		f.answers += m.Method + " "
	}
	answer := f.answer(m, tx.reply.status)
	f.later(tx.reply.after, answer)
	if fresh && tx.reply.twice {
		f.later(tx.reply.after+time.Second, answer)
	}
}

// decide says what becomes of a request that is new.
func (f *farEnd) decide(m *ua.Message) reply {
	ours := m.CallID() == f.callID && m.ToTag() == f.tag
	switch {
	case m.Method == "INVITE" && m.ToTag() == "":
		f.callID, f.farTag, f.high = m.CallID(), m.FromTag(), number(m)
		f.local, f.far = m.Get("To"), untagged(m.Get("From"))
		f.target = strings.Trim(m.Get("Contact"), "<>")
		return reply{status: 200}
	case !ours && f.blind && m.Method == "OPTIONS":
		return reply{status: 200}
	case !ours:
		return reply{status: 481}
	}
	f.count(m)
	if m.Method == "BYE" {
		f.byes++
	}
	switch {
	case f.forgotten && f.blind && m.Method == "OPTIONS":
		return reply{status: 200}
	case f.forgotten:
		return reply{status: 481}
	case m.Method == "UPDATE" && f.mute:
		f.method = m.Method
		return reply{lost: true}
	case m.Method != "OPTIONS" && m.Method != "UPDATE":
		return reply{status: 200}
	}
	f.asked++
	f.method = m.Method
	if f.asked > len(f.replies) {
		return reply{status: 200}
	}
	r := f.replies[f.asked-1]
	switch {
	case f.fresh && r.status == 500: // it looks as if the leap was not far enough
		f.leaps = true
	case !r.lost && r.drop == 0 && r.after == 0:
		f.fresh = false
	}
	return r
}

// count demands that numbers rise, by one unless sipvigil was started again.
func (f *farEnd) count(m *ua.Message) {
	n := number(m)
	if n <= f.high || n > f.high+1 && !f.leaps {
		f.faults = append(f.faults, fmt.Errorf("%s: %s has CSeq %d, the request before it %d", f.user, m.Method, n, f.high))
	}
	f.fresh = f.fresh || f.leaps
	f.high, f.leaps = max(n, f.high), false
}

func (f *farEnd) leap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaps = true
}

// response serves a response: the call is acknowledged when it is answered.
func (f *farEnd) response(m *ua.Message) {
	if _, method := m.CSeq(); method == "INVITE" && m.Status >= 200 {
		f.farTag, f.target = m.ToTag(), strings.Trim(m.Get("Contact"), "<>")
		f.say(f.build("ACK", f.cseq))
	}
}

func (f *farEnd) later(d time.Duration, text string) {
	if d == 0 {
		f.say(text)
		return
	}
	time.AfterFunc(d, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.dead {
			f.say(text)
		}
	})
}

func (f *farEnd) say(text string) {
	if strings.Contains(text, "\r\nCall-ID: "+f.callID+"\r\n") {
		f.said = append(f.said, time.Now())
	}
	_, _ = f.host.WriteTo([]byte(text), f.to) // this network takes everything
}

// dial begins the call.
func (f *farEnd) dial() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.callID, f.cseq = "call@"+f.user, 1
	f.local, f.far, f.target = "<sip:alice@example.com>", "<sip:bob@example.com>", "sip:bob@example.com"
	f.say(f.build("INVITE", f.cseq))
}

// talk sends a request that concerns the other far end.
func (f *farEnd) talk() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cseq++
	f.say(f.build("INFO", f.cseq))
}

// die has the far end fall silent for ever; forget has it lose its call.
func (f *farEnd) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
}

func (f *farEnd) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten = true
}

// ended says whether it was sent BYE.
func (f *farEnd) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byes > 0
}

// untried says whether it has never answered what it was last asked with.
func (f *farEnd) untried() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !strings.Contains(f.answers, f.method)
}

// before is when it last sent something in its dialog before a moment.
func (f *farEnd) before(moment time.Time) (last time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.said {
		if at.Before(moment) {
			last = at
		}
	}
	return last
}

func (f *farEnd) fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.faults...)
}

func (f *farEnd) build(method string, cseq uint32) string {
	far := f.far
	if f.farTag != "" {
		far += ";tag=" + f.farTag
	}
	return message(method+" "+f.target+" SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bK-%s-%s-%d", f.host.Addr, f.user, method, cseq),
		"Max-Forwards: 70", "From: "+f.local+";tag="+f.tag, "To: "+far, "Call-ID: "+f.callID,
		fmt.Sprintf("CSeq: %d %s", cseq, method), f.contact(), f.allow(), "User-Agent: "+f.user)
}

func (f *farEnd) answer(m *ua.Message, status int) string {
	lines := []string{fmt.Sprintf("SIP/2.0 %d Whatever", status)}
	for _, via := range m.All("Via") {
		lines = append(lines, "Via: "+via)
	}
	to := m.Get("To")
	if m.ToTag() == "" {
		to += ";tag=" + f.tag
	}
	return message(append(lines, "From: "+m.Get("From"), "To: "+to, "Call-ID: "+m.CallID(), "CSeq: "+m.Get("CSeq"),
		f.contact(), f.allow(), "Server: "+f.user)...)
}

func (f *farEnd) contact() string { return fmt.Sprintf("Contact: <sip:%s@%s>", f.user, f.host.Addr) }

func (f *farEnd) allow() string {
	if f.update {
		return "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE"
	}
	return "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO"
}

func message(lines ...string) string {
	return strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

func number(m *ua.Message) uint32 { n, _ := m.CSeq(); return n }

func untagged(addr string) string { a, _, _ := strings.Cut(addr, ";tag="); return a }
