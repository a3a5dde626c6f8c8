package b2bua_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
	"sipvigil/test/udp"
)

// recorder is an Observer that writes down what it is told, in one line each.
type recorder struct {
	mu    sync.Mutex // guards all
	lines []string
	ended []store.Call
	last  store.Call    // of Started or Confirmed
	panic string        // name of the method that panics once
	slow  time.Duration // how long the next line takes
	waits func()        // is told before
}

func (r *recorder) note(method, line string) {
	r.mu.Lock()
	slow := r.slow
	r.slow = 0
	r.mu.Unlock()
	if slow > 0 {
		r.waits()
	}
	time.Sleep(slow)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	if r.panic == method {
		r.panic = ""
		panic("the observer is broken")
	}
}

func (r *recorder) call(c store.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = c
}

func (r *recorder) Started(c store.Call)   { r.call(c); r.note("Started", "started") }
func (r *recorder) Confirmed(c store.Call) { r.call(c); r.note("Confirmed", "confirmed") }
func (r *recorder) Evidence(_ string, s store.Side, e store.Evidence) {
	r.note("Evidence", fmt.Sprintf("evidence %v: %s", s, e.What))
}

func (r *recorder) Answered(replies ...store.Reply) {
	for _, a := range replies {
		r.note("Answered", fmt.Sprintf("probe %v %s: %s", a.Side, a.Method, became(a.Answer)))
	}
}

func became(a store.Answer) string {
	kind := map[store.AnswerKind]string{store.Answered: "answered", store.Timeout: "timeout",
		store.Unsent: "unsent", store.Deferred: "deferred", store.NoCall: "no call", store.Unable: "unable"}[a.Kind]
	if a.Status != 0 {
		kind += fmt.Sprintf(" %d after %v", a.Status, a.RTT)
	}
	if a.Ours {
		kind += " for want of a network"
	}
	if a.Of != nil {
		kind += fmt.Sprintf(" of %v", a.Of)
	}
	return kind
}

func (r *recorder) Calibrated(_ string, s store.Side, a store.Answer) {
	r.note("Calibrated", fmt.Sprintf("calibrated %v: %s", s, became(a)))
}

func (r *recorder) Disturbed(_ string, s store.Side, why string) {
	r.note("Disturbed", fmt.Sprintf("disturbed %v: %s", s, why))
}

func (r *recorder) Ending(_ string, e store.End) {
	r.note("Ending", fmt.Sprintf("ending %s", reason(e)))
}

func (r *recorder) Ended(c store.Call) {
	r.mu.Lock()
	r.ended = append(r.ended, c)
	r.mu.Unlock()
	r.note("Ended", fmt.Sprintf("ended %s %s/%s", reason(c.End), c.End.Released[0], c.End.Released[1]))
}

func reason(e store.End) string {
	if e.Status != 0 {
		return fmt.Sprintf("%s(%d)", e.Reason, e.Status)
	}
	return string(e.Reason)
}

// heard is what was written down since the last time.
func (r *recorder) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// shelf is a Store that writes down what it is given. While it is held it
// covers nothing.
type shelf struct {
	mu       sync.Mutex // guards what is below
	saved    map[string]store.Call
	finished []store.Call
	marks    []string
	held     bool
	waiting  []func()
	down     bool
}

func (s *shelf) Save(c store.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved[c.ID] = c
}

func (s *shelf) Reserve(_ string, side store.Side, mark uint32, covered func(uint32)) {
	s.mu.Lock()
	s.marks = append(s.marks, fmt.Sprintf("%v %d", side, mark))
	if s.held {
		s.waiting = append(s.waiting, func() { covered(mark) })
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	covered(mark)
}

func (s *shelf) Finish(c store.Call, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = append(s.finished, c)
}

func (s *shelf) Status() store.Status { return store.Status{Reachable: !s.down} }

// cover acknowledges what was held.
func (s *shelf) cover() {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting, s.held = nil, false
	s.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

const (
	agentAddr = "127.0.0.1:5060"
	aliceAddr = "127.0.0.1:5071"
	bobAddr   = "127.0.0.1:5072"
	carolAddr = "127.0.0.1:5073"
)

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
const answer = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 0\r\n"

// world is an agent on a network with three phones.
type world struct {
	*testing.T
	agent             *b2bua.Agent
	network           *udp.Network
	obs               *recorder
	store             *shelf
	alice, bob, carol *phone
	invite            *ua.Message // as bob got it
	id                string      // of the call
	streams           []b2bua.Listener
}

// inWorld runs a test in a bubble with an agent that serves.
func inWorld(t *testing.T, change func(*b2bua.Config), f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		w.serve()
		w.agent.Loaded()
		f(w)
	})
}

