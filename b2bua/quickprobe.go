package b2bua

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// Most legs are over UDP, and most of what we send are probes. An OPTIONS of
// such a leg goes its own way: it is written straight into a buffer, waits for
// its answer among others of its kind, and of the answer is read what counts,
// before the library sees it. It needs no goroutine, and no memory that was not
// there already. What becomes of it goes to the observer as it does for any
// other probe.

// maxQuick bounds the probes that wait for an answer at once. More are
// deferred: there is no sense in asking more while so many do not answer.
const maxQuick = 100_000

// quickProbe is an OPTIONS that waits for its answer: RFC 3261 section 17.1.2
// with the Timers E and F. It is used again, but not before it was woken, which
// it is once after each sending.
type quickProbe struct {
	of *quickProbes

	mu         sync.Mutex // guards what is below
	call       *call
	side       store.Side
	branch     branchText
	socket     *packetConn
	to         netip.AddrPort
	sent       time.Time
	text       *bytes.Buffer // nil once it is over
	interval   time.Duration // until it is sent again
	left       time.Duration // until it is given up
	proceeding bool          // a provisional response came
}

// quickProbes are those that wait. The zero value is ready.
type quickProbes struct {
	mu      sync.Mutex // guards waiting
	waiting map[branchText]*quickProbe
	free    sync.Pool // of *quickProbe
}

// isQuick says whether a probe with this method can go its own way: nobody asks for
// credentials on its leg, and it is not the first after a takeover, whose answer
// says whether the leg's numbers are high enough.
func (c *call) isQuick(side store.Side, method string) bool {
	d := c.dialog(side)
	return method == "OPTIONS" && d.Transport == "udp" && c.account(side) == nil && !c.fresh[side] &&
		c.agent.socketFor(d.Transport, d.Listener, d.Peer).conn != nil
}

// probeQuickly sends the probe, with the turn.
func (c *call) probeQuickly(side store.Side, cseq uint32, timeout time.Duration) {
	d, q := c.dialog(side), &c.agent.quick
	s := c.agent.socketFor(d.Transport, d.Listener, d.Peer)
	to, err := netip.ParseAddrPort(d.Peer)
	if err != nil {
		c.probed(side, store.Answer{Kind: store.Unsent, Reason: err.Error()})
		return
	}
	p, _ := q.free.Get().(*quickProbe)
	if p == nil {
		p = &quickProbe{of: q}
	}
	branch := newBranch()
	buf := writing.Get().(*bytes.Buffer)
	buf.Reset()
	c.writeProbe(buf, side, s, cseq, branch)
	left := min(timeout, 64*sip.T1)
	interval := min(sip.T1, left)
	p.mu.Lock()
	p.call, p.side, p.branch, p.socket, p.to, p.sent = c, side, branch, s.conn, to, time.Now()
	p.text, p.interval, p.left, p.proceeding = buf, interval, left, false
	p.mu.Unlock()
	if !q.add(branch, p) {
		p.finish(branch)
		q.free.Put(p)
		c.probed(side, store.Answer{Kind: store.Deferred})
		return
	}
	c.agent.transaction.waits.after(interval, p, wakeRepeat)
	if err := p.send(branch); err != nil && p.finish(branch) {
		c.unsent(side, to, err)
	}
}

// send sends the probe, unless it is over.
func (p *quickProbe) send(branch branchText) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == nil || p.branch != branch {
		return nil
	}
	return p.socket.send(p.text.Bytes(), p.to)
}

// probed reports what became of a probe, with the turn.
func (c *call) probed(side store.Side, ans store.Answer) {
	ans.Method, ans.At = "OPTIONS", time.Now()
	c.agent.observer.Answered(c.id, side, ans)
}

// unsent reports a probe that the network did not take, with the turn.
func (c *call) unsent(side store.Side, to netip.AddrPort, err error) {
	c.moveOn(side, to.String())
	c.probed(side, store.Answer{Kind: store.Unsent, Reason: err.Error()})
}

func (q *quickProbes) add(branch branchText, p *quickProbe) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxQuick {
		return false
	}
	if q.waiting == nil {
		q.waiting = make(map[branchText]*quickProbe)
	}
	q.waiting[branch] = p
	return true
}

// finish takes a probe out, and is false when it was over.
func (p *quickProbe) finish(branch branchText) bool {
	p.of.mu.Lock()
	delete(p.of.waiting, branch)
	p.of.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == nil || p.branch != branch {
		return false
	}
	writing.Put(p.text)
	p.text = nil
	return true
}

// wake implements waker: it sends the probe again, or gives it up.
func (p *quickProbe) wake(wake) {
	p.mu.Lock()
	c, side, branch, to, over := p.call, p.side, p.branch, p.to, p.text == nil
	p.left -= p.interval
	p.interval *= 2
	if p.proceeding { // RFC 3261 section 17.1.2.2
		p.interval = sip.T2
	}
	p.interval = min(p.interval, sip.T2, p.left)
	interval := p.interval
	if over {
		p.call = nil
	}
	p.mu.Unlock()
	if over || interval <= 0 {
		if !over && p.finish(branch) && !c.agent.closing.Load() {
			c.do(func() { c.probed(side, store.Answer{Kind: store.Timeout}) })
		}
		p.of.free.Put(p)
		return
	}
	c.agent.transaction.waits.after(interval, p, wakeRepeat)
	if err := p.send(branch); err != nil && p.finish(branch) {
		c.do(func() { c.unsent(side, to, err) })
	}
}

