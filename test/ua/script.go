package ua

import "sync"

// Reply is a scripted answer. Status 0 answers nothing.
type Reply struct {
	Status  int
	Reason  string // the usual phrase when empty
	Headers []Header
	Body    string
}

// scripts are answers by method.
type scripts struct {
	mu       sync.Mutex
	byMethod map[string]func(*Message) Reply
}

func (s *scripts) set(method string, f func(*Message) Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byMethod == nil {
		s.byMethod = make(map[string]func(*Message) Reply)
	}
	if f == nil {
		delete(s.byMethod, method)
		return
	}
	s.byMethod[method] = f
}

// get is nil when nothing is scripted for the method.
func (s *scripts) get(method string) func(*Message) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byMethod[method]
}

// always answers every request alike.
func always(status int, reason string, headers []Header) func(*Message) Reply {
	return func(*Message) Reply { return Reply{Status: status, Reason: reason, Headers: headers} }
}

// Answer scripts the answer to requests outside any dialog, INVITE excepted:
// a carrier whose OPTIONS fail. An empty reason is the usual phrase.
func (p *Phone) Answer(method string, status int, reason string, headers ...Header) {
	p.outside.set(method, always(status, reason, headers))
}

// Respond is Answer with a function, which runs in its own goroutine and may
// block until the phone is closed. Nil returns to the default.
func (p *Phone) Respond(method string, f func(*Message) Reply) { p.outside.set(method, f) }

// AnswerUnknown scripts the answer to requests of dialogs that the phone does
// not know or has forgotten, which is 481 otherwise: the blind phone that
// answers 200 to any OPTIONS.
func (p *Phone) AnswerUnknown(method string, status int, reason string, headers ...Header) {
	p.unknown.set(method, always(status, reason, headers))
}

// Answer scripts the answer to one method in this dialog. A 2xx to INVITE
// carries the dialog's SDP. An empty reason is the usual phrase.
func (d *Dialog) Answer(method string, status int, reason string, headers ...Header) {
	d.scripts.set(method, always(status, reason, headers))
}

// Respond is Answer with a function, which runs in its own goroutine and may
// block until the phone is closed. Nil returns to the default.
func (d *Dialog) Respond(method string, f func(*Message) Reply) { d.scripts.set(method, f) }

// answerOptions is the default answer to OPTIONS: RFC 3261 section 11.2.
func answerOptions(*Message) Reply {
	return Reply{Status: 200, Headers: []Header{
		H("Allow", allowed),
		H("Accept", "application/sdp"),
		H("Accept-Encoding", "identity"),
		H("Accept-Language", "en"),
		H("Supported", supported),
	}}
}

const (
	allowed   = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, MESSAGE, NOTIFY, REFER"
	supported = "100rel, replaces"
)
