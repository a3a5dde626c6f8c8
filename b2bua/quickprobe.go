package b2bua

import (
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/store"
)

// Most legs are over UDP, and most of what we send are probes. An OPTIONS of
// such a leg goes its own way: it is written straight into a buffer, waits for
// its answer among others of its kind, and only what counts of the answer is
// read, without the library. It needs no goroutine and no new memory. What
// becomes of it goes to the observer as with any other probe.

// maxQuick bounds the probes that wait for an answer at once. More are
// deferred: there is no sense in asking more while so many do not answer.
const maxQuick = 100_000

// quickProbe is an OPTIONS that waits for its answer: RFC 3261 section 17.1.2
// with the Timers E and F. It is used again once it is over and nobody holds it.
type quickProbe struct {
	of *quickProbes

	call     *call
	question store.Question
	branch   branchText
	socket   *packetConn
	packet

	// Guarded by the lock of quickProbes.
	sent       time.Time
	interval   time.Duration // until it is sent again
	left       time.Duration // until it is given up
	proceeding bool          // a provisional response came
	over       bool
	holders    int // who send it, or will wake it

	older, newer *quickProbe // in the line
}

// quickProbes are those that wait. Most are answered before they are sent once
// more: these stand in a line with one timer, and cost none of their own.
type quickProbes struct {
	observer Observer
	free     sync.Pool // of *quickProbe

	mu             sync.Mutex // guards what is below
	waiting        map[branchText]*quickProbe
	oldest, newest *quickProbe // of the line of those that were sent once
	timer          *time.Timer // of the oldest
	armed, stopped bool
}

// quickSocket is where a probe with this method can go its own way, else nil.
// Nobody asks for credentials on its leg then, and it is not the first after a
// takeover, whose answer says whether the leg's numbers are high enough.
func (c *call) quickSocket(side store.Side, method string) *socket {
	d := c.dialog(side)
	if method != "OPTIONS" || d.Transport != "udp" || c.account(side) != nil || c.fresh[side] {
		return nil
	}
	if s := c.agent.socketFor(d.Transport, d.Listener, d.Peer); s.conn != nil {
		return s
	}
	return nil
}

// probeQuickly sends the probe, with the turn, or puts it into a volley, which
// has the turn from then on.
func (c *call) probeQuickly(question store.Question, s *socket, cseq uint32, timeout time.Duration, v *volley) {
	side, q := question.Side, &c.agent.quick
	to, err := v.address(c.dialog(side).Peer)
	if err != nil {
		c.probed(question, store.Answer{Kind: store.Unsent, Reason: err.Error()})
		return
	}
	p, _ := q.free.Get().(*quickProbe)
	if p == nil {
		p = &quickProbe{of: q}
	}
	p.call, p.question, p.branch, p.socket, p.to, p.sent = c, question, newBranch(), s.conn, to, v.began()
	p.text = c.appendProbe(p.text[:0], side, s, cseq, p.branch)
	left := min(timeout, 64*sip.T1)
	if !q.add(p, left) {
		q.free.Put(p)
		c.probed(question, store.Answer{Kind: store.Deferred})
		return
	}
	if left < sip.T1 {
		c.agent.transaction.waits.after(left, p, wakeRepeat)
	}
	if v != nil {
		v.probes = append(v.probes, p)
		return
	}
	p.send()
	q.release(p)
}

// send sends a probe, with the turn.
func (p *quickProbe) send() {
	if err := p.socket.send(p.text, p.to); err != nil && p.of.finish(p) {
		p.call.unsent(p.question, p.to, err)
	}
}

// probed reports what became of a probe, with the turn.
func (c *call) probed(q store.Question, ans store.Answer) {
	ans.Method, ans.At, ans.Of = q.Method, time.Now(), q.Of
	c.agent.observer.Answered(store.Reply{ID: c.id, Side: q.Side, Answer: ans})
}

// unsent reports a probe that the network did not take, with the turn.
func (c *call) unsent(q store.Question, to netip.AddrPort, err error) {
	c.moveOn(q.Side, to.String(), err)
	c.probed(q, store.Answer{Kind: store.Unsent, Reason: err.Error(), Ours: ours(err)})
}

// add has a probe wait, held by who sends it, and by its waker if it is not to
// wait for as long as others.
func (q *quickProbes) add(p *quickProbe, left time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxQuick {
		return false
	}
	if q.waiting == nil {
		q.waiting = make(map[branchText]*quickProbe)
	}
	q.waiting[p.branch] = p
	p.interval, p.left, p.proceeding, p.over, p.holders = min(sip.T1, left), left, false, false, 1
	if left < sip.T1 {
		p.holders++
		return true
	}
	if p.older = q.newest; p.older != nil {
		p.older.newer = p
	} else {
		q.oldest = p
	}
	q.newest = p
	q.arm(sip.T1)
	return true
}

// arm has repeat run after d, unless that is planned already. Called locked.
func (q *quickProbes) arm(d time.Duration) {
	switch {
	case q.armed || q.stopped:
		return
	case q.timer == nil:
		q.timer = time.AfterFunc(d, q.repeat)
	default:
		q.timer.Reset(d)
	}
	q.armed = true
}

