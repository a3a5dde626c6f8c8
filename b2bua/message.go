package b2bua

import (
	"hash/maphash"
	"math/rand/v2"
	"strings"

	"github.com/emiago/sipgo/sip"
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

// long gives the long form of a header's name in lower case, RFC 3261 section
// 7.3.3.
func long(name string) string {
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

// fieldName is the name of a header field.
type fieldName struct {
	name string // as written
	key  string // the long one in lower case
	own  bool   // see ownHeaders
}

// fieldNamed is the name of a field that is written so.
func fieldNamed[T string | []byte](name T) *fieldName {
	if usual := usuallyWritten[string(name)]; usual != nil {
		return usual
	}
	return newFieldName(string(name))
}

func newFieldName(name string) *fieldName {
	key := long(name)
	return &fieldName{name, key, ownHeaders[key]}
}

// usuallyWritten are the names that nearly everybody uses, as nearly everybody
// writes them: these need not be made anew.
var usuallyWritten = func() map[string]*fieldName {
	m := make(map[string]*fieldName)
	for _, name := range []string{
		"Via", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length", "Route", "Record-Route",
		"Max-Forwards", "Timestamp", "User-Agent", "Server", "Allow", "Supported", "Require", "Accept", "Expires",
		"Session-Expires", "Session-ID", "Min-SE", "Subject", "Event", "Reason", "Date", "RSeq", "RAck", "Privacy",
		"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Refer-To", "Referred-By", "Replaces",
		"Allow-Events", "Subscription-State", "Content-Disposition", "Accept-Language", "Accept-Encoding",
		"Diversion", "History-Info", "P-Charging-Vector", "P-Access-Network-Info", "Identity", "Organization",
	} {
		m[name] = newFieldName(name)
	}
	return m
}()

// first is the first value of a header, given its long name in lower case.
func first(m *received, name string) (string, bool) {
	for i := range m.fields {
		if m.fields[i].key == name {
			return m.fields[i].value, true
		}
	}
	return "", false
}

// value is first without the news whether there was one.
func value(m *received, name string) string {
	v, _ := first(m, name)
	return v
}

// values are all values of a header, in order.
func values(m *received, name string) []string {
	var all []string
	for i := range m.fields {
		if m.fields[i].key == name {
			all = append(all, m.fields[i].value)
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

// branchSeed makes the check. It keeps noise from the parser, and decides
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
	case 504:
		return "Server Time-out"
	case 505:
		return "Version Not Supported"
	default:
		return "Unknown"
	}
}
