package b2bua

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
)

// maxPassing bounds the requests outside of calls that are on their way at the
// same time.
const maxPassing = 4096

// isOutside says whether a request belongs to no call and is not for us
// either: it is passed on.
func (in *inbound) isOutside() bool {
	switch in.method {
	case "INVITE", "ACK", "CANCEL", "BYE", "PRACK", "UPDATE", "INFO":
		return false
	}
	if in.tag != "" { // a subscription's dialog, in which nothing else has a place
		return in.route.through && (in.method == "SUBSCRIBE" || in.method == "NOTIFY" || in.method == "OPTIONS")
	}
	if in.route.through {
		return true
	}
	switch in.method {
	case "NOTIFY":
		return false // its subscription would have a token of ours
	case "OPTIONS":
		return !in.isForUs()
	}
	return true
}

// isForUs says whether we answer an OPTIONS ourselves: one that names no user,
// or us, one that nobody else is there for, one whose sender's calls are not
// taken now, and, as RFC 3261 section 11 has it, one that may go no further.
func (in *inbound) isForUs() bool {
	uri, err := dialog.ParseURI(in.req.uri)
	if err != nil || uri.User == "" || in.agent.isOurURI(uri) {
		return true
	}
	trunk := in.agent.trunkOf(in.ip())
	refused, _ := in.agent.refusal(trunk)
	_, more := forwards(in.req)
	_, configured := in.agent.configured(in.query(uri), inOrder)
	return refused != nil || !more || !configured
}

// passage is a request outside of calls on its way through: we are a stateful
// proxy for it, RFC 3261 section 16.
type passage struct {
	in      *inbound
	targets []target     // still to be tried
	target  target       // that is being tried
	hops    []locate.Hop // its addresses, still to be tried
	trunk   string       // that it came from
	back    dialog.Flow  // how its sender, or who a token named, is reached later
	later   *time.Timer
	over    sync.Once
}

// outside relays a request, or refuses it.
func (a *Agent) outside(in *inbound) {
	p := &passage{in: in, trunk: a.trunkOf(in.ip())}
	f, result := p.admit()
	if f == nil && a.passing.Add(1) > maxPassing {
		a.passing.Add(-1)
		f, result = &fault{503, "Too Many Requests Under Way", []string{"Retry-After", "5"}}, "busy"
	}
	a.metrics.outside.WithLabelValues(result).Inc()
	if f != nil {
		in.refuse(f)
		return
	}
	// RFC 4320 section 4.1: who has waited until Timer E stands at T2 is told
	// that we are at it.
	p.later = time.AfterFunc(7*sip.T1, func() { a.work.Go(func() { in.answer(100) }) })
	p.guarded(func() {
		if p.back = in.wayBack(p.trunk); in.route.flow != nil {
			p.back = *in.route.flow
		}
		p.next(&fault{status: 500})
	})
}

// guarded runs f, whose panic costs this request only.
func (p *passage) guarded(f func()) {
	guarded(f, func(v any) {
		p.in.agent.panicked(v)
		p.end()
		p.in.answer(500)
	})
}

// admit is RFC 3261 section 16.3, and finds the targets. result is a metric's
// label.
func (p *passage) admit() (f *fault, result string) {
	in, a := p.in, p.in.agent
	if !a.mayCall(in.ip()) {
		return &fault{status: 403}, "source"
	}
	if _, ok := forwards(in.req); !ok {
		return &fault{status: 483}, "max_forwards"
	}
	if in.looped() {
		return &fault{482, "Loop Detected", nil}, "loop"
	}
	if bad := unsupported(in.req, "proxy-require"); bad != "" {
		if more := unsupported(in.req, "require"); more != "" { // we go no further, so all that is known is said
			bad += ", " + more
		}
		return &fault{420, "", []string{"Unsupported", bad}}, "extension"
	}
	switch p.targets, f = p.find(); f {
	case nil:
		return nil, "relayed"
	case &badToken:
		return f, "forged"
	case &flowFailed:
		return f, "flow"
	default:
		return f, "no_route"
	}
}

