package b2bua

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
)

// allow lists the methods that we take part in or relay inside a call.
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, PRACK, UPDATE, SUBSCRIBE"

// known is allow as a set.
var known = func() map[string]bool {
	m := make(map[string]bool)
	for method := range strings.SplitSeq(allow, ", ") {
		m[method] = true
	}
	return m
}()

// product names us where no peer's own User-Agent or Server is passed on.
const product = "sipvigil"

// message is what requests and responses have in common.
type message interface {
	Headers() []sip.Header
	Body() []byte
	Source() string // address and port, of a message that came in
}

// long gives the long form of a header's name in lower case, RFC 3261 section
// 7.3.3.
func long(name string) string {
	if usual, ok := usuallyWritten[name]; ok {
		return usual
	}
	name = sip.HeaderToLower(name)
	if len(name) != 1 {
		return name
	}
	switch name[0] {
	case 'i':
		return "call-id"
	case 'f':
		return "from"
	case 't':
		return "to"
	case 'm':
		return "contact"
	case 'v':
		return "via"
	case 'l':
		return "content-length"
	case 'c':
		return "content-type"
	case 'k':
		return "supported"
	case 'e':
		return "content-encoding"
	case 's':
		return "subject"
	case 'o':
		return "event"
	case 'r':
		return "refer-to"
	case 'b':
		return "referred-by"
	case 'u':
		return "allow-events"
	case 'x':
		return "session-expires"
	}
	return name
}

// usuallyWritten are names in lower case, by how nearly everybody writes them:
// these need not be made anew.
var usuallyWritten = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Via", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length", "Route", "Record-Route",
		"Max-Forwards", "Timestamp", "User-Agent", "Server", "Allow", "Supported", "Require", "Accept", "Expires",
		"Session-Expires", "Session-ID", "Min-SE", "Subject", "Event", "Reason", "Date", "RSeq", "RAck", "Privacy",
		"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Refer-To", "Referred-By", "Replaces",
		"Allow-Events", "Subscription-State", "Content-Disposition", "Accept-Language", "Accept-Encoding",
		"Diversion", "History-Info", "P-Charging-Vector", "P-Access-Network-Info", "Identity", "Organization",
	} {
		m[name] = strings.ToLower(name)
	}
	return m
}()

// isNamed says whether a header has this long name, given in lower case.
func isNamed(h sip.Header, name string) bool {
	has := h.Name()
	switch len(has) {
	case 1:
		return long(has) == name
	case len(name):
		return has[0]|0x20 == name[0] && strings.EqualFold(has, name)
	}
	return false
}

// first is the first value of a header, given its long name in lower case.
func first(m message, name string) (string, bool) {
	for _, h := range m.Headers() {
		if isNamed(h, name) {
			return h.Value(), true
		}
	}
	return "", false
}

// value is first without the news whether there was one.
func value(m message, name string) string {
	v, _ := first(m, name)
	return v
}

// values are all values of a header, in order.
func values(m message, name string) []string {
	var all []string
	for _, h := range m.Headers() {
		if isNamed(h, name) {
			all = append(all, h.Value())
		}
	}
	return all
}

// ownHeaders are those that belong to one leg and are made anew on the other.
var ownHeaders = map[string]bool{
	"via": true, "from": true, "to": true, "call-id": true, "cseq": true,
	"contact": true, "max-forwards": true, "route": true, "record-route": true,
	"content-length": true, "rack": true, "timestamp": true,
}

// The parts of a branch: 64 random bits and a check that tells ours from those
// of others.
const (
	magicCookie  = sip.RFC3261BranchMagicCookie
	branchRandom = 13
	branchLen    = branchRandom + 9
)

// branchSeed makes the check. It keeps noise from the library, and decides
// nothing else.
var branchSeed = maphash.MakeSeed()

// branchText is a branch of ours without its cookie.
type branchText [branchLen]byte

// branch starts a transaction, RFC 3261 section 8.1.1.7. It cannot be guessed.
func branch() string {
	b := newBranch()
	return magicCookie + string(b[:])
}

