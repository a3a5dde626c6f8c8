package b2bua

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// inbound is a request that came in and passed the checks of RFC 3261 section
// 8.2 that every request must pass.
type inbound struct {
	req       *received
	tx        *serverTx
	agent     *Agent
	method    string
	cseq      uint32
	tag       string         // ours, "" outside of dialogs
	source    netip.AddrPort // of its far end, even where another node passed it on
	call      *call          // once it is known
	id        string         // of the call of ours that the tag names, "" without
	side      store.Side     // of it, and of its INVITE's sender
	forwarded bool           // by another node
	unsealed  bool           // by another node perhaps, which has another key
	sought    bool           // its call was looked for, others overtook it meanwhile
	raised    bool           // was sent on once more with a longer session interval
	route     route          // what its Routes say of us; not read inside of calls
}

// onRequest takes every request that is no retransmission. A panic costs this
// request only.
func (a *Agent) onRequest(req *received, tx *serverTx) {
	in := &inbound{req: req, tx: tx, agent: a, method: req.method, source: req.source}
	defer in.rescue()
	in.takeSource()
	a.metrics.request(in.method)
	if in.method == "ACK" {
		defer tx.terminate() // an ACK is not answered
	}
	if f := in.check(); f != nil {
		in.refuse(f)
		return
	}
	if !a.certified(in) {
		in.refuse(&fault{status: 403, phrase: "Client Certificate Required"})
		return
	}
	a.heardFrom(in)
	if in.method == "CANCEL" {
		a.transaction.cancel(in)
		return
	}
	var ours bool
	if in.id, in.side, ours = dialog.ReadTag(in.tag); !ours {
		if f := in.takeRoute(); f != nil {
			a.metrics.outside.WithLabelValues("forged").Inc()
			in.refuse(f)
			return
		}
	}
	if in.isOutside() {
		a.outside(in)
		return
	}
	if f := in.checkRequire(); f != nil {
		in.refuse(f)
		return
	}
	switch {
	case in.tag != "":
		a.inDialog(in)
	case a.transaction.merged(in.tx):
		in.answer(482)
	default:
		a.outOfDialog(in)
	}
}

// stream is the connection that the request came through, nil over UDP.
func (in *inbound) stream() *stream {
	s, _ := in.tx.conn.(*stream)
	return s
}

// ip is the address of the far end.
func (in *inbound) ip() netip.Addr { return in.source.Addr().WithZone("") }

// transport is the name of what the request came over, in lower case. The
// library knows only whether that is UDP.
func (in *inbound) transport() string {
	if s := in.stream(); s != nil {
		return s.transport
	}
	return "udp"
}

// listener is the address of our socket that the request came to.
func (in *inbound) listener() string {
	if s := in.stream(); s != nil {
		return s.listener
	}
	if p, ok := in.tx.conn.(*packetConn); ok {
		return p.addr
	}
	return ""
}

// rescue is deferred around handlers.
func (in *inbound) rescue() {
	if v := recover(); v != nil {
		in.agent.panicked(v)
		in.answer(500)
		in.forsake()
	}
}

// fault is a reason to refuse a request.
type fault struct {
	status int
	phrase string   // reason phrase, "" for the usual one
	header []string // name and value in turn
}

// check applies the rules that do not depend on a dialog.
func (in *inbound) check() *fault {
	req := in.req
	if !known[in.method] && in.method != "REGISTER" && in.method != "PUBLISH" {
		// RFC 3261 section 8.2.1, the first thing to look at.
		return &fault{501, "", []string{"Allow", allow}}
	}
	if phrase := in.checkMandatory(); phrase != "" {
		return &fault{status: 400, phrase: phrase}
	}
	if !strings.HasPrefix(req.uri, "sip:") && in.tag == "" && in.method != "ACK" {
		return &fault{status: 416}
	}
	if phrase := badReference(req); phrase != "" && in.method != "ACK" && in.method != "CANCEL" {
		return &fault{status: 400, phrase: phrase}
	}
	return nil
}