// find is where the request goes, RFC 3261 section 16.5: where a token of ours
// says, else where a call would go.
func (p *passage) find() ([]target, *fault) {
	in, a := p.in, p.in.agent
	if in.route.through {
		t, f := in.flowTarget()
		return []target{t}, f
	}
	uri, err := dialog.ParseURI(in.req.uri)
	if err != nil {
		return nil, &fault{400, "Bad Request-URI", nil}
	}
	if in.method == "REGISTER" {
		return p.registrars(uri)
	}
	if to := a.route(in.query(uri)); len(to) > 0 {
		return to, nil
	}
	return nil, &fault{status: 404}
}

// registrars are the targets of a REGISTER, which goes nowhere unless the
// configuration says so. Routes look at the user that is registered. The
// Request-URI is the domain that the phone names, RFC 3261 section 10.2, unless
// that is we.
func (p *passage) registrars(domain dialog.URI) ([]target, *fault) {
	in, a := p.in, p.in.agent
	user := domain
	if addr, err := dialog.ParseAddr(value(in.req, "to")); err == nil {
		if u, err := dialog.ParseURI(addr.URI); err == nil {
			user.User, _, _ = strings.Cut(u.User, ":")
		}
	}
	list, ok := a.configured(in.query(user), inOrder)
	if !ok || len(list) == 0 {
		return nil, &fault{405, "", []string{"Allow", allow}}
	}
	ours := a.isOurURI(domain)
	list = slices.Clone(list)
	for i := range list {
		t := &list[i]
		t.place, t.uri = t.uri, domain.String()
		if u, err := dialog.ParseURI(t.place); err == nil && ours {
			u.User = ""
			t.uri = u.String()
		}
	}
	return list, nil
}

// subscribes says whether a request begins a dialog outside of calls, or may:
// RFC 6665 section 4.3 asks who stays in its path to be in that of each NOTIFY
// too.
func (in *inbound) subscribes() bool {
	return in.method == "SUBSCRIBE" || in.method == "REFER" || in.method == "NOTIFY" && in.tag != ""
}

// addOwn adds what has later requests come back through us: Path to a REGISTER,
// RFC 3327 section 5.2, and Record-Route, RFC 3261 section 16.6, to what begins
// a dialog. Where the transport changes there are two, one for each side.
//
// Departs from RFC 3327 section 5.2: Path is added also for phones that do not
// say that they know it. Most do not, and cannot be reached without.
//
// Departs from RFC 5626 section 5.4: there is no STUN on our sockets, so flows
// over UDP are not offered with "ob"; they are used all the same.
func (p *passage) addOwn(out *request, s *socket) {
	in, a := p.in, p.in.agent
	transport := in.transport()
	there := a.ownURI(p.back, s, out.to)
	switch {
	case in.method == "REGISTER":
		if in.firstHop() && transport != "udp" { // RFC 5626 section 5.1
			there.Params += ";ob"
		}
		out.add("Path", "<"+there.String()+">")
	case in.subscribes():
		out.add("Record-Route", "<"+there.String()+">")
		source := in.source.String()
		if here := a.socketFor(transport, in.listener(), source); here.transport != s.transport {
			uri := a.ownURI(p.back, here, source)
			out.add("Record-Route", "<"+uri.String()+">")
		}
	}
}

// next sends the request to the first address of a target that it can be sent
// to. When none is left its sender gets the last fault. It may wait for the DNS.
func (p *passage) next(last *fault) {
	for len(p.hops)+len(p.targets) > 0 {
		var err error
		if len(p.hops) == 0 {
			p.target, p.targets = p.targets[0], p.targets[1:]
			p.hops, err = p.in.agent.hops(p.target)
		}
		if err == nil {
			h := p.hops[0]
			p.hops = p.hops[1:]
			err = p.try(p.target, h)
		}
		if err == nil {
			return
		}
		p.in.agent.log.Info("request outside of calls cannot be sent on", zap.String("method", p.in.method),
			zap.String("target", p.target.uri), zap.String("trunk", p.target.trunk), zap.Error(err))
		if p.target.flow != nil {
			last = &flowFailed
		}
	}
	p.end()
	p.in.refuse(last)
}

