package b2bua

import (
	"bytes"
	"strconv"
	"strings"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// request is a request that we send. Its header is text from the start, as it
// goes out: next to nothing of it is looked at again.
type request struct {
	method    string
	uri       string // Request-URI
	callID    string
	cseq      uint32
	branch    string      // of our Via
	transport string      // as in URIs
	to        string      // address and port that it is sent to
	socket    *packetConn // that it leaves by over UDP
	header
	body []byte
}

// Room for the headers of most requests, in bytes.
const (
	roomInside = 512 // inside a dialog
	roomFirst  = 768 // of those that carry more
)

// write writes the request as it goes out.
func (r *request) write(b *bytes.Buffer) {
	for _, s := range [...]string{r.method, " ", r.uri, " SIP/2.0\r\n"} {
		b.WriteString(s)
	}
	b.Write(r.appendTo(b.AvailableBuffer(), r.body))
}

// outline is what differs between the requests that we send on a leg.
type outline struct {
	method      string
	cseq        uint32
	branch      string
	uri         string   // Request-URI
	routes      []string // Route
	maxForwards int
	contact     bool // carries our Contact
}

// newRequest builds a request on a leg with all headers that are our own; the
// caller adds the others and the body.
func (a *Agent) newRequest(d *store.Dialog, o outline) *request {
	s, room := a.socketFor(d.Transport, d.Listener, d.Peer), roomInside
	if o.contact {
		room = roomFirst
	}
	o.branch = branch()
	r := &request{
		method: o.method, uri: requestURI(o.uri), callID: d.CallID, cseq: o.cseq, branch: o.branch,
		transport: d.Transport, to: a.destination(d),
	}
	r.leaveBy(s)
	r.header = a.appendOutline(make([]byte, 0, room), d, s, o)
	return r
}

// appendOutline writes the headers that are our own.
func (a *Agent) appendOutline(b []byte, d *store.Dialog, s *socket, o outline) []byte {
	b = a.appendVia(b, s, way{d.Transport, d.Peer}, o.branch)
	b = appendMaxForwards(b, o.maxForwards)
	for _, route := range o.routes {
		b = append(append(append(b, "Route: "...), route...), "\r\n"...)
	}
	b = append(append(append(b, "From: "...), d.LocalURI...), ";tag="...)
	b = append(append(append(b, d.LocalTag...), "\r\nTo: "...), d.RemoteURI...)
	if d.RemoteTag != "" {
		b = append(append(b, ";tag="...), d.RemoteTag...)
	}
	b = append(append(append(b, "\r\nCall-ID: "...), d.CallID...), "\r\n"...)
	b = appendCSeq(b, o.cseq, o.method)
	if o.contact {
		b = append(a.appendContact(append(b, "Contact: "...), d, s), "\r\n"...)
	}
	return b
}

// appendVia writes our Via.
func (a *Agent) appendVia(b []byte, s *socket, w way, branch string) []byte {
	b = append(b, "Via: SIP/2.0/"...)
	for i := range len(w.transport) {
		b = append(b, w.transport[i]&^0x20) // in capitals
	}
	b = a.appendSentBy(append(b, ' '), s, w.peer)
	b = append(append(b, ";branch="...), branch...)
	return append(b, ";rport\r\n"...) // RFC 3581 section 3
}

func appendMaxForwards(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, "Max-Forwards: "...), int64(n), 10), "\r\n"...)
}

func appendCSeq(b []byte, n uint32, method string) []byte {
	b = strconv.AppendUint(append(b, "CSeq: "...), uint64(n), 10)
	return append(append(append(b, ' '), method...), "\r\n"...)
}

// leaveBy has a request over UDP leave by this socket.
func (r *request) leaveBy(s *socket) {
	if s.transport == "udp" && r.transport == "udp" {
		r.socket = s.conn
	}
}

// requestURI is a URI as it can be written into a request line: exactly as it
// is, unless no reader would find its end.
func requestURI(uri string) string {
	if strings.IndexByte(uri, ':') <= 0 || strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return "sip:invalid"
	}
	return uri
}

// inDialog completes an outline from the leg's remote target and route set.
func inDialog(d *store.Dialog, o outline) outline {
	o.uri, o.routes, _ = dialog.NextHop(d)
	if o.maxForwards == 0 {
		o.maxForwards = 70
	}
	return o
}

