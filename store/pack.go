package store

import (
	"encoding/binary"
	"strings"
	"time"
	"unique"
)

// Packed is a Call as it is kept for long: a sixth of the size, and with few
// pointers. Times are kept to the millisecond, in UTC.
type Packed struct {
	Text  string // as in Call
	State State
	Node  string
	Epoch int64

	started, answered milli
	end               *End // nil while the call goes on
	sessions          *[2]Session
	numbers           [2]numbers
	health            [2]health
}

// numbers are those of a Dialog.
type numbers struct {
	cseq, mark, asked, remote uint32
	kept                      bool
}

// health is a Health whose words are kept once for all legs that share them.
type health struct {
	words   unique.Handle[words]
	alive   milli
	rtt     time.Duration
	misses  int
	answers bool
}

type words struct {
	liveness                      Liveness
	evidence, method, calibration string
}

// Pack returns a call as it is kept. It shares the texts of one that was made
// compact.
func Pack(c Call) Packed {
	c.Compact()
	p := Packed{
		Text: c.Text, State: c.State, Node: c.Node, Epoch: c.Epoch,
		started: milliOf(c.Started), answered: milliOf(c.Answered),
	}
	if c.End != (End{}) {
		end := c.End
		end.At = milliOf(end.At).time()
		p.end = &end
	}
	for i := range c.Legs {
		leg := &c.Legs[i]
		p.numbers[i] = numbers{leg.LocalCSeq, leg.LocalMark, leg.LocalAsked, leg.RemoteCSeq, leg.Kept}
		p.health[i] = packHealth(leg.Health, unique.Handle[words]{})
		if leg.Session == (Session{}) {
			continue
		}
		if p.sessions == nil {
			p.sessions = new([2]Session)
		}
		p.sessions[i] = leg.Session
		p.sessions[i].Refreshed = milliOf(leg.Session.Refreshed).time()
	}
	return p
}

// Call returns the call that was packed, without its Text. It shares nothing
// with p that can change.
func (p *Packed) Call() Call {
	c := Call{
		Text: p.Text, State: p.State, Node: p.Node, Epoch: p.Epoch,
		Started: p.started.time(), Answered: p.answered.time(),
	}
	texts := c.texts()
	c.readText(&texts)
	c.Text = ""
	if p.end != nil {
		c.End = *p.end
	}
	for i := range c.Legs {
		leg, n := &c.Legs[i], &p.numbers[i]
		leg.LocalCSeq, leg.LocalMark, leg.LocalAsked, leg.RemoteCSeq, leg.Kept = n.cseq, n.mark, n.asked, n.remote, n.kept
		leg.Health = p.Health(Side(i))
		if p.sessions != nil {
			leg.Session = p.sessions[i]
		}
	}
	return c
}

// Health is that of a leg.
func (p *Packed) Health(s Side) Health {
	h := &p.health[s]
	var w words
	if h.words != (unique.Handle[words]{}) {
		w = h.words.Value()
	}
	return Health{
		Liveness: w.liveness, LastAlive: h.alive.time(), LastEvidence: w.evidence, Misses: h.misses,
		RTT: h.rtt, Method: w.method, Answers: h.answers, Calibration: w.calibration,
	}
}

// Misses is how many probes of a leg were missed in a row.
func (p *Packed) Misses(s Side) int { return p.health[s].misses }

// SetHealth is for who has nothing but the health of a leg.
func (p *Packed) SetHealth(s Side, h Health) { p.health[s] = packHealth(h, p.health[s].words) }

// KeepHealth takes over the health of both legs from an earlier record.
func (p *Packed) KeepHealth(earlier *Packed) { p.health = earlier.health }

// Mark is the highest number of a leg that may have been spent.
func (p *Packed) Mark(s Side) uint32 { return p.numbers[s].mark }

// Reserve raises the mark of a leg to at least mark. All numbers up to it count
// as spent.
func (p *Packed) Reserve(s Side, mark uint32) {
	n := &p.numbers[s]
	n.mark = max(n.mark, mark)
	n.cseq, n.asked = n.mark, 0
}