// try sends the request to one address and has its answers served.
func (p *passage) try(t target, h locate.Hop) error {
	a := p.in.agent
	tx, err := a.send(p.request(t, h))
	if err != nil {
		return err
	}
	a.await(tx, func(res *received) {
		p.guarded(func() { p.answered(res) })
	}, func(err error) {
		p.guarded(func() { p.unanswered(err) })
	})
	return nil
}

// unanswered tries elsewhere when the request did not go out, RFC 3261 section
// 16.9. RFC 4320 section 4.2: who cannot answer in time does not answer at all,
// and never with 408.
func (p *passage) unanswered(err error) {
	if errors.Is(err, sip.ErrTransactionTimeout) {
		p.end()
		p.in.tx.terminate()
		return
	}
	p.next(&fault{status: 500})
}

// request is the request as it is sent on, RFC 3261 section 16.6: as it came,
// with our Via, our Path or Record-Route, and one hop less to go.
func (p *passage) request(t target, to locate.Hop) *request {
	in, a := p.in, p.in.agent
	uri, routes, _ := t.lines()
	out := in.onward(uri, to.Transport, to.Addr.String(), branch()+"."+in.loopMark())
	s := a.socketFor(to.Transport, t.listener(in.listener()), out.to)
	in.carryOn(out, s)
	for _, r := range routes {
		out.add("Route", r)
	}
	p.addOwn(out, s)
	in.copyTo(out, "route")
	return out
}

// answered passes an answer back, RFC 3261 section 16.7.
func (p *passage) answered(res *received) {
	status := res.status
	if status < 200 {
		return // RFC 4320 section 4.1: no provisional response but our own 100
	}
	if status == 503 && len(p.hops)+len(p.targets) > 0 {
		p.next(&fault{status: 500})
		return
	}
	p.end()
	switch status {
	case 408: // RFC 4320 section 4.2
		p.in.tx.terminate()
	case 503: // RFC 3261 section 16.7: it is not we who cannot serve
		p.in.answer(500)
	default:
		p.in.send(p.returned(res))
	}
}

// returned is an answer as it goes back: its own, but for the Vias, which are those
// that the request came with.
func (p *passage) returned(res *received) *response {
	in := p.in
	if in.method == "REGISTER" && res.status < 300 {
		in.keepAlives()
	}
	out := reply(in.req, res.status, res.reason, value(res, "to"))
	for _, f := range res.fields {
		switch f.key {
		case "via", "from", "to", "call-id", "cseq":
		default:
			out.add(f.name, f.value)
		}
	}
	out.body = res.body
	return out
}

// end gives up the request's place among those under way.
func (p *passage) end() {
	p.over.Do(func() {
		p.later.Stop()
		p.in.agent.passing.Add(-1)
	})
}

// onward begins the request as it is sent on as by a proxy.
func (in *inbound) onward(uri, transport, to, branch string) *request {
	return &request{
		method: in.method, uri: requestURI(uri), callID: in.req.callID, cseq: in.cseq, branch: branch,
		transport: transport, to: to, header: make([]byte, 0, roomFirst), body: in.req.body,
	}
}

// carryOn has a request that is sent on as by a proxy leave by a socket, with
// the Vias that it came with, below ours, and one hop less to go.
func (in *inbound) carryOn(out *request, s *socket) {
	out.leaveBy(s)
	out.header = in.agent.appendVia(out.header, s, way{out.transport, out.to}, out.branch)
	for i, via := range values(in.req, "via") {
		if i == 0 {
			via = string(in.req.appendVia(nil, via, in.source))
		}
		out.add("Via", via)
	}
	n, _ := forwards(in.req)
	out.header = appendMaxForwards(out.header, n)
}

// copyTo adds what such a request keeps as it came, but for one more field.
func (in *inbound) copyTo(out *request, except string) {
	for _, f := range in.req.fields {
		switch f.key {
		case "via", "max-forwards", except:
		default:
			out.add(f.name, f.value)
		}
	}
}
