package web

import (
	"time"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// Time is written as RFC 3339 in UTC with milliseconds.
type Time struct{ time.Time }

// MarshalJSON writes the time as a JSON string.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(nil, `"`+stampLayout+`"`), nil
}

// Stamp is the same without quotes, empty for no time.
func (t Time) Stamp() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(stampLayout)
}

const stampLayout = "2006-01-02T15:04:05.000Z"

// List is the answer to a query for calls.
type List struct {
	Calls   []Call `json:"calls"`
	Next    string `json:"next,omitempty"`    // cursor of the next page
	Partial bool   `json:"partial,omitempty"` // the store or a node is out of reach: calls of other nodes are missing
}

// Call is a call as the API shows it. Every field is always there, except for
// times that have not come.
type Call struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	Liveness  string `json:"liveness"` // the worse of the legs', empty before the call is confirmed
	Started   Time   `json:"started,omitzero"`
	Answered  Time   `json:"answered,omitzero"`
	Ended     Time   `json:"ended,omitzero"`
	Node      string `json:"node"`
	TrunkIn   string `json:"trunk_in"`
	TrunkOut  string `json:"trunk_out"`
	EndedBy   string `json:"ended_by"`
	EndStatus int    `json:"end_status"`
	EndText   string `json:"end_text"`
	Caller    Leg    `json:"caller"`
	Callee    Leg    `json:"callee"`
}

// Leg is one leg of a call as the API shows it: the dialog with one far end.
type Leg struct {
	CallID       string  `json:"call_id"`
	URI          string  `json:"uri"` // name-addr of the far end
	Peer         string  `json:"peer"`
	Target       string  `json:"target"`
	Transport    string  `json:"transport"`
	UserAgent    string  `json:"user_agent"`
	LocalCSeq    uint32  `json:"local_cseq"` // for calls of other nodes: the highest that may have been used
	RemoteCSeq   uint32  `json:"remote_cseq"`
	Liveness     string  `json:"liveness"`
	LastAlive    Time    `json:"last_alive,omitzero"`
	LastEvidence string  `json:"last_evidence"`
	Misses       int     `json:"misses"`
	RTT          float64 `json:"rtt_ms"`
	Method       string  `json:"method"`
	Calibration  string  `json:"calibration"`
	// The session timer, absent without one: how many seconds the session lasts
	// without a refresh, and who refreshes it: peer (this far end), other (that
	// of the other leg) or self (sipvigil).
	SessionExpires int    `json:"session_expires,omitempty"`
	Refresher      string `json:"refresher,omitempty"`

	Held     string `json:"held"`     // why the call goes on though this leg is silent
	Released string `json:"released"` // how its release went, empty until that is known
}

// Events is the answer to a query for what happened to a call, the oldest
// first.
type Events struct {
	Events []Event `json:"events"`
}

// Event is one thing that happened to a call. Leg is caller or callee, empty
// where it concerns both.
type Event struct {
	At   Time    `json:"at"`
	Kind string  `json:"kind"` // confirm, evidence, answer, miss, calibration, disturbed, held, observed, verdict or end
	Leg  string  `json:"leg"`
	Text string  `json:"text"`
	RTT  float64 `json:"rtt_ms"`
}

// Probed is the answer to a probe asked for by hand.
type Probed struct {
	Caller Answer `json:"caller"`
	Callee Answer `json:"callee"`
}

// Answer is what one leg answered. Kind is answered, timeout, unsent or
// unable (reason says why), deferred or no-call.
type Answer struct {
	Kind   string  `json:"kind"`
	Method string  `json:"method"`
	Status int     `json:"status"`
	Reason string  `json:"reason"`
	RTT    float64 `json:"rtt_ms"`
	At     Time    `json:"at,omitzero"`
}

func list(p store.Page) List {
	l := List{Calls: make([]Call, len(p.Calls)), Next: p.Next}
	for i := range p.Calls {
		l.Calls[i] = call(&p.Calls[i])
	}
	return l
}

func call(c *store.Call) Call {
	return Call{
		ID:        c.ID,
		State:     string(c.State),
		Liveness:  string(c.Liveness()),
		Started:   Time{c.Started},
		Answered:  Time{c.Answered},
		Ended:     Time{c.End.At},
		Node:      c.Node,
		TrunkIn:   c.TrunkIn,
		TrunkOut:  c.TrunkOut,
		EndedBy:   string(c.End.Reason),
		EndStatus: c.End.Status,
		EndText:   c.End.Text,
		Caller:    leg(c, store.Caller),
		Callee:    leg(c, store.Callee),
	}
}

func leg(c *store.Call, side store.Side) Leg {
	l := c.Leg(side)
	cseq := l.LocalCSeq
	if cseq == 0 {
		cseq = l.LocalMark
	}
	return Leg{
		CallID:       l.CallID,
		URI:          l.RemoteURI,
		Peer:         l.Peer,
		Target:       l.Target,
		Transport:    l.Transport,
		UserAgent:    l.UserAgent,
		LocalCSeq:    cseq,
		RemoteCSeq:   l.RemoteCSeq,
		Liveness:     string(l.Liveness),
		LastAlive:    Time{l.LastAlive},
		LastEvidence: l.LastEvidence,
		Misses:       l.Misses,
		RTT:          millis(l.RTT),
		Method:       l.Method,
		Calibration:  l.Calibration,

		SessionExpires: int(l.Session.Interval / time.Second),
		Refresher:      string(l.Session.Refresher),

		Held:     l.Held,
		Released: string(c.End.Released[side]),
	}
}

func events(list []supervisor.Event) Events {
	all := Events{Events: make([]Event, len(list))}
	for i, e := range list {
		all.Events[i] = Event{At: Time{e.At}, Kind: string(e.Kind), Leg: e.Side.String(), Text: e.Text, RTT: millis(e.RTT)}
		if e.Kind == supervisor.EventConfirmed || e.Kind == supervisor.EventEnd {
			all.Events[i].Leg = ""
		}
	}
	return all
}

func answer(a store.Answer) Answer {
	return Answer{
		Kind:   kinds[a.Kind],
		Method: a.Method,
		Status: a.Status,
		Reason: a.Reason,
		RTT:    millis(a.RTT),
		At:     Time{a.At},
	}
}

var kinds = [...]string{
	store.Answered: "answered",
	store.Timeout:  "timeout",
	store.Unsent:   "unsent",
	store.Deferred: "deferred",
	store.NoCall:   "no-call",
	store.Unable:   "unable",
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
