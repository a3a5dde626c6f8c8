package load

import (
	"bytes"
	"net"
	"slices"
	"strconv"
)

// method is what a message is about, read from its CSeq.
type method uint8

const (
	other method = iota
	invite
	ack
	bye
)

// message is one that came in, as far as it is of interest. It points into the
// datagram.
type message struct {
	status int // 0: a request
	method method
	cseq   uint32
	callID []byte
	to     []byte // the whole line, like all that follows
	from   []byte
	number []byte // CSeq
	id     []byte // Call-ID

	contact []byte // the URI
	via     [8][]byte
	vias    int
	record  [8][]byte // Record-Routes
	records int
}

// parse is false for what is no message.
func (m *message) parse(datagram []byte) bool {
	*m = message{}
	first, rest, ok := bytes.Cut(datagram, []byte("\r\n"))
	if !ok {
		return false
	}
	if after, is := bytes.CutPrefix(first, []byte("SIP/2.0 ")); is {
		if len(after) < 3 {
			return false
		}
		m.status, _ = strconv.Atoi(string(after[:3]))
	}
	for len(rest) > 0 {
		end := bytes.Index(rest, []byte("\r\n"))
		if end <= 0 {
			break
		}
		m.field(rest[:end+2])
		rest = rest[end+2:]
	}
	return m.id != nil && m.to != nil && m.from != nil && m.number != nil && m.vias > 0
}

func (m *message) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimSpace(value)
	switch {
	case is(name, "via") && m.vias < len(m.via):
		m.via[m.vias] = line
		m.vias++
	case is(name, "record-route") && m.records < len(m.record):
		m.record[m.records] = value
		m.records++
	case is(name, "to"):
		m.to = line
	case is(name, "from"):
		m.from = line
	case is(name, "call-id"):
		m.id, m.callID = line, value
	case is(name, "contact"):
		m.contact = uri(value)
	case is(name, "cseq"):
		m.number = line
		n, what, _ := bytes.Cut(value, []byte{' '})
		for _, c := range n {
			m.cseq = 10*m.cseq + uint32(c-'0')
		}
		switch string(what) {
		case "INVITE":
			m.method = invite
		case "ACK":
			m.method = ack
		case "BYE":
			m.method = bye
		}
	}
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// uri is what stands in <>, or all of it.
func uri(value []byte) []byte {
	if _, after, ok := bytes.Cut(value, []byte{'<'}); ok {
		inside, _, _ := bytes.Cut(after, []byte{'>'})
		return inside
	}
	return value
}

// routes are the Route lines of a dialog that this 2xx made, RFC 3261 section
// 12.1.2.
func (m *message) routes() []byte {
	var lines []byte
	for _, r := range slices.Backward(m.record[:m.records]) {
		lines = append(append(append(lines, "Route: "...), r...), "\r\n"...)
	}
	return lines
}

// isTo says whether the To has this tag.
func (m *message) isTo(tag string) bool {
	_, after, ok := bytes.Cut(m.to, []byte(";tag="))
	return ok && string(bytes.TrimSpace(after)) == tag
}

// find is the call whose token stands in a field.
func (g *Generator) find(field []byte) *call {
	for {
		i := bytes.IndexByte(field, 'n')
		if i < 0 {
			return nil
		}
		field = field[i+1:]
		n, digits := 0, 0
		for digits < len(field) && digits < 8 && '0' <= field[digits] && field[digits] <= '9' {
			n = 10*n + int(field[digits]-'0')
			digits++
		}
		rest, ok := bytes.CutPrefix(field[digits:], []byte{'x'})
		if digits > 0 && ok && bytes.HasPrefix(rest, []byte(g.run)) && n < len(g.calls) {
			return g.calls[n]
		}
	}
}

// sdp is what each side offers; nothing is sent there.
const (
	sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
		"m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n"
	sdpHeader = "Content-Type: application/sdp\r\n"
)

func appendBody(b []byte, body string) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// appendTop begins a request of the caller. Its branch names the call, the
// number, and what it is.
func (g *Generator) appendTop(b []byte, c *call, what string, cseq int, ruri []byte) []byte {
	b = append(append(append(b, what...), ' '), ruri...)
	b = append(append(b, " SIP/2.0\r\nVia: SIP/2.0/UDP "...), addrOf(g.caller).String()...)
	b = append(append(b, ";rport;branch=z9hG4bK-"...), g.token(c)...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(cseq), 10)
	if what == "ACK" && c.state == talking {
		b = append(b, 'a') // RFC 3261 section 17: the ACK of a 2xx has a branch of its own
	}
	b = append(b, "\r\nMax-Forwards: 70\r\nFrom: \"load\" <sip:caller@"...)
	b = append(append(b, addrOf(g.caller).String()...), ">;tag="...)
	b = append(append(b, g.tag(c, callerSide)...), "\r\nCall-ID: "...)
	b = append(append(append(b, g.token(c)...), '@'), addrOf(g.caller).String()...)
	b = append(b, "\r\nCSeq: "...)
	b = strconv.AppendInt(b, int64(cseq), 10)
	return append(append(append(b, ' '), what...), "\r\n"...)
}

func (g *Generator) calleeURI(c *call) []byte {
	return []byte("sip:" + g.token(c) + "@" + addrOf(g.callee).String())
}

func (g *Generator) appendInvite(b []byte, c *call) []byte {
	callee := g.calleeURI(c)
	b = g.appendTop(b, c, "INVITE", 1, callee)
	b = append(append(append(b, "To: <"...), callee...), ">\r\nContact: <sip:caller@"...)
	b = append(append(b, addrOf(g.caller).String()...), ">\r\nUser-Agent: load\r\n"+sdpHeader...)
	return appendBody(b, sdp)
}

// appendInside appends a request of the caller inside the dialog.
func (g *Generator) appendInside(b []byte, c *call, what string, cseq int) []byte {
	b = g.appendTop(b, c, what, cseq, c.contact)
	b = append(append(b, c.route...), c.to...)
	return appendBody(b, "")
}

// appendRefusedAck appends the ACK of a refusal, RFC 3261 section 17.1.1.3.
func (g *Generator) appendRefusedAck(b []byte, c *call, m *message) []byte {
	b = g.appendTop(b, c, "ACK", 1, g.calleeURI(c))
	return appendBody(append(b, m.to...), "")
}

// appendAnswer appends a response; tag goes to a To that has none.
func (m *message) appendAnswer(b []byte, status int, tag, header string) []byte {
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, " Load\r\n"...)
	for _, v := range m.via[:m.vias] {
		b = append(b, v...)
	}
	for _, r := range m.record[:m.records] {
		b = append(append(append(b, "Record-Route: "...), r...), "\r\n"...)
	}
	b = append(b, m.from...)
	to := bytes.TrimSpace(m.to)
	b = append(b, to...)
	if !bytes.Contains(to, []byte(";tag=")) {
		b = append(b, tag...)
	}
	b = append(b, "\r\n"...)
	b = append(append(b, m.id...), m.number...)
	b = append(b, header...)
	if m.method == invite && status == 200 {
		return appendBody(b, sdp)
	}
	return appendBody(b, "")
}

func (g *Generator) send(conn *net.UDPConn, b []byte) {
	_, _ = conn.WriteToUDPAddrPort(b, g.target) // what is lost is sent again
}
