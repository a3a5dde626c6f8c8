package b2bua

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// response is an answer of ours. Like that of a request its header is text from
// the start.
type response struct {
	status int
	reason string
	header
	own  int // bytes of it, behind which Content-Length goes
	body []byte
	to   netip.AddrPort // over UDP
	room *[]byte        // of drafts, where the header is
}

// drafts holds room for the headers of responses until they are sent.
var drafts = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// reply builds a response to a request with all headers that are our own, RFC
// 3261 section 8.2.6.2. to is the value of its To.
func reply(req *received, status int, reason, to string) *response {
	room := drafts.Get().(*[]byte)
	res := &response{status: status, reason: reason, header: (*room)[:0], room: room}
	top := true
	var given struct{ from, to, callID, cseq bool }
	for i := range req.fields {
		switch f := &req.fields[i]; f.key {
		case "via":
			if top {
				res.to = res.returnPath(req, f.value)
			} else {
				res.add("Via", f.value)
			}
			top = false
		case "from":
			res.once(&given.from, "From", f.value)
		case "to":
			res.once(&given.to, "To", to)
		case "call-id":
			res.once(&given.callID, "Call-ID", f.value)
		case "cseq":
			res.once(&given.cseq, "CSeq", f.value)
		case "timestamp":
			if status == 100 {
				res.add(f.name, f.value)
			}
		}
	}
	res.own = len(res.header)
	return res
}

// once adds a field that has one value. A request that has it a thousand times,
// each of some bytes, must not make its answer many times as long as itself.
func (r *response) once(given *bool, name, value string) {
	if !*given {
		r.add(name, value)
	}
	*given = true
}

// returnPath adds the topmost Via with what is noted there, where the request
// came from, and is where the response goes: RFC 3261 section 18.2.2 and RFC 3581
// section 4.
func (r *response) returnPath(req *received, value string) netip.AddrPort {
	r.header = append(req.appendVia(append(r.header, "Via: "...), value, req.source), "\r\n"...)
	if req.via.rport {
		return req.source
	}
	port := req.via.port
	if port == 0 {
		port = 5060
	}
	return netip.AddrPortFrom(req.source.Addr(), uint16(port))
}

// appendVia writes the topmost Via with where the request came from, RFC 3261
// section 18.2.1 and RFC 3581 section 4.
func (m *received) appendVia(b []byte, value string, from netip.AddrPort) []byte {
	ip := from.Addr().WithZone("") // the zone of a link means nothing to others
	elsewhere := m.via.rport
	if !elsewhere {
		said, err := netip.ParseAddr(m.via.host)
		elsewhere = err != nil || said != ip
	}
	where, params, more := strings.Cut(value, ";")
	b = append(b, where...)
	for more {
		var param string
		param, params, more = strings.Cut(params, ";")
		switch name, _, _ := strings.Cut(param, "="); {
		case strings.EqualFold(name, "rport"):
			b = strconv.AppendUint(append(b, ";rport="...), uint64(from.Port()), 10)
		case !strings.EqualFold(name, "received") || !elsewhere:
			b = append(append(b, ';'), param...)
		}
	}
	if elsewhere {
		b = ip.AppendTo(append(b, ";received="...))
	}
	return b
}

// text is the response as it goes out. It is called once.
func (r *response) text() []byte {
	b := make([]byte, 0, len("SIP/2.0 200 \r\nContent-Length: 12345\r\n\r\n")+len(r.reason)+len(r.header)+len(r.body))
	b = strconv.AppendInt(append(b, "SIP/2.0 "...), int64(r.status), 10)
	b = append(append(append(b, ' '), r.reason...), "\r\n"...)
	b = append(append(b, r.header[:r.own]...), "Content-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(r.body)), 10), "\r\n"...)
	b = append(append(append(b, r.header[r.own:]...), "\r\n"...), r.body...)
	*r.room = r.header
	drafts.Put(r.room)
	r.header, r.room = nil, nil
	return b
}