func newWorld(t *testing.T, change func(*b2bua.Config)) *world {
	cfg := b2bua.Default()
	cfg.Node = "edge-1"
	cfg.NextHop = "sip:" + bobAddr
	if change != nil {
		change(&cfg)
	}
	w := &world{T: t, network: udp.New(), obs: &recorder{}, store: &shelf{saved: make(map[string]store.Call)}}
	var err error
	w.agent, err = b2bua.New(cfg, w.store, w.obs, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	w.obs.waits = w.agent.MayWait
	w.agent.Identify(7, []byte("0123456789abcdef0123456789abcdef"))
	w.alice = w.phone("alice", aliceAddr)
	w.alice.callID, w.alice.tag = "call-1@alice", "alice-tag"
	w.alice.uri = "<sip:bob@example.com>"
	w.bob = w.phone("bob", bobAddr)
	w.bob.tag, w.bob.cseq = "bob-tag", 100
	w.carol = w.phone("carol", carolAddr)
	w.carol.tag, w.carol.cseq = "carol-tag", 200
	return w
}

// serve has the agent serve until the test ends.
func (w *world) serve() { w.serveAt(agentAddr) }

func (w *world) serveAt(addr string) {
	ctx, stop := context.WithCancel(w.Context())
	conn := brittle{w.network.Listen(addr)}
	done := make(chan error)
	go func() { done <- w.agent.Run(ctx, []net.PacketConn{conn}, w.streams) }()
	w.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

func (w *world) phone(user, addr string) *phone {
	to, _ := net.ResolveUDPAddr("udp", agentAddr)
	return &phone{t: w.T, host: w.network.Listen(addr), to: to, user: user,
		from: fmt.Sprintf(`"%s" <sip:%s@%s>`, user, user, addr)}
}

// heard checks what the observer was told since the last time.
func (w *world) heard(want ...string) {
	w.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, w.obs.heard()); diff != "" {
		w.Errorf("the observer was told (-want +got):\n%s", diff)
	}
}

// what is a message in short: "BYE", or "200 BYE".
func what(m *ua.Message) string {
	if m.IsRequest() {
		return m.Method
	}
	_, method := m.CSeq()
	return fmt.Sprintf("%d %s", m.Status, method)
}

// text writes a message out from its lines.
func text(body string, lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		if l != "" {
			b.WriteString(strings.TrimSuffix(l, "\r\n") + "\r\n")
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

func tagged(uri, tag string) string {
	if tag == "" {
		return uri
	}
	return uri + ";tag=" + tag
}

// build is a request of the phone with this number; extra are header lines.
func (p *phone) build(method string, cseq uint32, body string, extra ...string) string {
	p.sent++
	target := p.target
	if target == "" {
		target = "sip:bob@example.com"
	}
	transport, param := "UDP", ""
	if p.stream != nil {
		transport, param = strings.ToUpper(p.over), ";transport="+strings.Replace(p.over, "wss", "ws", 1)
	}
	return text(body, append([]string{
		method + " " + target + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK-%s-%d", transport, p.host.Addr, p.user, p.sent),
		"Max-Forwards: 70",
		"From: " + tagged(p.from, p.tag),
		"To: " + tagged(p.uri, p.remoteTag),
		"Call-ID: " + p.callID,
		fmt.Sprintf("CSeq: %d %s", cseq, method),
		fmt.Sprintf("Contact: <sip:%s@%s%s>", p.user, p.host.Addr, param),
	}, extra...)...)
}

// request sends a request with the phone's next number.
func (p *phone) request(method, body string, extra ...string) {
	p.t.Helper()
	p.cseq++
	p.say(p.build(method, p.cseq, body, extra...))
}

// respond answers a request.
func (p *phone) respond(req *ua.Message, status int, body string, extra ...string) {
	p.t.Helper()
	p.say(p.response(req, status, body, extra...))
}

func (p *phone) response(req *ua.Message, status int, body string, extra ...string) string {
	lines := []string{fmt.Sprintf("SIP/2.0 %d Phrase of %s", status, p.user)}
	for _, v := range req.All("Via") {
		lines = append(lines, "Via: "+v)
	}
	to := req.Get("To")
	if req.ToTag() == "" && status > 100 {
		to = tagged(to, p.tag)
	}
	lines = append(lines, "From: "+req.Get("From"), "To: "+to, "Call-ID: "+req.CallID(), "CSeq: "+req.Get("CSeq"))
	if req.Method == "INVITE" && status > 100 && status < 300 {
		lines = append(lines, fmt.Sprintf("Contact: <sip:%s@%s>", p.user, p.host.Addr))
	}
	return text(body, append(lines, extra...)...)
}

// uri is a URI of a Contact value in <>.
func uri(contact string) string { return strings.Trim(contact, "<>") }

func without(addr string) string { a, _, _ := strings.Cut(addr, ";tag="); return a }

// dial has alice call; bob gets the INVITE.
func (w *world) dial(extra ...string) {
	w.Helper()
	w.alice.request("INVITE", offer, append([]string{"Content-Type: application/sdp"}, extra...)...)
	w.alice.next("100 INVITE")
	w.take(w.bob)
}

// take has the callee read the INVITE and enter its dialog.
func (w *world) take(p *phone) {
	w.Helper()
	m := p.next("INVITE")
	p.callID, p.remoteTag = m.CallID(), m.FromTag()
	p.from, p.uri, p.target = m.Get("To"), without(m.Get("From")), uri(m.Get("Contact"))
	w.invite = m
	w.id = w.obs.last.ID
}

// accept has bob answer 200; alice gets it.
func (w *world) accept(extra ...string) *ua.Message {
	w.Helper()
	w.bob.respond(w.invite, 200, answer, append([]string{"Content-Type: application/sdp"}, extra...)...)
	m := w.alice.next("200 INVITE")
	w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
	return m
}

// ack has alice acknowledge; bob gets the ACK.
func (w *world) ack() *ua.Message {
	w.Helper()
	w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
	return w.bob.next("ACK")
}

// connect makes a confirmed call.
func (w *world) connect(extra ...string) {
	w.Helper()
	w.dial(extra...)
	w.accept()
	w.ack()
	w.heard("started", "evidence caller: ACK", "confirmed")
}

// pass waits for fake time to pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// same compares texts.
func same(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// idleWorld is inWorld with an agent that does not serve yet.
func idleWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t, nil)) })
}

// rawAt checks how the next datagram at alice begins, whether or not it
// can be read as a message.
func rawAt(w *world, prefix string) {
	w.Helper()
	synctest.Wait()
	select {
	case d := <-w.alice.host.In:
		if !strings.HasPrefix(string(d.Data), prefix) {
			w.Errorf("got %q, want %s", d.Data, prefix)
		}
	default:
		w.Errorf("got nothing, want %s", prefix)
	}
}