// packHealth returns a Health as it is kept. Its words are mostly those of before.
func packHealth(h Health, before unique.Handle[words]) health {
	if h == (Health{}) {
		return health{}
	}
	w := words{h.Liveness, h.LastEvidence, h.Method, h.Calibration}
	if before == (unique.Handle[words]{}) || before.Value() != w {
		before = unique.Make(w)
	}
	return health{words: before, alive: milliOf(h.LastAlive), rtt: h.RTT, misses: h.Misses, answers: h.Answers}
}

// Compact puts the texts of a call one after the other into its Text, and has
// its fields be parts of that. A call that is so already stays as it is. Far
// ends choose the texts, in messages that are long gone: so nothing else of
// these is kept.
func (c *Call) Compact() {
	texts := c.texts()
	if c.isCompact(&texts) {
		return
	}
	size := len(c.Legs)
	for _, s := range texts {
		size += len(*s) + 2
	}
	for i := range c.Legs {
		for _, route := range c.Legs[i].RouteSet {
			size += len(route) + 2
		}
	}
	var out strings.Builder
	out.Grow(size)
	length := func(n int) {
		var b [binary.MaxVarintLen64]byte
		out.Write(b[:binary.PutUvarint(b[:], uint64(n))])
	}
	put := func(s string) {
		length(len(s))
		out.WriteString(s)
	}
	for _, s := range texts {
		put(*s)
	}
	for i := range c.Legs {
		routes := c.Legs[i].RouteSet
		length(len(routes))
		for _, route := range routes {
			put(route)
		}
	}
	c.Text = out.String()
	c.readText(&texts)
}

// texts are those of a call but for its routes, for Node, which many have in
// common, and for what only few calls have.
func (c *Call) texts() [27]*string {
	a, b := &c.Legs[Caller].Dialog, &c.Legs[Callee].Dialog
	return [...]*string{
		&c.ID, &c.TrunkIn, &c.TrunkOut,
		&a.CallID, &a.LocalTag, &a.RemoteTag, &a.LocalURI, &a.RemoteURI, &a.Target,
		&a.Transport, &a.Peer, &a.Listener, &a.Seen, &a.UserAgent, &a.Allow,
		&b.CallID, &b.LocalTag, &b.RemoteTag, &b.LocalURI, &b.RemoteURI, &b.Target,
		&b.Transport, &b.Peer, &b.Listener, &b.Seen, &b.UserAgent, &b.Allow,
	}
}

// isCompact says whether Text is what Compact would make.
func (c *Call) isCompact(texts *[27]*string) bool {
	if c.Text == "" {
		return false
	}
	rest := c.Text
	for _, s := range texts {
		if take(&rest) != *s {
			return false
		}
	}
	for i := range c.Legs {
		routes := c.Legs[i].RouteSet
		if takeLength(&rest) != len(routes) {
			return false
		}
		for _, route := range routes {
			if take(&rest) != route {
				return false
			}
		}
	}
	return true
}

// readText sets the fields that are in Text. The routes get a list of their own.
func (c *Call) readText(texts *[27]*string) {
	rest := c.Text
	for _, s := range texts {
		*s = take(&rest)
	}
	for i := range c.Legs {
		d := &c.Legs[i].Dialog
		d.RouteSet = nil
		if n := takeLength(&rest); n > 0 {
			d.RouteSet = make([]string, n)
		}
		for j := range d.RouteSet {
			d.RouteSet[j] = take(&rest)
		}
	}
}

// take takes the next text, which begins with its length.
func take(rest *string) string {
	n := min(takeLength(rest), len(*rest))
	s := (*rest)[:n]
	*rest = (*rest)[n:]
	return s
}

func takeLength(rest *string) int {
	n := 0
	for i := range min(len(*rest), binary.MaxVarintLen32) {
		b := (*rest)[i]
		n |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			*rest = (*rest)[i+1:]
			break
		}
	}
	return n
}

// milli is a time in milliseconds since the zero Time.
type milli int64

var beginning = time.Time{}.UnixMilli()

func milliOf(t time.Time) milli { return milli(t.UnixMilli() - beginning) }

func (m milli) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m) + beginning).UTC()
}
