package ua

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what a phone is. Its zero value listens on UDP on a free port of
// the loopback address.
type Config struct {
	Addr      string        // host:port that peers can reach; 127.0.0.1:0 when empty
	Transport string        // "udp" (also when empty), "tcp", "tls", "ws" or "wss"
	TLS       *tls.Config   // its certificate, if it has one, and whom it believes
	User      string        // user part of its URI; "phone" when empty
	Inner     string        // host:port in its Via and Contact, as of a phone behind a NAT; its address when empty
	UserAgent string        // User-Agent and Server; none when empty
	T1        time.Duration // RFC 3261 section 17.1.1.1; 500 ms when 0. T2 is 8*T1, time-outs are 64*T1.
	// History is how many received messages the phone, and each dialog, keeps;
	// 200 when 0. CheckCSeq covers a dialog's whole life all the same.
	History int
	// Trace, when set, is told of every message that goes out and comes in,
	// after the filter of Drop. It must not block.
	Trace func(Direction, *Message)
}

// Direction of a message as the phone sees it.
type Direction uint8

// The two directions.
const (
	In Direction = iota
	Out
)

// String is "in" or "out".
func (d Direction) String() string {
	if d == In {
		return "in"
	}
	return "out"
}

// Phone is one SIP endpoint on one socket. All its methods may be called
// concurrently.
type Phone struct {
	cfg     Config
	wire    wire
	addr    string // host:port, or the name that a WebSocket has
	tasks   tasks
	gone    chan struct{} // closed when the phone is
	close   sync.Once
	invited chan *Incoming
	journal journal // requests outside any dialog

	silent  atomic.Bool
	filter  atomic.Pointer[func(Direction, *Message) bool]
	handler atomic.Pointer[func(*Incoming)]
	outside scripts // answers to requests outside a dialog
	unknown scripts // answers to requests of dialogs that it does not know

	mu      sync.Mutex
	clients map[string]func(*Message) // who waits for responses, by branch and method
	servers map[string]*serverTx      // by branch, sent-by and method
	dialogs map[dialogID]*Dialog
	faults  []error
}

// maxFaults bounds the list of Faults.
const maxFaults = 100

// Listen binds the socket and starts to read it.
func Listen(cfg Config) (*Phone, error) {
	cfg.Addr = cmp.Or(cfg.Addr, "127.0.0.1:0")
	cfg.Transport = strings.ToLower(cmp.Or(cfg.Transport, "udp"))
	cfg.User = cmp.Or(cfg.User, "phone")
	cfg.T1 = cmp.Or(cfg.T1, 500*time.Millisecond)
	cfg.History = cmp.Or(cfg.History, 200)
	p := &Phone{
		cfg:     cfg,
		gone:    make(chan struct{}),
		invited: make(chan *Incoming, 4096),
		journal: journal{keep: cfg.History},
		clients: make(map[string]func(*Message)),
		servers: make(map[string]*serverTx),
		dialogs: make(map[dialogID]*Dialog),
	}
	var err error
	if p.wire, err = openWire(cfg, &p.tasks, p.receive); err != nil {
		return nil, fmt.Errorf("phone %s: %w", cfg.User, err)
	}
	p.addr = p.wire.local().String()
	if isWeb(cfg.Transport) {
		// RFC 7118, appendix B.1: a name that can be found nowhere.
		p.addr = strings.ToLower(rand.Text()[:12]) + ".invalid"
	}
	p.tasks.start(p.wire.run)
	return p, nil
}

// Close makes the phone vanish: no BYE, no answer, the socket is closed. It
// returns when all its goroutines have ended, so a handler must not call it.
// Waiting calls return ErrClosed.
func (p *Phone) Close() {
	p.close.Do(func() {
		close(p.gone)
		p.wire.close()
		p.mu.Lock()
		dialogs := make([]*Dialog, 0, len(p.dialogs))
		for _, d := range p.dialogs {
			dialogs = append(dialogs, d)
		}
		p.mu.Unlock()
		for _, d := range dialogs {
			d.finish(End{By: Vanished})
		}
	})
	p.tasks.close()
}

// Addr is host:port of the socket, or an invalid name for a WebSocket, which
// only those reach that it has connected to.
func (p *Phone) Addr() string { return p.addr }

