package b2bua

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"

	"sipvigil/store"
)

// volley is probes that go out together, since the system takes many for less
// than it takes each. Who fires it has the turns of their calls until then, so
// that no later request of a leg overtakes its probe.
type volley struct {
	at     time.Time      // when it began
	calls  []*call        // whose legs are asked, nil for one that is not asked in it
	probes []*quickProbe  // held
	sent   []packet       // what is being sent, kept for its room
	peer   string         // of the last probe
	to     netip.AddrPort // the same
	read   int            // of what is only fetched, see fetch
}

// began is when a volley began, and now without one.
func (v *volley) began() time.Time {
	if v == nil {
		return time.Now()
	}
	return v.at
}

// address reads the address of a peer, which is mostly the same for many.
func (v *volley) address(peer string) (netip.AddrPort, error) {
	if v == nil {
		return netip.ParseAddrPort(peer)
	}
	if peer == "" || peer != v.peer {
		to, err := netip.ParseAddrPort(peer)
		if err != nil {
			return to, err
		}
		v.peer, v.to = peer, to
	}
	return v.to, nil
}

// has says whether the last probe that was put into a volley is one of this call.
func (v *volley) has(c *call) bool {
	return len(v.probes) > 0 && v.probes[len(v.probes)-1].call == c
}

// packet is what is to be sent, and where to.
type packet struct {
	text []byte
	to   netip.AddrPort
}

// compare orders packets so that those stand beside each other that the system
// can take as one: to one address, and of one length.
func (p *packet) compare(q *packet) int {
	if n := cmp.Compare(len(p.text), len(q.text)); n != 0 {
		return n
	}
	return p.to.Compare(q.to)
}

// Ask asks the far ends of legs for a sign of life, each with one request inside
// its dialog. What became of it, after timeout at the latest, goes to the
// observer's Answered, once. It returns at once.
//
// Nothing is sent before the ACK, while an INVITE is on its way, or while there
// is more to do than can be done.
func (a *Agent) Ask(questions []store.Question, timeout time.Duration) {
	v, _ := a.volleys.Get().(*volley)
	if v == nil {
		v = new(volley)
	}
	v.at = time.Now()
	a.mu.Lock()
	for _, q := range questions {
		v.calls = append(v.calls, a.calls[q.ID])
	}
	a.mu.Unlock()
	for _, c := range v.calls {
		if c != nil {
			v.read += len(c.id)
		}
	}
	for i, q := range questions {
		if !a.begin(v.calls[i], q, timeout) {
			v.calls[i] = nil
		}
	}
	v.fetch(questions)
	for i, c := range v.calls {
		if c == nil {
			continue
		}
		if c.dialog(questions[i].Side).Transport == "udp" {
			guarded(func() { c.probe(questions[i], timeout, v) }, a.panicked)
		} else {
			c.askLater(questions[i], timeout) // to write to a connection may take a while
		}
		if !v.has(c) {
			c.turns.leave(&a.work, a.panicked)
		}
	}
	v.fire(a)
	clear(v.calls)
	v.calls, v.peer = v.calls[:0], ""
	a.volleys.Put(v)
}

// fetch reads what the probes will need of their calls, with the turns. The calls
// do not fit into a processor's cache, and memory hands out many things that are
// asked for together in hardly more time than one.
func (v *volley) fetch(questions []store.Question) {
	for i, c := range v.calls {
		if c != nil {
			d := c.dialog(questions[i].Side)
			v.read += len(c.rec.State) + len(d.CallID) + len(d.LocalURI) + len(d.Peer) + int(d.LocalCSeq) + int(c.sessionIDs.id[0][0])
			if c.inv != nil {
				v.read++
			}
		}
	}
	for i, c := range v.calls {
		if c == nil {
			continue
		}
		d := c.dialog(questions[i].Side)
		for _, text := range [...]string{d.CallID, d.LocalURI, d.Target, d.Peer, d.Transport} {
			if text != "" {
				v.read += int(text[0])
			}
		}
	}
}

// fire sends the probes, and gives the turns back. A process may have stood still
// since they were made, for so long that another node has asked meanwhile.
func (v *volley) fire(a *Agent) {
	if len(v.probes) == 0 {
		return
	}
	q, now := &a.quick, time.Now()
	q.mu.Lock()
	for _, p := range v.probes {
		p.sent = now
	}
	q.mu.Unlock()
	slices.SortFunc(v.probes, func(p, o *quickProbe) int { return p.compare(&o.packet) })
	may := a.may()
	for _, p := range v.probes {
		if !may && q.finish(p) {
			p.call.probed(p.question, store.Answer{Kind: store.Deferred})
		}
	}
	for from, to := 0, 0; may && from < len(v.probes); from = to {
		for to < len(v.probes) && v.probes[to].socket == v.probes[from].socket {
			to++
		}
		v.send(v.probes[from:to])
	}
	for _, p := range v.probes {
		c := p.call
		q.release(p)
		c.turns.leave(&c.agent.work, c.agent.panicked)
	}
	clear(v.probes)
	v.probes = v.probes[:0]
}

// send sends probes that leave from one socket: those that cannot be sent
// together one by one, since each may have something wrong of its own.
func (v *volley) send(probes []*quickProbe) {
	for _, p := range probes {
		v.sent = append(v.sent, p.packet)
	}
	sent := probes[0].socket.sendAll(v.sent)
	clear(v.sent)
	v.sent = v.sent[:0]
	for _, p := range probes[sent:] {
		p.send()
	}
}

// sendAll sends the first of these, as many as can be sent together, and says
// how many.
func (p *packetConn) sendAll(packets []packet) (sent int) {
	if p.bunches == nil || len(packets) < 2 {
		return 0
	}
	sent, err := p.bunches.sendAll(packets)
	p.excuse(err)
	if m := p.guard.agent.mirror; m != nil {
		for _, one := range packets[:sent] {
			m.copy("udp", p.LocalAddr(), net.UDPAddrFromAddrPort(one.to), one.text)
		}
	}
	return sent
}
