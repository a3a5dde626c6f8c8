package b2bua_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
	"sipvigil/test/ua"
)

// course is a call whose phones do what chance tells them to, over a network
// in which what they say overtakes itself. It checks what must hold whatever
// happens.
type course struct {
	*world
	rng    *rand.Rand
	delay  time.Duration
	loss   float64
	ends   [2]*end
	trace  []string
	start  time.Time
	invite string // alice's
	plans  []plan
}

// plan is what a phone does later.
type plan struct {
	at time.Time
	do func()
}

func (c *course) plan(wait time.Duration, do func()) {
	c.plans = append(c.plans, plan{time.Now().Add(wait), do})
}

// due does what is planned for now.
func (c *course) due() {
	plans := c.plans
	c.plans = nil
	for _, p := range plans {
		if p.at.After(time.Now()) {
			c.plans = append(c.plans, p)
			continue
		}
		p.do()
	}
}

// end is a phone with the dialogs that it knows, by the tag that tells them
// apart: bob's are his own, one for each fork, alice's are ours.
type end struct {
	*phone
	dialogs map[string]*phone
	numbers map[string]uint32      // the last number that came in each dialog
	seen    map[string]bool        // transactions
	open    map[string]bool        // 2xx to INVITEs, until their ACK
	up      map[string]bool        // confirmed dialogs, until a BYE of either side
	pending map[string]*ua.Message // INVITEs, by branch, that are neither answered nor refused
	taken   map[string]bool        // INVITEs that a fork has answered
}

func TestWhateverPhonesDoNumbersRiseByOneAndNothingIsLeft(t *testing.T) {
	for seed := range seeds {
		for _, loss := range []float64{0, 0.15} {
			synctest.Test(t, func(t *testing.T) { runCourse(t, seed, loss) })
		}
		if t.Failed() {
			return
		}
	}
}