// URI is the phone's address of record and contact.
func (p *Phone) URI() string {
	uri := "sip:" + p.cfg.User + "@" + p.here()
	switch t := p.cfg.Transport; t {
	case "udp":
	case "wss":
		uri += ";transport=ws" // RFC 7118 section 5.2
	default:
		uri += ";transport=" + t
	}
	return uri
}

// here is where the phone believes to be.
func (p *Phone) here() string { return cmp.Or(p.cfg.Inner, p.Addr()) }

// Silence lets the phone receive, record and follow what comes, but send no
// response and no ACK until Speak. Requests of the script still go out.
func (p *Phone) Silence() { p.silent.Store(true) }

// Speak ends Silence. What was asked meanwhile is answered when it is repeated.
func (p *Phone) Speak() { p.silent.Store(false) }

// Disconnect closes the connections that the phone has, if its transport has
// any. It goes on to listen, and opens new ones as it needs them.
func (p *Phone) Disconnect() {
	if w, ok := p.wire.(*tcpWire); ok {
		w.disconnect()
	}
}

// Drop installs a filter that sees every message before the phone processes
// or sends it, and drops those for which it returns true. It may be called
// concurrently. Nil removes it.
func (p *Phone) Drop(filter func(Direction, *Message) bool) {
	if filter == nil {
		p.filter.Store(nil)
		return
	}
	p.filter.Store(&filter)
}

// Handle gives every incoming call to f, in a goroutine of its own. Close waits
// for it, so an f that blocks watches Incoming.Cancelled or Dialog.Ended.
// Without it calls wait for Invited.
func (p *Phone) Handle(f func(*Incoming)) { p.handler.Store(&f) }

// Invited returns the next incoming call. It is for scripts that take calls
// one after the other, instead of Handle.
func (p *Phone) Invited(ctx context.Context) (*Incoming, error) {
	select {
	case in := <-p.invited:
		return in, nil
	case <-p.gone:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a call: %w", context.Cause(ctx))
	}
}

// Received is the requests outside any dialog that came in, also those for
// dialogs that the phone does not know, in their order.
func (p *Phone) Received() []Received { return p.journal.all() }

// Wait returns the first such request that matches, as soon as there is one.
func (p *Phone) Wait(ctx context.Context, match func(Received) bool) (Received, error) {
	return p.journal.wait(ctx, p.gone, match)
}

// Next is Wait for what came after the request that Next returned last.
func (p *Phone) Next(ctx context.Context, match func(Received) bool) (Received, error) {
	return p.journal.next(ctx, p.gone, match)
}

// Faults says what was wrong with messages that could not be parsed, or that no
// peer may send. A test of a peer's conduct demands that it is nil.
func (p *Phone) Faults() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.faults...)
}

func (p *Phone) fault(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.faults) < maxFaults {
		p.faults = append(p.faults, err)
	}
}

// transmit writes a message unless the filter drops it.
func (p *Phone) transmit(m *Message, to netip.AddrPort) error {
	return p.put(m, func(raw []byte) error { return p.wire.send(to, raw) })
}

// reply sends a response the way the request came.
func (p *Phone) reply(m *Message, to source) error {
	if to.stream != nil {
		return p.put(m, to.stream.write)
	}
	return p.transmit(m, to.addr)
}

func (p *Phone) put(m *Message, write func([]byte) error) error {
	if drop := p.filter.Load(); drop != nil && (*drop)(Out, m) {
		return nil
	}
	if p.cfg.Trace != nil {
		p.cfg.Trace(Out, m)
	}
	return write([]byte(m.Raw))
}

// via is a new Via value with a branch of its own.
func (p *Phone) via() string {
	return "SIP/2.0/" + strings.ToUpper(p.cfg.Transport) + " " + p.here() + ";branch=z9hG4bK" + rand.Text() + ";rport"
}

func (p *Phone) contact() string { return "<" + p.URI() + ">" }

// t2 caps the interval between retransmissions: RFC 3261 section 17.1.2.2.
func (p *Phone) t2() time.Duration { return 8 * p.cfg.T1 }

// timeout is Timer B, F, H and the like.
func (p *Phone) timeout() time.Duration { return 64 * p.cfg.T1 }

// reliable transports need no retransmission of requests.
func (p *Phone) reliable() bool { return p.cfg.Transport != "udp" }