func newBranch() branchText {
	var b branchText
	appendDigits(b[:0], rand.Uint64(), branchRandom)
	appendDigits(b[:branchRandom], branchCheck(b[:branchRandom]), branchLen-branchRandom)
	return b
}

func branchCheck(random []byte) uint64 { return maphash.Bytes(branchSeed, random) }

func appendDigits(b []byte, n uint64, digits int) []byte {
	for range digits {
		b = append(b, "0123456789abcdefghijklmnopqrstuv"[n&31])
		n >>= 5
	}
	return b
}

// reply builds a response to a request with all headers that are our own, RFC
// 3261 section 8.2.6.2. tag becomes the To tag if there is none yet.
func reply(req *sip.Request, status int, reason, tag string) *sip.Response {
	res := sip.NewResponse(status, reason)
	var dest string
	for _, h := range req.Headers() {
		switch long(h.Name()) {
		case "via":
			if via, ok := h.(*sip.ViaHeader); ok {
				via = copyVia(via)
				if dest == "" {
					dest = returnPath(req.Source(), via)
				}
				h = via
			}
			res.AppendHeader(h)
		case "from":
			res.AppendHeader(as("From", h))
		case "to":
			to := h.Value()
			if status > 100 && tag != "" && dialog.Tag(to) == "" {
				to = dialog.WithTag(to, tag)
			}
			res.AppendHeader(sip.NewHeader("To", to))
		case "call-id":
			res.AppendHeader(as("Call-ID", h))
		case "cseq":
			res.AppendHeader(as("CSeq", h))
		case "timestamp":
			if status == 100 {
				res.AppendHeader(h)
			}
		}
	}
	setBody(res, nil)
	if req.Transport() == overStream {
		dest = req.Source() // RFC 3261 section 18.2.2: the connection that it came through
	}
	res.SetTransport(req.Transport())
	res.SetDestination(dest)
	return res
}

// setBody completes a message that has no Content-Length yet. The library would
// look for one under every spelling.
func setBody(m sip.Message, body []byte) {
	length := sip.ContentLengthHeader(len(body))
	m.AppendHeader(&length)
	m.SetBody(body)
}

// as is a header with its long name.
func as(name string, h sip.Header) sip.Header {
	if h.Name() == name {
		return h
	}
	return sip.NewHeader(name, h.Value())
}

// copyVia is a Via to send. The library leaves out the brackets of an IPv6
// address that stands for one of IPv4.
func copyVia(via *sip.ViaHeader) *sip.ViaHeader {
	sent := *via
	via = &sent
	via.Params = append(make(sip.HeaderParams, 0, len(via.Params)+2), via.Params...) // with room for returnPath
	if strings.IndexByte(via.Host, ':') >= 0 && via.Host[0] != '[' {
		via.Host = "[" + via.Host + "]"
	}
	return via
}

// returnPath is where a response goes, RFC 3261 section 18.2.2 and RFC 3581
// section 4; it notes in the Via where the request came from.
func returnPath(source string, via *sip.ViaHeader) string {
	host, port, err := sip.ParseAddr(source)
	if err != nil {
		return source
	}
	_, symmetric := via.Params.Get("rport")
	if symmetric {
		via.Params.Add("rport", strconv.Itoa(port))
	}
	if symmetric || strings.Trim(via.Host, "[]") != host {
		via.Params.Add("received", host)
	}
	if symmetric {
		return source
	}
	if port = via.Port; port == 0 {
		port = 5060
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// reasonPhrase is the usual text for a status.
func reasonPhrase(status int) string {
	switch status {
	case 100:
		return "Trying"
	case 200:
		return "OK"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 422:
		return "Session Interval Too Small"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 482:
		return "Loop Detected"
	case 483:
		return "Too Many Hops"
	case 487:
		return "Request Terminated"
	case 491:
		return "Request Pending"
	case 500:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case 505:
		return "Version Not Supported"
	default:
		return "Unknown"
	}
}