// checkRequire refuses what asks of us more than we can, RFC 3261 section
// 8.2.2.3.
func (in *inbound) checkRequire() *fault {
	if in.method == "ACK" || in.method == "CANCEL" {
		return nil
	}
	if bad := unsupported(in.req, "require"); bad != "" {
		return &fault{420, "", []string{"Unsupported", bad}}
	}
	return nil
}

// checkMandatory is a reason phrase for 400, or "". RFC 3261 section 8.1.1
// names the headers; Max-Forwards may be missing from RFC 2543 peers.
func (in *inbound) checkMandatory() string {
	req := in.req
	if req.via.host == "" {
		return "Bad or Missing Via"
	}
	if name := repeated(req); name != "" {
		return "Repeated " + name
	}
	if req.uriHeaders {
		return "Headers in Request-URI" // RFC 3261 section 19.1.1
	}
	if req.callID == "" {
		return "Missing Call-ID"
	}
	from, to := value(req, "from"), value(req, "to")
	if _, err := dialog.ParseAddr(from); err != nil {
		return "Bad or Missing From"
	}
	if _, err := dialog.ParseAddr(to); err != nil {
		return "Bad or Missing To"
	}
	if req.cseqMethod == "" {
		return "Bad or Missing CSeq"
	}
	if req.cseqMethod != in.method {
		return "CSeq Method Does Not Match"
	}
	if v, ok := first(req, "max-forwards"); ok {
		if n, err := strconv.Atoi(strings.TrimSpace(v)); err != nil || n < 0 || n > 255 {
			return "Bad Max-Forwards"
		}
	}
	if in.method == "INVITE" {
		if _, err := inviteTarget(req); err != nil {
			return "Bad or Missing Contact"
		}
	}
	in.cseq, in.tag = req.cseq, req.toTag
	return ""
}

// supported lists the extensions whose Require we accept, because they pass
// between the two far ends.
var supported = map[string]bool{
	"100rel": true, "timer": true, "precondition": true, "histinfo": true,
	"norefersub": true, "from-change": true, "early-session": true,
	"replaces": true, "join": true, "tdialog": true, "nosub": true, "explicitsub": true,
	"multiple-refer": true, "answermode": true, "resource-priority": true, "uui": true,
	"ice": true, "sdp-anat": true,
}

// unsupported are the option tags of this header that are not ours.
func unsupported(req *received, header string) string {
	var bad []string
	for _, v := range values(req, header) {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); tag != "" && !supported[strings.ToLower(tag)] {
				bad = append(bad, tag)
			}
		}
	}
	return strings.Join(bad, ", ")
}

// inDialog hands a request to the call whose tag it carries.
func (a *Agent) inDialog(in *inbound) {
	side := in.side
	c := a.callOf(in.id)
	if c == nil {
		a.noCall(in)
		return
	}
	serve := func() {
		defer in.rescue()
		in.call = c
		switch {
		case c.owns(side, in):
			c.onRequest(side, in)
		case c.overtook(side, in):
			c.onOvertaker(in)
		default:
			in.unknownDialog()
		}
	}
	if in.sought {
		c.do(serve)
		return
	}
	c.here(in.req.callID, serve)
}

// noCall serves a request whose call is not there, or no longer: a BYE
// of a call that has ended lately crossed ours, RFC 5407 section 3.2.1. A tag that
// was not made with the key of all nodes may be invented, and is that of a call
// that began at another node before that knew the key, or before the store lost
// it: 481 would end that call. So a few of them are looked for.
func (a *Agent) noCall(in *inbound) {
	if in.method == "BYE" && a.ended.owns(in) {
		in.answer(200)
		return
	}
	switch {
	case a.cfg.Find == nil:
		in.unknownDialog()
	case a.minted(in.tag) || a.doubtful.Allow():
		a.elsewhere(in)
	default:
		in.later("Tag Not Known")
	}
}

// unknownDialog answers 481, RFC 3261 section 12.2.2. While the calls of an
// earlier run have not been read back, one of them may be meant.
func (in *inbound) unknownDialog() {
	if in.method == "ACK" {
		return
	}
	if id := in.agent.identity.Load(); !id.loaded {
		in.refuse(&fault{503, "Calls Not Loaded Yet", []string{"Retry-After", "5"}})
		return
	}
	in.answer(481)
}