// answer takes the response to a probe, and is false for anything else. It
// must come from where the far end is.
func (q *quickProbes) answer(datagram []byte, from netip.AddrPort, came time.Time) bool {
	status, branch, ok := readAnswer(datagram)
	if !ok {
		return false
	}
	q.mu.Lock()
	p := q.waiting[branch]
	q.mu.Unlock()
	if p == nil {
		return false
	}
	p.mu.Lock()
	c, side, sent, to, same := p.call, p.side, p.sent, p.to, p.branch == branch
	p.proceeding = p.proceeding || same
	p.mu.Unlock()
	switch {
	case !same, from.Addr().Unmap() != to.Addr().Unmap() && !c.mayBeFarEnd(side, from.Addr()):
		return false
	case status < 200:
		return true
	case !p.finish(branch):
		return false
	}
	ans := store.Answer{Kind: store.Answered, Status: status, RTT: max(0, came.Sub(sent))}
	if !c.turns.enter() {
		c.do(func() { c.answeredQuickly(side, ans) })
		return true
	}
	defer c.turns.leave(&c.agent.work, c.agent.panicked)
	c.answeredQuickly(side, ans)
	return true
}

// answeredQuickly serves an answer with the turn.
func (c *call) answeredQuickly(side store.Side, ans store.Answer) {
	c.firstAnswer(side, ans.Status)
	c.probed(side, ans)
}

// answersProbe says whether a datagram was the answer to a probe, and has been
// served.
func (a *Agent) answersProbe(datagram []byte, from netip.AddrPort, came time.Time) (did bool) {
	if a == nil {
		return false
	}
	guarded(func() { did = a.quick.answer(datagram, from, came) }, a.panicked)
	return did
}

// readAnswer reads status and branch of a response to an OPTIONS of ours.
func readAnswer(datagram []byte) (status int, branch branchText, ok bool) {
	if !isStatusLine(datagram) {
		return 0, branch, false
	}
	f := fields{rest: datagram}
	line := f.line()
	if !goodStatusLine(line) {
		return 0, branch, false
	}
	n, _ := digits(line[len("SIP/2.0 "):len("SIP/2.0 ")+3], 999)
	found := false
	for f.next() {
		switch fieldOf(f.name) {
		case fieldVia:
			if found {
				continue // the topmost counts
			}
			_, b, cut := bytes.Cut(f.value, []byte("branch="+magicCookie))
			if !cut || len(b) < branchLen || len(b) > branchLen && b[branchLen] != ';' && b[branchLen] != ',' {
				return 0, branch, false
			}
			found = copy(branch[:], b) == branchLen
		case fieldCSeq:
			return int(n), branch, found && bytes.HasSuffix(trimSpace(f.value), []byte("OPTIONS"))
		}
	}
	return 0, branch, false
}

// mayBeFarEnd is isFarEnd without the turn.
func (c *call) mayBeFarEnd(side store.Side, ip netip.Addr) bool {
	if c.agent.cfg.SourceCheck != SourceEnforce {
		return true
	}
	ip = ip.Unmap().WithZone("")
	c.mu.Lock()
	seen, trunk := c.rec.Legs[side].Seen, c.trunk(side)
	c.mu.Unlock()
	return seen == ip.String() || c.agent.belongs(ip, trunk)
}

// writeProbe writes the request that [Agent.question] builds; a test holds the
// two together.
func (c *call) writeProbe(b *bytes.Buffer, side store.Side, s *socket, cseq uint32, branch branchText) {
	d := c.dialog(side)
	host, port := c.agent.sentBy(s, d.Peer)
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	uri, routes, _ := dialog.NextHop(d)
	add := func(parts ...string) {
		for _, part := range parts {
			b.WriteString(part)
		}
	}
	number := func(n uint64) { b.Write(strconv.AppendUint(b.AvailableBuffer(), n, 10)) }
	add("OPTIONS ", uri, " SIP/2.0\r\nVia: SIP/2.0/UDP ", host, ":")
	number(uint64(port))
	add(";branch=", magicCookie)
	b.Write(branch[:])
	add(";rport\r\nMax-Forwards: 70\r\n")
	for _, r := range routes {
		add("Route: ", r, "\r\n")
	}
	add("From: ", d.LocalURI, ";tag=", d.LocalTag, "\r\nTo: ", d.RemoteURI)
	if d.RemoteTag != "" {
		add(";tag=", d.RemoteTag)
	}
	add("\r\nCall-ID: ", d.CallID, "\r\nCSeq: ")
	number(uint64(cseq))
	add(" OPTIONS\r\nContact: <sip:")
	if addr, err := dialog.ParseAddr(d.LocalURI); err == nil {
		if local, err := dialog.ParseURI(addr.URI); err == nil && local.User != "" {
			user, _, _ := strings.Cut(local.User, ":")
			add(user, "@")
		}
	}
	add(host, ":")
	number(uint64(port))
	add(">\r\n", probeTail)
	c.writeSession(b, side)
	add("Content-Length: 0\r\n\r\n")
}

// probeTail is probeHeaders as text.
var probeTail = func() string {
	var b strings.Builder
	for _, h := range probeHeaders {
		b.WriteString(h.Name() + ": " + h.Value() + "\r\n")
	}
	return b.String()
}()

// writeSession is ownSession, written out.
func (c *call) writeSession(b *bytes.Buffer, to store.Side) {
	local, _ := c.known(to.Other())
	remote, _ := c.known(to)
	if local == (sessionUUID{}) || remote == (sessionUUID{}) {
		return
	}
	b.WriteString("Session-ID: ")
	b.Write(hex.AppendEncode(b.AvailableBuffer(), local[:]))
	if local != remote {
		b.WriteString(";remote=")
		b.Write(hex.AppendEncode(b.AvailableBuffer(), remote[:]))
	}
	b.WriteString("\r\n")
}
