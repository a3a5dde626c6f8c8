package b2bua

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sipvigil/b2bua/dialog"
)

// What becomes of requests outside of calls whose source is no trunk's.
const (
	UnknownReject = "reject" // answered 403, but not all of a flood
	UnknownDrop   = "drop"   // not answered at all
)

// mayCall says whether calls from this address are taken: those of a trunk, and
// where no trunk says where its calls come from those of this machine.
func (a *Agent) mayCall(ip netip.Addr) bool {
	if a.trunkOf(ip) != OtherTrunk {
		return true
	}
	for i := range a.cfg.Trunks {
		if len(a.cfg.Trunks[i].Sources) > 0 {
			return false
		}
	}
	return ip.IsLoopback()
}

// minted says whether a tag is one of ours: it names a call that is there, or
// was made with the key that all nodes share.
func (a *Agent) minted(tag string) bool {
	id, side, ok := dialog.ReadTag(tag)
	if !ok {
		return false
	}
	if c := a.call(id); c != nil && c.snapshot().Legs[side].LocalTag == tag {
		return true
	}
	return dialog.CheckTag(a.identity.Load().tagKey, tag)
}

// isStrange says whether a message belongs to no call of ours, and comes from
// an address that may make none. What is sent to us by the thousand from
// invented addresses so never gets as far as to be parsed.
func (g *guard) isStrange(datagram []byte, from netip.Addr) bool {
	return g.agent != nil && !g.agent.mayCall(from.WithZone("")) && !g.agent.insider(datagram)
}

// turnAway answers a stranger's request without keeping anything of it, RFC
// 3261 section 8.2.7, or does not.
func (g *guard) turnAway(datagram []byte, v verdict, from netip.AddrPort, socket net.PacketConn) {
	silent := v.drop || len(datagram) == 0 || datagram[0] <= ' ' ||
		isStatusLine(datagram) || bytes.HasPrefix(datagram, []byte("ACK "))
	if v.status == 0 {
		v = verdict{status: 403}
	}
	if silent || !g.agent.strangers.mayAnswer(from.Addr().WithZone(""), time.Now()) || !g.answer(datagram, v, from, socket) {
		g.metrics.strangers.WithLabelValues("dropped").Inc()
		return
	}
	g.metrics.strangers.WithLabelValues("rejected").Inc()
}

// insider says whether a stranger's datagram belongs to us all the same: a
// request inside a call, or the answer to a request of ours.
func (a *Agent) insider(datagram []byte) bool {
	f := fields{rest: datagram}
	response := isStatusLine(f.line())
	for f.next() {
		switch kind := fieldOf(f.name); {
		case kind == fieldVia && response:
			return madeHere(f.value)
		case kind == fieldTo && !response:
			return a.minted(dialog.Tag(string(f.value)))
		}
	}
	return false
}

// Bounds of what strangers are told.
const (
	strangerRate  = 2    // answers a second to one source
	strangerBurst = 10   // at once
	strangersRate = 50   // answers a second to all of them
	maxStrangers  = 4096 // sources that are told apart; the others wait
)

// strangers bounds the answers to sources that we do not know. The zero value
// answers nobody.
type strangers struct {
	mu      sync.Mutex // guards what is below
	all     *rate.Limiter
	sources map[netip.Prefix]*rate.Limiter
	swept   time.Time
}

// newStrangers returns the limits for one choice of [Config.Unknown].
func newStrangers(unknown string) *strangers {
	if unknown == UnknownDrop {
		return &strangers{}
	}
	return &strangers{all: rate.NewLimiter(strangersRate, strangersRate), sources: make(map[netip.Prefix]*rate.Limiter)}
}

// mayAnswer takes one answer from what this source may still get.
func (s *strangers) mayAnswer(ip netip.Addr, now time.Time) bool {
	if s.all == nil || !ip.IsValid() {
		return false
	}
	source := networkOf(ip)
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sources[source]
	if one == nil {
		if s.sweep(now); len(s.sources) >= maxStrangers {
			return false
		}
		one = rate.NewLimiter(strangerRate, strangerBurst)
		s.sources[source] = one
	}
	return one.AllowN(now, 1) && s.all.AllowN(now, 1)
}

// networkOf is what one source has: an address, or with IPv6 all of its /64.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	network, _ := ip.Prefix(bits) // of a valid address, with bits that it has
	return network
}

// sweep forgets sources whose allowance is whole again, once a second when
// there are many. Called locked.
func (s *strangers) sweep(now time.Time) {
	if len(s.sources) < maxStrangers || now.Sub(s.swept) < time.Second {
		return
	}
	s.swept = now
	for source, one := range s.sources {
		if one.TokensAt(now) >= strangerBurst {
			delete(s.sources, source)
		}
	}
}

// madeHere says whether the topmost value of a Via holds a branch of [branch].
func madeHere(via []byte) bool {
	_, b, ok := bytes.Cut(via, []byte("branch="+magicCookie))
	if !ok || len(b) < branchLen {
		return false
	}
	var want [branchLen - branchRandom]byte
	appendDigits(want[:0], branchCheck(b[:branchRandom]), len(want))
	return bytes.Equal(b[branchRandom:branchLen], want[:])
}
