package b2bua

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// Mirror is given a copy of each SIP message that is taken or sent, for a
// capture server. It is called from one goroutine; what comes while it has not
// returned waits, and when too much waits it is lost. No call waits for it. An
// error says that the copy is lost.
type Mirror interface {
	Message(m Mirrored) error
}

// Mirrored is one message.
type Mirrored struct {
	At        time.Time
	Transport string // udp, tcp, tls, ws or wss; what was encrypted is in the clear
	From, To  netip.AddrPort
	CallID    string // of the caller's leg, also in messages of the callee's: what joins both
	Text      []byte
}

const (
	mostMirrored   = 4096 // messages that may wait
	mostCorrelated = 8192 // calls of which the caller's Call-ID is known after their end; twice as many at most
)

// mirror is what waits for [Config.Mirror].
type mirror struct {
	agent   *Agent
	to      Mirror
	waiting chan Mirrored

	// These belong to the goroutine of run: what was seen lately, and before.
	young, old map[string]string
}

// newMirror is nil without anybody to give messages to.
func newMirror(a *Agent, to Mirror) *mirror {
	if to == nil {
		return nil
	}
	return &mirror{agent: a, to: to, waiting: make(chan Mirrored, mostMirrored), young: make(map[string]string)}
}

// copy takes a message that goes from one address to another. It returns at
// once. A nil mirror takes nothing.
func (m *mirror) copy(transport string, from, to net.Addr, message []byte) {
	if m == nil || len(message) == 0 || message[0] <= ' ' { // a keep-alive
		return
	}
	select {
	case m.waiting <- Mirrored{At: time.Now(), Transport: transport, From: addrPortOf(from), To: addrPortOf(to), Text: bytes.Clone(message)}:
	default:
		m.agent.metrics.unmirrored.Inc()
	}
}

// run gives on what waits until done is closed.
func (m *mirror) run(done <-chan struct{}) {
	for {
		select {
		case msg := <-m.waiting:
			msg.CallID = m.correlation(msg.Text)
			if err := m.to.Message(msg); err != nil {
				m.agent.metrics.unmirrored.Inc()
			}
		case <-done:
			return
		}
	}
}

// correlation is the Call-ID of the caller's leg of the call that a message
// belongs to. A message without a tag of ours has its own: it begins a call, or
// belongs to none.
func (m *mirror) correlation(message []byte) string {
	var own, caller string
	f := fields{rest: message}
	f.line()
	for caller == "" && f.next() {
		switch fieldOf(f.name) {
		case fieldCallID:
			own = string(f.value)
		case fieldFrom, fieldTo:
			if id, _, ok := dialog.ReadTag(dialog.Tag(string(f.value))); ok {
				caller = m.callerID(id)
			}
		}
	}
	if caller != "" {
		return caller
	}
	return own
}

// callerID is the Call-ID of the caller's leg of a call, "" if it is not known.
func (m *mirror) callerID(id string) string {
	if callID, ok := m.young[id]; ok {
		return callID
	}
	callID := m.old[id]
	if c := m.agent.call(id); callID == "" && c != nil {
		callID = c.snapshot().Legs[store.Caller].CallID
	}
	if callID == "" {
		return ""
	}
	if len(m.young) >= mostCorrelated {
		m.young, m.old = make(map[string]string), m.young
	}
	m.young[id] = callID
	return callID
}

// addrPortOf is an address of a socket, the zero one if it is none.
func addrPortOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort()
	case *net.TCPAddr:
		return a.AddrPort()
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return ap
}
