package b2bua

import (
	"bytes"
	"math"
	"slices"
)

// verdict is what becomes of a datagram before the SIP library sees it. The
// zero value passes it on as it is.
type verdict struct {
	drop   bool   // without a word
	status int    // of the answer, if there is one
	phrase string // its reason phrase, "" for the usual one
}

// bad is the answer to a request that cannot be read. It says what is wrong,
// RFC 3261 section 21.4.1.
func bad(phrase string) verdict { return verdict{status: 400, phrase: phrase} }

// screen looks for what the library drops in silence, so that requests get the
// answer that they deserve: 400 for what is malformed, 505 for versions other
// than ours (RFC 3261 section 21.5.6). Responses and ACKs of that kind are
// dropped, as is what is not SIP. It reads the start line, how the header is
// divided into fields, and the three fields that decide about framing and
// transaction; all else is the business of [inbound.check].
//
// Where RFC 4475 leaves the choice to accept more, screen does not: spaces in
// the wrong places of the request line are a reason for 400 (RFC 4475 sections
// 3.1.2.8 to 3.1.2.10), because elements behind us may read the line otherwise.
func screen(datagram []byte) verdict {
	if len(datagram) == 0 || datagram[0] <= ' ' {
		return verdict{} // a keep-alive: RFC 5626 section 3.5.1 and its like
	}
	f := fields{rest: datagram}
	line := f.line()
	if isStatusLine(line) {
		v := checkFields(&f, math.MaxUint32)
		return verdict{drop: v.status != 0 || !goodStatusLine(line)}
	}
	v := checkRequestLine(line)
	if v.drop {
		return v
	}
	// Numbers from 2^31 on are forbidden by RFC 3261 section 8.1.1.5, and the
	// library has no transaction for them.
	if v.status == 0 {
		v = checkFields(&f, math.MaxInt32)
	}
	if v.status != 0 && bytes.HasPrefix(line, []byte("ACK ")) {
		return verdict{drop: true} // RFC 3261 section 17: an ACK has no response
	}
	return v
}

// isStatusLine says whether this is the start of a response: a version and not
// a method comes first. The library knows no mixed case.
func isStatusLine(line []byte) bool {
	return bytes.HasPrefix(line, []byte("SIP/")) || bytes.HasPrefix(line, []byte("sip/"))
}

// goodStatusLine takes a status of three digits, RFC 3261 section 7.2. The
// reason phrase may be empty, or any text.
func goodStatusLine(line []byte) bool {
	const start = len("SIP/2.0 ")
	return len(line) > start+3 && bytes.EqualFold(line[:start], []byte("SIP/2.0 ")) &&
		'1' <= line[start] && line[start] <= '6' &&
		isDigits(line[start+1:start+3]) && line[start+3] == ' '
}

// checkRequestLine reads method, Request-URI and version, RFC 3261 section
// 7.1. What does not end in a version of SIP is dropped.
func checkRequestLine(line []byte) verdict {
	last := bytes.LastIndexByte(bytes.TrimRight(line, " \t"), ' ')
	if last < 0 || !isStatusLine(line[last+1:]) {
		return verdict{drop: true}
	}
	version := line[last+1:]
	method, uri, ok := bytes.Cut(line[:last], []byte{' '})
	switch {
	case len(version) != len("SIP/2.0") || !ok || len(method) == 0:
		return bad("Bad Request Line")
	case !bytes.EqualFold(version, []byte("SIP/2.0")):
		return verdict{status: 505}
	}
	for _, c := range method {
		switch {
		case 'a' <= c && c <= 'z':
			// Methods tell case (RFC 3261 section 7.1), and none that we know
			// has such a letter. The library would make them capitals.
			return verdict{status: 501}
		case c <= ' ' || c >= 0x7f:
			return bad("Bad Method")
		}
	}
	if !goodRequestURI(uri) {
		return bad("Bad Request-URI")
	}
	for _, c := range uri[:bytes.IndexByte(uri, ':')] {
		if !isLetter(c) {
			// RFC 3261 section 8.2.2.1. The library does not read such a scheme;
			// the others that are not ours have their turn in [inbound.check].
			return verdict{status: 416}
		}
	}
	return verdict{}
}