// appendContact writes where the far end of a leg reaches us.
func (a *Agent) appendContact(b []byte, d *store.Dialog, s *socket) []byte {
	b = append(b, "<sip:"...)
	if user := userOf(d.LocalURI); user != "" {
		b = append(append(b, user...), '@')
	}
	b = a.appendSentBy(b, s, d.Peer)
	return append(append(b, transportParam(d.Transport)...), '>')
}

// userOf is the user that a From or To names, without a password. Nearly all are
// plain: for them it need not take the value apart.
func userOf(value string) string {
	plain := value
	if name, uri, ok := strings.Cut(value, `" <`); ok && strings.LastIndexByte(name, '"') == 0 && strings.IndexByte(name, '\\') < 0 {
		plain = value[len(value)-len(uri)-1:]
	}
	if uri, ok := strings.CutPrefix(plain, "<sip:"); ok {
		for i := range len(uri) {
			if uri[i] == '@' {
				return uri[:i]
			}
			if uri[i] != '+' && !isUnreserved(uri[i]) {
				break
			}
		}
	}
	return parsedUser(value)
}

func parsedUser(value string) string {
	addr, err := dialog.ParseAddr(value)
	if err != nil {
		return ""
	}
	u, err := dialog.ParseURI(addr.URI)
	if err != nil {
		return ""
	}
	user, _, _ := strings.Cut(u.User, ":")
	return user
}

// appendSentBy writes the host and port that a peer reaches us at.
func (a *Agent) appendSentBy(b []byte, s *socket, peer string) []byte {
	if s.sentBy != "" {
		return append(b, s.sentBy...)
	}
	host, port := a.reachedAt(s, peer)
	return appendHostPort(b, host, port)
}

func appendHostPort(b []byte, host string, port int) []byte {
	if strings.IndexByte(host, ':') >= 0 {
		b = append(append(append(b, '['), host...), ']')
	} else {
		b = append(b, host...)
	}
	return strconv.AppendUint(append(b, ':'), uint64(port), 10)
}

// transportParam is the parameter of a URI of ours that brings a peer back over
// a transport.
func transportParam(transport string) string {
	switch transport {
	case "udp":
		return ""
	case "wss":
		return ";transport=ws" // RFC 7118 section 5.2 has no other
	default:
		// RFC 5630 section 3.1.4 would do without transport=tls, but has nothing
		// else that brings a peer back over TLS.
		return ";transport=" + transport
	}
}

// again is a request once more, as a new transaction with this number.
func (r *request) again(cseq uint32) *request {
	next := *r
	next.cseq = cseq
	line := func(n uint32) []byte { return appendCSeq([]byte("\r\n"), n, r.method) }
	next.header = bytes.Replace(r.header, line(r.cseq), line(cseq), 1)
	next.rebranch()
	return &next
}

// rebranch makes another transaction of a request that has not been sent.
func (r *request) rebranch() {
	was := r.branch
	r.branch = branch()
	r.header = bytes.Replace(r.header, []byte(was), []byte(r.branch), 1) // the topmost Via comes first
}

// sameBranch is the CANCEL of an INVITE, RFC 3261 section 9.1, or its ACK after
// a refusal.
func (r *request) sameBranch(method string) *request {
	out := *r
	out.method, out.header, out.body = method, make([]byte, 0, len(r.header)), nil
	via := false
	for f := (fields{rest: r.header}); f.next(); {
		name := string(f.name)
		switch fieldNamed(name).key {
		case "via":
			if via { // RFC 3261 section 9.1: the topmost only
				continue
			}
			via = true
		case "route", "from", "to", "call-id", "max-forwards", "session-id": // RFC 7989 section 7
		default:
			continue
		}
		out.add(name, string(f.value))
	}
	out.header = appendCSeq(out.header, out.cseq, method)
	return &out
}

// refusedAck is the ACK of an INVITE that got this final answer other than 2xx,
// RFC 3261 section 17.1.1.3.
func (r *request) refusedAck(res *received) *request {
	ack := r.sameBranch("ACK")
	ack.edit(func(name, was string) (string, bool) {
		if name == "to" {
			return value(res, "to"), true
		}
		return was, true
	})
	return ack
}
