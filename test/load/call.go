package load

import (
	"hash/maphash"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// state is how far a call is.
type state uint8

const (
	inviting state = iota
	talking        // the caller has its 2xx and has sent the ACK
	ending         // BYE is on its way
	over
)

// call is both sides of one call; guarded by the generator.
type call struct {
	number int
	state  state
	tries  int // how often the current request was sent
	began  time.Time

	to, contact, route []byte    // of the caller's dialog
	answered           bool      // its BYE was
	bye                bool      // the callee got it
	acked              bool      // likewise
	answer             []byte    // the callee's 2xx until its ACK
	tries2xx           int       // how often that was sent
	last               [2]uint32 // CSeq of the last request that came from the element, by side
	branch             [2]uint64 // hash of its topmost Via
}

const (
	callerSide = iota
	calleeSide
)

// task is what waits for its time.
type task uint8

const (
	repeatInvite task = iota
	repeatBye
	repeatAnswer
	hangUp
	giveUp
)

// due is a task of a call.
type due struct {
	at    time.Time
	call  *call
	task  task
	tries int   // of the request that is to be repeated
	state state // that is given up
}

// line holds what waits for equally long, first come first served.
type line struct {
	wait  time.Duration
	queue []due
}

// after has something done later; called locked.
func (g *Generator) after(wait time.Duration, d due) {
	d.at = time.Now().Add(wait)
	for _, l := range g.lines {
		if l.wait == wait {
			l.queue = append(l.queue, d)
			return
		}
	}
	g.lines = append(g.lines, &line{wait: wait, queue: []due{d}})
}

// doDue does what is due.
func (g *Generator) doDue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for now, i := time.Now(), 0; i < len(g.lines); i++ {
		for l := g.lines[i]; len(l.queue) > 0 && !l.queue[0].at.After(now); l.queue = l.queue[1:] {
			g.do(l.queue[0])
		}
	}
}

// do does one task, unless the call has gone on meanwhile; called locked.
func (g *Generator) do(d due) {
	c := d.call
	switch d.task {
	case repeatInvite:
		if c.state == inviting && c.tries == d.tries {
			g.invite(c)
		}
	case repeatBye:
		if c.state == ending && c.tries == d.tries {
			g.sendBye(c)
		}
	case repeatAnswer:
		if c.answer != nil {
			g.accept(c)
		}
	case hangUp:
		if c.state == talking {
			c.state, c.tries = ending, 0
			g.after(lifetime, due{call: c, task: giveUp, state: ending})
			g.sendBye(c)
		}
	case giveUp:
		if c.state == d.state {
			g.end(c, &g.counts.failed)
		}
	}
}

func (g *Generator) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &call{number: len(g.calls), began: time.Now()}
	g.calls = append(g.calls, c)
	g.after(lifetime, due{call: c, task: giveUp})
	g.invite(c)
}

func (g *Generator) invite(c *call) {
	if g.again(c, repeatInvite) {
		g.send(g.caller, g.appendInvite(g.out[:0], c))
	}
}

func (g *Generator) hangUp(c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.do(due{call: c, task: hangUp})
}

func (g *Generator) sendBye(c *call) {
	if g.again(c, repeatBye) {
		g.send(g.caller, g.appendInside(g.out[:0], c, "BYE", 2))
	}
}

// again counts one more sending of a request, and has the next one follow,
// Timers A and E of RFC 3261, until the call has failed; then it is false.
func (g *Generator) again(c *call, t task) bool {
	const most = 6
	if c.tries > 0 {
		g.counts.again.Add(1)
	}
	if c.tries++; c.tries > most {
		g.end(c, &g.counts.failed)
		return false
	}
	g.after(t1<<(c.tries-1), due{call: c, task: t, tries: c.tries})
	return true
}

func (g *Generator) end(c *call, n *atomic.Int64) {
	if c.state != over {
		n.Add(1)
	}
	*c = call{number: c.number, state: over, last: c.last, branch: c.branch} // nothing else is needed
}

func (g *Generator) atCaller(m *message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.find(m.callID)
	if c == nil || m.status == 0 {
		g.question(m, c, callerSide)
		return
	}
	switch m.method {
	case invite:
		g.atInvite(c, m)
	case bye:
		switch {
		case c.state != ending || m.status < 200:
		case m.status != 200:
			g.end(c, &g.counts.failed)
		default:
			c.answered, c.tries = true, 0 // not to be sent again
			g.bothSides(c)
		}
	}
}

