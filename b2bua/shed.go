package b2bua

import (
	"bytes"
	"net"
	"strconv"
	"strings"

	"sipvigil/b2bua/dialog"
)

// While there is too much to do, most of what comes over UDP is refused, and
// what is refused must cost next to nothing: it is answered before it is taken
// apart.

// shed is [transactions.tooMany] for a datagram that the screen let pass: it
// answers what begins a new call, and takes the ACK to such an answer. It is
// false for what it cannot read at a glance.
func (g *guard) shed(datagram []byte, from *net.UDPAddr, socket net.PacketConn) bool {
	switch {
	case g.agent == nil:
		return false
	case bytes.HasPrefix(datagram, []byte("ACK ")):
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
				key, ok = keyOfVia(f.value)
				left--
			}
		case fieldTo:
			toTag = dialog.Tag(string(f.value))
			left--
		}
	}
	return key, toTag, ok
}

func keyOfVia(value []byte) (key serverKey, ok bool) {
	key.method = "INVITE"
	one, _, _ := cutUnquoted(value)
	protocol, params, _ := bytes.Cut(one, []byte{';'})
	sentBy, isUDP := bytes.CutPrefix(protocol, []byte("SIP/2.0/UDP "))
	if !isUDP || bytes.IndexByte(one[len(protocol)-len(sentBy):], ' ') >= 0 {
		return key, false
	}
	for len(params) > 0 {
		var param []byte
		param, params, _ = bytes.Cut(params, []byte{';'})
		if b, is := bytes.CutPrefix(param, []byte("branch=")); is {
			key.branch = string(b)
		}
	}
	host, port := sentBy, 0
	if colon := bytes.LastIndexByte(sentBy, ':'); colon > bytes.LastIndexByte(sentBy, ']') {
		n, isNumber := digits(sentBy[colon+1:], 65535)
		if !isNumber {
			return key, false
		}
		host, port = sentBy[:colon], int(n)
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	key.sentBy = strings.ToLower(string(host)) + ":" + strconv.Itoa(port)
	return key, len(key.branch) > len(magicCookie) && strings.HasPrefix(key.branch, magicCookie)
}
