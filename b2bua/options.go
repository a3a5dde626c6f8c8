package b2bua

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// onOptions answers OPTIONS outside of calls as it would an INVITE, RFC 3261
// section 11.2: whoever monitors us learns whether calls are taken. Inside of a
// call nothing but the call matters.
func (in *inbound) onOptions() {
	trunk := in.agent.trunkOf(in.ip())
	if in.agent.service(trunk).Mute {
		in.tx.terminate()
		return
	}
	if f, _ := in.agent.refusal(trunk); f != nil {
		in.refuse(f)
		return
	}
	if t := in.agent.limited(trunk); t != nil && in.agent.cfg.Channels.Left(trunk, store.Caller) == 0 {
		in.refuse(t.full())
		return
	}
	in.capabilities()
}

// capabilities answers OPTIONS with 200, RFC 3261 section 11.2.
func (in *inbound) capabilities() {
	res := in.reply(200, "")
	for _, h := range [][2]string{
		{"Allow", allow},
		{"Accept", "application/sdp, */*"},
		{"Accept-Encoding", "identity"},
		{"Accept-Language", "*"},
		{"Supported", "100rel, timer"},
		{"Server", product},
	} {
		res.add(h[0], h[1])
	}
	if acceptsSDP(in.req) {
		source := in.source.String()
		s := in.agent.socketFor(in.transport(), in.listener(), source)
		host, _ := in.agent.reachedAt(s, source)
		res.add("Content-Type", "application/sdp")
		res.body = describe(host)
	}
	in.ownSession(res)
	in.send(res)
}

// acceptsSDP says whether the sender of an OPTIONS takes a session description:
// it lists it in Accept, or has none, RFC 3261 section 11.2. Several Accepts are
// one list, RFC 3261 section 7.3.1; the most precise range that fits decides,
// and may say q=0.
func acceptsSDP(req *received) bool {
	lines := values(req, "accept")
	if len(lines) == 0 {
		return true
	}
	best, q := -1, 0.0
	for _, line := range lines {
		for _, element := range dialog.SplitList(line) {
			kind, params, _ := strings.Cut(element, ";")
			precision := -1
			switch strings.ToLower(strings.Trim(kind, lws)) {
			case "application/sdp":
				precision = 2
			case "application/*":
				precision = 1
			case "*/*":
				precision = 0
			}
			if precision > best {
				best, q = precision, quality(params)
			}
		}
	}
	return q > 0
}

// quality is the q of an element's parameters, 1 without one that can be read.
func quality(params string) float64 {
	if v, ok := dialog.Param(";"+params, "q"); ok {
		if q, err := strconv.ParseFloat(v, 64); err == nil && q >= 0 && q <= 1 {
			return q
		}
	}
	return 1
}

// formats are what nearly every far end has that a call may reach, in the words
// of SDP. Descriptions of calls pass as they are, so that more than these works.
const formats = "m=audio 0 RTP/AVP 0 8 101\r\n" +
	"a=rtpmap:0 PCMU/8000\r\n" +
	"a=rtpmap:8 PCMA/8000\r\n" +
	"a=rtpmap:101 telephone-event/8000\r\n"

// describe is a session description that offers nothing and tells what could be
// offered, RFC 3264 section 9: its port is 0, its address is any.
func describe(host string) []byte {
	family := "IP4"
	if strings.Contains(host, ":") {
		family = "IP6"
	}
	host = strings.Trim(host, "[]")
	return fmt.Appendf(nil, "v=0\r\no=- %d 0 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n%s",
		rand.Uint64()>>1, family, host, family, host, formats)
}