func runCourse(t *testing.T, seed uint64, loss float64) {
	w := newWorld(t, nil)
	w.serve()
	w.agent.Loaded()
	c := &course{world: w, rng: rand.New(rand.NewPCG(seed, 2)), start: time.Now(), loss: loss}
	c.delay = time.Duration(c.rng.IntN(80)) * time.Millisecond
	for i, p := range []*phone{w.alice, w.bob} {
		c.ends[i] = &end{phone: p, dialogs: map[string]*phone{}, numbers: map[string]uint32{},
			seen: map[string]bool{}, open: map[string]bool{}, up: map[string]bool{}, pending: map[string]*ua.Message{}, taken: map[string]bool{}}
	}
	alice := c.ends[0]
	alice.cseq++
	c.invite = alice.build("INVITE", 1, offer, "Content-Type: application/sdp")
	c.ask(alice, alice.phone, c.invite)
	if c.rng.IntN(6) == 0 {
		c.plan(time.Duration(c.rng.IntN(400))*time.Millisecond, func() {
			c.ask(alice, alice.phone, swapMethod(c.invite, "CANCEL"))
		})
	}
	for time.Since(c.start) < 3*time.Second {
		c.due()
		for _, e := range c.ends {
			c.serve(e)
			c.act(e)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for time.Since(c.start) < 3*time.Minute {
		c.due()
		for _, e := range c.ends {
			c.serve(e)
		}
		w.agent.Release(w.obs.last.ID, store.End{Reason: store.Operator}) // if it goes on
		if time.Since(c.start) < 10*time.Second {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		time.Sleep(time.Second)
	}
	for _, e := range c.ends {
		if len(e.open) > 0 || len(e.up) > 0 {
			t.Errorf("%s: 2xx without ACK %v, dialogs without BYE %v", e.user, e.open, e.up)
		}
	}
	if left := w.agent.Left(); left != "" {
		t.Error(left)
	}
	if len(w.obs.ended) != 1 {
		t.Errorf("%d ends", len(w.obs.ended))
	}
	if t.Failed() {
		t.Errorf("seed %d: %q\nheard %q", seed, c.trace, w.obs.heard())
	}
}

// ask has a phone send a request until there is an answer, RFC 3261 section 17.1.
func (c *course) ask(e *end, p *phone, request string) {
	_, branch, _ := strings.Cut(request, "branch=")
	branch, _, _ = strings.Cut(branch, "\r\n")
	method, _, _ := strings.Cut(request, " ")
	c.repeat(p, request, 0, func() bool { return e.seen["answer to "+branch+method] })
}

// repeat has a phone say something again and again until it may stop.
func (c *course) repeat(p *phone, text string, after time.Duration, stop func() bool) {
	start := time.Now()
	var again func(wait time.Duration)
	again = func(wait time.Duration) {
		if stop() || time.Since(start) > 32*time.Second {
			return
		}
		c.late(p, text, 0)
		c.plan(wait, func() { again(min(2*wait, 4*time.Second)) })
	}
	if after == 0 {
		again(500 * time.Millisecond)
		return
	}
	c.plan(after, func() { again(500 * time.Millisecond) })
}

// refuse answers an INVITE until its ACK, RFC 3261 section 17.2.1.
func (c *course) refuse(e *end, m *ua.Message, status, within int) {
	delete(e.pending, m.Branch())
	c.repeat(e.phone, e.response(m, status, ""), time.Duration(1+c.rng.IntN(within))*time.Millisecond,
		func() bool { return e.seen[m.Branch()+"ACK"] })
}

// late has a phone say something after a while.
func (c *course) late(p *phone, text string, more int) {
	if c.rng.Float64() < c.loss {
		return
	}
	wait := time.Duration(c.rng.Int64N(int64(c.delay)+1)) + time.Duration(c.rng.IntN(more+1))*time.Millisecond
	time.AfterFunc(wait, func() { p.say(text) })
}

func (c *course) note(e *end, what string) {
	c.trace = append(c.trace, fmt.Sprintf("%v %s %s", time.Since(c.start), e.user, what))
}

// serve has a phone answer what has come.
func (c *course) serve(e *end) {
	for m := e.poll(); m != nil; m = e.poll() {
		if m.IsRequest() {
			c.asked(e, m)
		} else {
			c.answered(e, m)
		}
	}
}

// key is the tag that names a dialog at this phone.
func (e *end) key(ownTag, otherTag string) string {
	if e.user == "alice" {
		return otherTag
	}
	return ownTag
}

func (c *course) asked(e *end, m *ua.Message) {
	cseq, _ := m.CSeq()
	key := e.key(m.ToTag(), m.FromTag())
	c.note(e, fmt.Sprintf("got %d %s in %.8s", cseq, m.Method, key))
	tx := m.Branch() + m.Method
	if !e.seen["number of "+tx] && m.Method != "ACK" && m.Method != "CANCEL" && m.ToTag() != "" {
		if last, ok := e.numbers[key]; ok && cseq != last+1 || !ok && cseq != 1 {
			c.Errorf("%s: %d after %d in %s", e.user, cseq, last, key)
		}
		e.numbers[key] = cseq
	}
	e.seen["number of "+tx] = true
	if c.rng.Float64() < c.loss {
		return
	}
	if m.Method == "ACK" {
		e.seen[tx] = true
		delete(e.open, fmt.Sprint(key, cseq))
		return
	}
	first := !e.seen[tx]
	e.seen[tx] = true
	switch {
	case m.Method == "INVITE" && m.ToTag() == "":
		if first {
			c.ring(e, m)
		}
	case m.Method == "CANCEL":
		c.late(e.phone, e.response(m, 200, ""), 0)
		if inv := e.pending[m.Branch()]; inv != nil && first {
			c.refuse(e, inv, 487, 1)
		}
	case m.Method == "INVITE":
		if first {
			e.pending[m.Branch()] = m
			if c.rng.IntN(3) == 0 {
				c.refuse(e, m, 488, 50)
				return
			}
			c.accept(e, m, key, e.phone, 50)
		}
	default:
		if m.Method == "BYE" {
			delete(e.up, key)
		}
		c.late(e.phone, e.response(m, 200, ""), 30)
	}
}

// accept answers an INVITE 200, until its ACK.
func (c *course) accept(e *end, m *ua.Message, key string, p *phone, more int) {
	cseq, _ := m.CSeq()
	ok := p.response(m, 200, answer)
	wait := time.Duration(c.rng.IntN(more+1)) * time.Millisecond
	c.plan(wait, func() {
		if e.pending[m.Branch()] == nil && !e.taken[m.Branch()] {
			return // it was cancelled
		}
		delete(e.pending, m.Branch())
		e.taken[m.Branch()] = true
		e.open[fmt.Sprint(key, cseq)] = true
		if m.ToTag() == "" {
			e.up[key] = true
		}
		c.repeat(p, ok, 0, func() bool { return !e.open[fmt.Sprint(key, cseq)] })
	})
}

// ring has up to three forks ring, and some of them answer.
func (c *course) ring(e *end, m *ua.Message) {
	e.pending[m.Branch()] = m
	if c.rng.IntN(8) == 0 {
		c.refuse(e, m, 486, 100)
		return
	}
	for i := range 1 + c.rng.IntN(3) {
		p := e.fork(fmt.Sprintf("fork-%d", i))
		p.callID, p.remoteTag, p.cseq = m.CallID(), m.FromTag(), 100
		p.from, p.uri, p.target = m.Get("To"), without(m.Get("From")), uri(m.Get("Contact"))
		e.dialogs[p.tag], e.numbers[p.tag] = p, 1
		c.late(p, p.response(m, 180, ""), 50)
		if i == 0 || c.rng.IntN(2) == 0 {
			c.accept(e, m, p.tag, p, 300)
		}
	}
}

func (c *course) answered(e *end, m *ua.Message) {
	cseq, method := m.CSeq()
	key := e.key(m.FromTag(), m.ToTag())
	if c.rng.Float64() < c.loss {
		return
	}
	c.note(e, fmt.Sprintf("got %d to %d %s in %.8s", m.Status, cseq, method, key))
	if e.user == "alice" && cseq == 1 && method == "INVITE" && m.Status > 100 && m.Status < 300 && e.dialogs[key] == nil {
		p := e.fork("alice-tag")
		p.remoteTag, p.target, p.sent = m.ToTag(), uri(m.Get("Contact")), 1000*(1+len(e.dialogs))
		e.dialogs[key] = p
	}
	p := e.dialogs[key]
	if m.Status >= 200 || method == "INVITE" {
		e.seen["answer to "+m.Branch()+method] = true
	}
	switch {
	case method != "INVITE" || m.Status < 200 || p == nil:
	case m.Status < 300:
		if e.user == "alice" && cseq == 1 && !e.seen["up"+key] {
			e.seen["up"+key] = true
			e.up[key] = true
		}
		c.late(p, p.build("ACK", cseq, ""), 0)
	default:
		via := m.Get("Via")
		c.late(p, text("", "ACK "+p.target+" SIP/2.0", "Via: "+via, "From: "+m.Get("From"), "To: "+m.Get("To"),
			"Call-ID: "+m.CallID(), fmt.Sprintf("CSeq: %d ACK", cseq)), 0)
	}
}

// act has a phone do something by itself, now and then.
func (c *course) act(e *end) {
	if len(e.dialogs) == 0 || c.rng.IntN(12) > 0 {
		return
	}
	keys := make([]string, 0, len(e.dialogs))
	for key := range e.dialogs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	key := keys[c.rng.IntN(len(keys))]
	p := e.dialogs[key]
	method := []string{"INFO", "INFO", "UPDATE", "INVITE", "BYE", "PRACK"}[c.rng.IntN(6)]
	switch {
	case !e.up[key] && method != "INFO" && method != "UPDATE" && (method != "BYE" || e.user == "bob"):
		return // a callee does not hang up on an early dialog
	case method == "BYE" && c.rng.IntN(4) > 0:
		return
	case method == "BYE":
		e.seen["up"+key] = true // a 2xx that crosses it is over already
		delete(e.up, key)
	}
	body := ""
	if method == "INVITE" || method == "UPDATE" && c.rng.IntN(2) == 0 {
		body = offer
	}
	p.cseq++
	c.note(e, fmt.Sprintf("says %d %s in %.8s", p.cseq, method, key))
	c.ask(e, p, p.build(method, p.cseq, body))
}