// goodRequestURI says whether this is one URI without <> and spaces, RFC 3261
// section 7.1. Of sip and sips URIs it reads host and port as far as to know
// where they end; an IPv6 address is in brackets, RFC 5118 section 4.2, where
// that of section 4.10 with its colon too many is let pass.
func goodRequestURI(uri []byte) bool {
	for _, c := range uri {
		if c <= ' ' || c == '<' || c == '>' || c == 0x7f {
			return false
		}
	}
	scheme, rest, ok := bytes.Cut(uri, []byte{':'})
	if !ok || len(scheme) == 0 || len(rest) == 0 || !isLetter(scheme[0]) {
		return false
	}
	if !bytes.EqualFold(scheme, []byte("sip")) && !bytes.EqualFold(scheme, []byte("sips")) {
		return true
	}
	if at := bytes.IndexByte(rest, '@'); at >= 0 {
		if bytes.IndexByte(rest[:at], '[') >= 0 {
			return false
		}
		rest = rest[at+1:]
	}
	if end := bytes.IndexAny(rest, ";?"); end >= 0 {
		rest = rest[:end]
	}
	return goodHostPort(rest)
}

// goodHostPort divides host and port, RFC 3261 section 25.1. LWS may stand
// around the colon, as in a Via.
func goodHostPort(s []byte) bool {
	var host, port []byte
	if len(s) > 0 && s[0] == '[' {
		end := bytes.IndexByte(s, ']')
		if end < 2 || end > 41 { // as far as the library reads
			return false
		}
		host, port = s[:end], trimSpace(s[end+1:])
	} else {
		colon := bytes.IndexByte(s, ':')
		if colon < 0 {
			colon = len(s)
		}
		host, port = trimSpace(s[:colon]), s[colon:]
	}
	if len(host) == 0 {
		return false
	}
	for i, c := range host {
		switch {
		case isLetter(c), '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		case host[0] == '[' && (i == 0 || c == ':'):
		default:
			return false
		}
	}
	if len(port) == 0 {
		return true
	}
	if port[0] != ':' {
		return false
	}
	n, ok := digits(trimSpace(port[1:]), math.MaxUint16)
	return ok && n > 0
}

// checkFields reads the header as far as the library cannot do without.
func checkFields(f *fields, maxCSeq uint64) verdict {
	var v verdict
	var vias, cseqs, lengths int
	var length uint64
	fault := func(phrase string) {
		if v.status == 0 {
			v = bad(phrase)
		}
	}
	for f.next() {
		switch fieldOf(f.name) {
		case fieldVia:
			if vias++; !goodVia(f.value) {
				fault("Bad Via")
			}
		case fieldCSeq:
			cseqs++
			if !goodCSeq(f.value, maxCSeq) {
				fault("Bad CSeq")
			}
		case fieldContentLength:
			n, ok := digits(trimSpace(f.value), math.MaxUint32)
			if lengths++; !ok || lengths > 1 {
				fault("Bad Content-Length")
			}
			length = n
		}
	}
	switch {
	case vias == 0:
		return bad("Bad or Missing Via")
	case f.broken:
		fault("Bad Header Line")
	case cseqs == 0:
		fault("Missing CSeq")
	case length > uint64(len(f.rest)):
		fault("Body Shorter Than Content-Length") // RFC 3261 section 18.3
	}
	return v
}

// goodVia says whether each of a Via's values begins with a protocol of three
// parts and a host, RFC 3261 section 25.1.
func goodVia(value []byte) bool {
	for more := true; more; {
		var one []byte
		one, value, more = cutUnquoted(value)
		for range 2 {
			slash := bytes.IndexByte(one, '/')
			if slash < 0 || len(trimSpace(one[:slash])) == 0 || bytes.ContainsAny(one[:slash], ";=:\"") {
				return false
			}
			one = one[slash+1:]
		}
		one = trimSpace(one)
		space := bytes.IndexAny(one, " \t\r\n")
		if space <= 0 || bytes.ContainsAny(one[:space], "/;=:\"") {
			return false
		}
		one = trimSpace(one[space:])
		if end := bytes.IndexByte(one, ';'); end >= 0 {
			one = one[:end]
		}
		if !goodHostPort(trimSpace(one)) {
			return false
		}
	}
	return true
}

// goodCSeq says whether a number and a method are there, RFC 3261 section
// 20.16.
func goodCSeq(value []byte, highest uint64) bool {
	value = trimSpace(value)
	space := bytes.IndexAny(value, " \t\r\n")
	if space < 0 {
		return false
	}
	_, ok := digits(value[:space], highest)
	return ok
}

// repeated is the name of a field that a request has more than once although
// it has one value, RFC 3261 section 7.3.1; "" if there is none. Any choice
// between them could be another than that of an element behind us, as in RFC
// 4475 section 3.3.8.
func repeated(m *received) string {
	var seen [len(single)]bool
	for _, h := range m.fields {
		i := slices.Index(single[:], h.key)
		if i < 0 {
			continue
		}
		if seen[i] {
			return single[i]
		}
		seen[i] = true
	}
	return ""
}

// single are the fields that repeated looks for.
var single = [...]string{"from", "to", "call-id", "cseq", "max-forwards"}
