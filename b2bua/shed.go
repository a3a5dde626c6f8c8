package b2bua

import (
	"bytes"
	"net"
	"net/netip"
	"strings"

	"sipvigil/b2bua/dialog"
)

// While there is too much to do, most of what comes over UDP is refused, and
// what is refused must cost next to nothing: it is answered before it is taken
// apart.

// shed is [transactions.tooMany] for a datagram that the screen let pass: it
// answers what begins a new call, and takes the ACK to such an answer. It is
// false for what it cannot read at a glance.
func (g *guard) shed(datagram []byte, from netip.AddrPort, socket net.PacketConn) bool {
	switch {
	case g.agent == nil:
		return false
	case bytes.HasPrefix(datagram, []byte("ACK ")):
		if !bytes.Contains(datagram, []byte("="+noCallTag)) {
			return false // as nearly all are
		}
		_, tag, _ := glance(datagram)
		return strings.HasPrefix(tag, noCallTag)
	case !bytes.HasPrefix(datagram, []byte("INVITE ")) || !g.agent.transaction.strain.isHot():
		return false
	}
	key, tag, ok := glance(datagram)
	if !ok || tag != "" || !g.agent.transaction.strain.refuses(key.branch) || g.agent.transaction.serves(key) {
		return false
	}
	g.answer(datagram, verdict{status: 503, phrase: overloadText}, from, socket)
	g.agent.transaction.overload()
	return true
}

// serves says whether a request is known that this one repeats.
func (t *transactions) serves(key serverKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers[key] != nil
}

// glance reads the transaction of an INVITE or its ACK, as [serverKeyOf] would,
// and the tag of its To. It is false for a topmost Via that is not written as
// nearly all are.
func glance(datagram []byte) (key serverKey, toTag string, ok bool) {
	f := fields{rest: datagram}
	f.line()
	for left := 2; left > 0 && f.next(); {
		switch fieldOf(f.name) {
		case fieldVia:
			if key.method == "" {
				var v via
				v, ok = readVia(string(f.value))
				key, ok = serverKey{v.branch, v.sentBy, "INVITE"}, ok && isUnique(v.branch)
				left--
			}
		case fieldTo:
			toTag = dialog.Tag(string(f.value))
			left--
		}
	}
	return key, toTag, ok
}