// leave takes a probe out of the line if it stands there. Called locked.
func (q *quickProbes) leave(p *quickProbe) {
	if p.older != nil {
		p.older.newer = p.newer
	} else if q.oldest == p {
		q.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else if q.newest == p {
		q.newest = p.older
	}
	p.older, p.newer = nil, nil
}

// end takes a probe out. Called locked.
func (q *quickProbes) end(p *quickProbe) {
	delete(q.waiting, p.branch)
	q.leave(p)
	p.over = true
	q.reuse(p)
}

// reuse keeps a probe for later if it is over and nobody holds it. Called locked.
func (q *quickProbes) reuse(p *quickProbe) {
	if p.over && p.holders == 0 {
		p.call, p.question = nil, store.Question{}
		q.free.Put(p)
	}
}

// finish ends a probe that is held, and is false when it was over.
func (q *quickProbes) finish(p *quickProbe) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.over {
		return false
	}
	q.end(p)
	return true
}

// wait says whether any probe waits for its answer.
func (q *quickProbes) wait() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) > 0
}

// release lets go of a probe.
func (q *quickProbes) release(p *quickProbe) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.holders--
	q.reuse(p)
}

// together is how much earlier than its time a probe is sent again when that
// saves waking up for it alone.
const together = time.Millisecond

// repeat wakes those at the front of the line whose time has come: Timer E of
// RFC 3261 section 17.1.2.2.
func (q *quickProbes) repeat() {
	for {
		q.mu.Lock()
		p := q.oldest
		q.armed = false
		if p == nil || q.stopped {
			q.mu.Unlock()
			return
		}
		if left := sip.T1 - time.Since(p.sent); left > together {
			q.arm(left)
			q.mu.Unlock()
			return
		}
		q.leave(p)
		p.holders++
		panicked := p.call.agent.panicked
		q.mu.Unlock()
		guarded(func() { p.wake(wakeRepeat) }, panicked)
	}
}

// stop sends nothing again any more.
func (q *quickProbes) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	if q.timer != nil {
		q.timer.Stop()
	}
}

// wake implements waker: it sends the probe again, or gives it up. Who wakes it
// has held it until then.
func (p *quickProbe) wake(wake) {
	q := p.of
	defer q.release(p)
	q.mu.Lock()
	if p.over {
		q.mu.Unlock()
		return
	}
	p.left -= p.interval
	p.interval *= 2
	if p.proceeding { // RFC 3261 section 17.1.2.2
		p.interval = sip.T2
	}
	p.interval = min(p.interval, sip.T2, p.left)
	interval := p.interval
	if interval > 0 {
		p.holders++ // for the next wake
	}
	q.mu.Unlock()
	c, question, to := p.call, p.question, p.to
	if interval <= 0 {
		if q.finish(p) && !c.agent.closing.Load() {
			c.do(func() { c.probed(question, store.Answer{Kind: store.Timeout}) })
		}
		return
	}
	if !c.agent.may() { // another node may have asked meanwhile, with higher numbers
		if q.finish(p) {
			c.do(func() { c.probed(question, store.Answer{Kind: store.Deferred}) })
		}
	} else if err := p.socket.send(p.text, to); err != nil && q.finish(p) {
		c.do(func() { c.unsent(question, to, err) })
	}
	// Only now: it must not be given up, and the next number used, before it is sent.
	c.agent.transaction.waits.after(interval, p, wakeRepeat)
}

// answer takes the response to a probe, which came then, and is false for
// anything else. It must come from where the far end is. A final one is added to
// the replies, which go to the observer without the turn: nothing of the call
// depends on them.
func (q *quickProbes) answer(datagram []byte, from netip.AddrPort, came time.Time, replies *[]store.Reply) bool {
	status, branch, ok := readAnswer(datagram)
	if !ok {
		return false
	}
	question, sent, ok := q.take(status, branch, from)
	if ok && status >= 200 {
		*replies = append(*replies, store.Reply{ID: question.ID, Side: question.Side, Answer: store.Answer{Kind: store.Answered,
			Method: question.Method, Status: status, RTT: max(0, steady(came).Sub(sent)), Of: question.Of}})
	}
	return ok
}

// take finds the probe that a response is to, and ends it if that is final.
func (q *quickProbes) take(status int, branch branchText, from netip.AddrPort) (_ store.Question, sent time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.waiting[branch]
	if p == nil {
		return store.Question{}, sent, false
	}
	if from.Addr().Unmap() != p.to.Addr().Unmap() {
		c, side := p.call, p.question.Side
		q.mu.Unlock()
		may := c.mayBeFarEnd(side, from.Addr())
		q.mu.Lock()
		if !may || q.waiting[branch] != p {
			return store.Question{}, sent, false
		}
	}
	question, sent := p.question, p.sent
	if status < 200 {
		p.proceeding = true
	} else {
		q.end(p)
	}
	return question, sent, true
}

// answersProbe says whether a datagram was the answer to a probe, which is to be
// told then.
func (p *packetConn) answersProbe(datagram []byte, from netip.AddrPort) (did bool) {
	a := p.guard.agent
	if a == nil {
		return false
	}
	guarded(func() { did = a.quick.answer(datagram, from, p.came, &p.replies) }, a.panicked)
	return did
}

// tell passes the replies on that were read one after the other.
func (p *packetConn) tell() {
	if len(p.replies) == 0 {
		return
	}
	a := p.guard.agent
	guarded(func() { a.quick.observer.Answered(p.replies...) }, a.panicked)
	clear(p.replies)
	p.replies = p.replies[:0]
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