// outOfDialog serves what belongs to no dialog.
func (a *Agent) outOfDialog(in *inbound) {
	switch in.method {
	case "INVITE":
		a.onInvite(in)
	case "OPTIONS":
		in.onOptions()
	case "ACK":
	case "BYE", "INFO", "PRACK", "UPDATE", "NOTIFY":
		// RFC 3261 section 15.1.2: no dialog matches.
		in.answer(481)
	}
}

// reply builds a response with the tag of the request's leg, or a new one.
func (in *inbound) reply(status int, phrase string) *response {
	if phrase == "" {
		phrase = reasonPhrase(status)
	}
	to := value(in.req, "to")
	if status > 100 && in.req.toTag == "" {
		tag := in.tag
		if tag == "" {
			tag = strconv.FormatUint(rand.Uint64(), 36)
		}
		to = dialog.WithTag(to, tag)
	}
	return reply(in.req, status, phrase, to)
}

// answer sends a response without further headers. ACK is never answered.
func (in *inbound) answer(status int) { in.refuse(&fault{status: status}) }

func (in *inbound) refuse(f *fault) {
	if in.method == "ACK" {
		return
	}
	res := in.reply(f.status, f.phrase)
	for i := 0; i+1 < len(f.header); i += 2 {
		res.add(f.header[i], f.header[i+1])
	}
	in.ownSession(res)
	in.send(res)
}

// send gives a response to the transaction. That it cannot be sent is the far
// end's loss: it will ask again or give up.
func (in *inbound) send(res *response) {
	if res.status >= 200 {
		in.agent.metrics.response(res.status)
	}
	if res.status >= 300 {
		in.agent.transaction.refused(in.tx)
	}
	if err := in.tx.respond(res); err != nil {
		in.agent.log.Debug("response not sent", zap.String("method", in.method),
			zap.Int("status", res.status), zap.Stringer("peer", in.source), zap.Error(err))
	}
	switch {
	case in.method == "CANCEL":
		in.tx.terminate() // a repeated one is answered anew: its INVITE may be here by then
	case in.call == nil && in.method != "INVITE" && res.status >= 200 && in.agent.transaction.crowded():
		in.tx.terminate() // as is any other that is no call's: RFC 3261 section 8.2.7
	}
}

// onStrayResponse takes responses that match no transaction: late answers to
// INVITEs that went elsewhere, to probes that we stopped waiting for, and to
// what was asked before the call was read back. These are signs of life all the
// same.
func (a *Agent) onStrayResponse(res *received) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(v)
		}
	}()
	if a.onLate(res) {
		return
	}
	id, side, ok := dialog.ReadTag(res.fromTag)
	if !ok || res.status < 200 {
		return
	}
	c := a.call(id)
	if c == nil || !c.ownsResponse(side, res) {
		return
	}
	if method := res.cseqMethod; method != "" && res.status != 481 && res.status != 408 {
		c.do(func() {
			if !c.isFarEnd(side, res.source) {
				return
			}
			c.evidence(side, "late "+strconv.Itoa(res.status)+" "+method)
			if method == "INVITE" && res.status < 300 {
				c.ackLate(side, res)
			}
		})
	}
}

// contactURI is the URI of the first Contact.
func contactURI(m *received) (string, error) {
	v, ok := first(m, "contact")
	if !ok {
		return "", errNoContact
	}
	if v = dialog.First(v); v == "" {
		return "", errNoContact
	}
	addr, err := dialog.ParseAddr(v)
	if err != nil {
		return "", err
	}
	if _, err := dialog.ParseURI(addr.URI); err != nil {
		return "", err
	}
	return addr.URI, nil
}

// forwards is the Max-Forwards to relay with; ok is false when it has run out.
// RFC 7332 section 5.
func forwards(req *received) (n int, ok bool) {
	v, found := first(req, "max-forwards")
	if !found {
		return 70, true
	}
	n, _ = strconv.Atoi(strings.TrimSpace(v)) // was checked
	return n - 1, n > 0
}