// atInvite serves an answer to the caller's INVITE.
func (g *Generator) atInvite(c *call, m *message) {
	switch {
	case m.status < 200:
		if c.state == inviting {
			c.tries = -1 // what is in line finds another count: it is not sent again
		}
	case m.status >= 300:
		g.send(g.caller, g.appendRefusedAck(g.out[:0], c, m))
		if c.state == inviting {
			n := &g.counts.failed
			if m.status == 503 || m.status == 480 || m.status == 486 {
				n = &g.counts.refused
			}
			g.end(c, n)
		}
	case c.state == inviting:
		g.setup = append(g.setup, time.Since(c.began))
		c.state, c.tries = talking, 0
		c.to, c.contact, c.route = slices.Clone(m.to), slices.Clone(m.contact), m.routes()
		g.send(g.caller, g.appendInside(g.out[:0], c, "ACK", 1))
		g.counts.answered.Add(1)
		if g.hold > 0 {
			g.after(g.hold, due{call: c, task: hangUp})
		}
	case c.state == talking:
		g.counts.again.Add(1)
		g.send(g.caller, g.appendInside(g.out[:0], c, "ACK", 1))
	}
}

func (g *Generator) atCallee(m *message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.find(m.to)
	if m.status != 0 {
		g.counts.other.Add(1)
		return
	}
	if c == nil {
		g.send(g.callee, m.appendAnswer(g.out[:0], 481, "", ""))
		return
	}
	switch m.method {
	case invite:
		g.called(c, m)
	case ack:
		c.acked, c.answer = true, nil
	case bye:
		g.inOrder(c, m, calleeSide)
		c.bye = true
		g.send(g.callee, m.appendAnswer(g.out[:0], 200, "", ""))
		switch c.state {
		case talking:
			g.end(c, &g.counts.lost)
		case ending:
			g.bothSides(c)
		}
	default:
		g.question(m, c, calleeSide)
	}
}

// bothSides ends a call whose BYE was answered and has come to the callee.
func (g *Generator) bothSides(c *call) {
	if c.answered && c.bye && c.acked {
		g.end(c, &g.counts.good)
	}
}

// called rings and answers at once.
func (g *Generator) called(c *call, m *message) {
	if c.answer != nil || c.acked {
		g.counts.again.Add(1)
		return
	}
	g.inOrder(c, m, calleeSide)
	tag := ";tag=" + g.tag(c, calleeSide)
	contact := "Contact: <sip:" + g.token(c) + "@" + addrOf(g.callee).String() + ">\r\n"
	g.send(g.callee, m.appendAnswer(g.out[:0], 180, tag, contact))
	c.answer = m.appendAnswer(nil, 200, tag, contact+sdpHeader)
	c.tries2xx = 0
	g.accept(c)
}

// accept sends the callee's 2xx until its ACK comes, RFC 3261 section 13.3.1.4.
func (g *Generator) accept(c *call) {
	if c.answer == nil {
		return
	}
	if c.tries2xx++; c.tries2xx > 1 {
		g.counts.again.Add(1)
	}
	g.send(g.callee, c.answer)
	if c.tries2xx < 10 {
		g.after(min(t1<<(c.tries2xx-1), t2), due{call: c, task: repeatAnswer})
	}
}

// question answers a request that asks after a call, and the BYE of an element
// that has given the call up.
func (g *Generator) question(m *message, c *call, side int) {
	switch {
	case m.status != 0:
		return // to a call of another run
	case m.method == ack:
		return
	case c == nil || !m.isTo(g.tag(c, side)) || c.state == over && m.method != bye:
		g.send(g.conn(side), m.appendAnswer(g.out[:0], 481, ";tag=x", ""))
		return
	case !g.inOrder(c, m, side):
		g.counts.repeated.Add(1)
	case m.method == bye:
		g.end(c, &g.counts.lost)
	default:
		g.counts.probes.Add(1)
	}
	g.send(g.conn(side), m.appendAnswer(g.out[:0], 200, "", ""))
}

func (g *Generator) conn(side int) *net.UDPConn {
	if side == callerSide {
		return g.caller
	}
	return g.callee
}

// inOrder says whether a request is no repetition, and counts one whose number
// is not one above that of the last: RFC 3261 section 12.2.1.1.
func (g *Generator) inOrder(c *call, m *message, side int) bool {
	last, branch := c.last[side], maphash.Bytes(seed, m.via[0])
	if branch == c.branch[side] {
		return false
	}
	if last != 0 && m.cseq != last+1 {
		g.counts.disorder.Add(1)
	}
	c.last[side], c.branch[side] = m.cseq, branch
	return true
}

var seed = maphash.MakeSeed()

// token names a call wherever one looks for it: its Call-ID, its URIs and tags
// hold it.
func (g *Generator) token(c *call) string { return "n" + strconv.Itoa(c.number) + "x" + g.run }

func (g *Generator) tag(c *call, side int) string { return g.token(c) + strconv.Itoa(side) }
