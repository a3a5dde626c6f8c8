package b2bua

import (
	"bytes"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// answersPerSecond bounds what we say to malformed requests, in total: whoever
// sends more of them is broken or means harm.
const answersPerSecond = 50

// guard answers what the screen refuses. It keeps no state about requests; a
// repeated one gets the same answer, RFC 3261 section 8.2.7. It belongs to the
// goroutine that reads the socket or the connection.
type guard struct {
	metrics *metrics
	agent   *Agent // knows who is a stranger
	seed    maphash.Seed
	left    float64 // answers that may be sent now
	since   time.Time
}

func newGuard(m *metrics, seed maphash.Seed) *guard {
	return &guard{metrics: m, seed: seed, left: answersPerSecond, since: time.Now()}
}

// pass says whether a datagram is to be parsed. If not, it has been answered or
// counted as dropped.
func (g *guard) pass(datagram []byte, from netip.AddrPort, socket net.PacketConn) bool {
	switch v := screen(datagram); {
	case g.isStrange(datagram, from.Addr()):
		g.turnAway(datagram, v, from, socket)
	case v.drop || v.status != 0:
		g.refuse(datagram, v, from, socket)
	default:
		return !g.shed(datagram, from, socket)
	}
	return false
}

// refuse answers if it can and may.
func (g *guard) refuse(datagram []byte, v verdict, from netip.AddrPort, socket net.PacketConn) {
	if v.drop || !g.allowed(time.Now()) || !g.answer(datagram, v, from, socket) {
		g.metrics.malformed.Inc()
	}
}

// answer is false when the answer would not go to one peer.
func (g *guard) answer(datagram []byte, v verdict, from netip.AddrPort, socket net.PacketConn) bool {
	to := net.UDPAddrFromAddrPort(from)
	answer, port := statelessAnswer(datagram, v, to, g.tag(datagram))
	to.Port = port
	if !isUnicast(to) {
		return false
	}
	// That it cannot be sent is the far end's loss.
	_, _ = socket.WriteTo(answer, to)
	g.metrics.response(v.status)
	return true
}

// allowed takes one answer from what may still be sent.
func (g *guard) allowed(now time.Time) bool {
	g.left = min(g.left+now.Sub(g.since).Seconds()*answersPerSecond, answersPerSecond)
	g.since = now
	if g.left < 1 {
		return false
	}
	g.left--
	return true
}

// tag is the To tag of the answer: the same for a request that is repeated, RFC
// 3261 section 8.2.7, and one that tells that an ACK needs nothing.
func (g *guard) tag(datagram []byte) string {
	return noCallTag + strconv.FormatUint(maphash.Bytes(g.seed, datagram), 36)
}

// isUnicast says whether an answer may go there. RFC 4475 section 3.3.10 tells
// of addresses that are put into a message to have us send to everybody.
func isUnicast(to *net.UDPAddr) bool {
	return to.Port != 0 && !to.IP.IsUnspecified() && !to.IP.IsMulticast() && !to.IP.Equal(net.IPv4bcast)
}

// statelessAnswer builds a response from the fields as they came, RFC 3261
// section 8.2.6.2, however little of them can be read, and says which port it
// goes to. A field that there is twice is given back once.
func statelessAnswer(datagram []byte, v verdict, from *net.UDPAddr, tag string) (answer []byte, port int) {
	phrase := v.phrase
	if phrase == "" {
		phrase = reasonPhrase(v.status)
	}
	b := make([]byte, 0, 1024)
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(v.status), 10)
	b = append(b, ' ')
	b = append(b, phrase...)
	b = append(b, "\r\n"...)

	f := fields{rest: datagram}
	f.line()
	var seen [fieldContentLength + 1]bool
	for f.next() {
		kind, value := fieldOf(f.name), f.value
		switch kind {
		case fieldVia:
			b = append(b, "Via: "...)
			if !seen[kind] {
				b, value, port = appendTopVia(b, value, from)
			}
		case fieldFrom, fieldTo, fieldCallID, fieldCSeq:
			if seen[kind] {
				continue
			}
			b = append(b, [...]string{fieldFrom: "From: ", fieldTo: "To: ", fieldCallID: "Call-ID: ", fieldCSeq: "CSeq: "}[kind]...)
		default:
			continue
		}
		seen[kind] = true
		b = appendLine(b, value)
		if kind == fieldTo && !hasTag(value) {
			b = append(append(b, ";tag="...), tag...)
		}
		b = append(b, "\r\n"...)
	}
	if !seen[fieldVia] {
		port = from.Port // nothing says where else
	}
	if v.status == 501 {
		b = append(b, "Allow: "+allow+"\r\n"...) // as in [inbound.check]
	}
	if v.status == 503 {
		b = append(b, "Retry-After: "+comeAgain+"\r\n"...) // as in [transactions.tooMany]
	}
	return append(b, "Server: "+product+"\r\nContent-Length: 0\r\n\r\n"...), port
}

// appendTopVia notes in the first value of the topmost Via where the request
// came from, RFC 3261 section 18.2.1 and RFC 3581 section 4. What is left to
// append of the field is returned, with the port that the answer goes to: the
// one that the request came from if the Via asks for it, else the one in
// sent-by.
//
// Departs from RFC 3261 section 18.2.2: maddr is not followed. What cannot be
// read well is answered to its sender only.
func appendTopVia(b, value []byte, from *net.UDPAddr) (whole, rest []byte, port int) {
	one, _, _ := cutUnquoted(value)
	rest = value[len(one):]
	sentBy, params := one, []byte(nil)
	if end := bytes.IndexByte(one, ';'); end >= 0 {
		sentBy, params = one[:end], one[end:]
	}
	b = appendLine(b, sentBy)
	port = sentByPort(sentBy)
	for len(params) > 0 {
		var param []byte
		if end := bytes.IndexByte(params[1:], ';'); end >= 0 {
			param, params = params[:end+1], params[end+1:]
		} else {
			param, params = params, nil
		}
		name, _, _ := bytes.Cut(param[1:], []byte{'='})
		switch name = trimSpace(name); {
		case bytes.EqualFold(name, []byte("received")):
		case bytes.EqualFold(name, []byte("rport")):
			port = from.Port
			b = strconv.AppendInt(append(b, ";rport="...), int64(port), 10)
		default:
			b = appendLine(b, param)
		}
	}
	ip := from.IP
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	return append(append(b, ";received="...), ip.String()...), rest, port
}

// sentByPort is the port at the end of protocol and sent-by, 5060 where there
// is none that can be read.
func sentByPort(s []byte) int {
	if colon := bytes.LastIndexByte(s, ':'); colon > bytes.LastIndexByte(s, ']') {
		if n, ok := digits(trimSpace(s[colon+1:]), 65535); ok && n > 0 {
			return int(n)
		}
	}
	return 5060
}

// appendLine appends text with each of its line ends, which folded it, made a
// space.
func appendLine(b, text []byte) []byte {
	for _, c := range text {
		if c == '\r' || c == '\n' {
			c = ' '
		}
		b = append(b, c)
	}
	return b
}

// hasTag says whether a To has a tag, which is to stay as it is. A value that
// is too broken to tell gets one more.
func hasTag(to []byte) bool {
	if end := bytes.LastIndexByte(to, '>'); end >= 0 {
		to = to[end:]
	}
	for {
		_, after, found := bytes.Cut(to, []byte{';'})
		if !found {
			return false
		}
		name, _, _ := bytes.Cut(after, []byte{'='})
		if bytes.EqualFold(trimSpace(name), []byte("tag")) {
			return true
		}
		to = after
	}
}
