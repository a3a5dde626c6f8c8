package supervisor

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"sipvigil/store"
)

// CDR is the call detail record of a call that ended: what was billed, and what
// of it is proven. Times are RFC 3339 in UTC with milliseconds, empty where
// they have not come; lengths are seconds.
type CDR struct {
	ID       string `json:"id"`
	Node     string `json:"node"`
	Started  string `json:"started"`
	Answered string `json:"answered"`
	Ended    string `json:"ended"`
	EndedBy  string `json:"ended_by"`
	Side     string `json:"side"` // that EndedBy blames: caller, callee or none
	Status   int    `json:"end_status"`
	Text     string `json:"end_text"`
	TrunkIn  string `json:"trunk_in"`
	TrunkOut string `json:"trunk_out"`
	// Billed is from the answer to the end, Proven from the answer to the last
	// sign of life of the leg that fell silent first.
	Billed   float64 `json:"billed_seconds"`
	Proven   float64 `json:"proven_seconds"`
	Caller   CDRLeg  `json:"caller"`
	Callee   CDRLeg  `json:"callee"`
	Observed *Found  `json:"observed,omitempty"`
}

// CDRLeg is one leg in a CDR.
type CDRLeg struct {
	CallID       string `json:"call_id"`
	URI          string `json:"uri"`
	Peer         string `json:"peer"`
	UserAgent    string `json:"user_agent"`
	Liveness     string `json:"liveness"`
	LastAlive    string `json:"last_alive"`
	LastEvidence string `json:"last_evidence"`
	Released     string `json:"released"`
}

// Found is a verdict that action observe let pass, in a CDR.
type Found struct {
	EndedBy string `json:"ended_by"` // how the call would have ended
	At      string `json:"at"`
	Right   bool   `json:"right"`
}

// lifetimes are how long a call was billed, and for how long of that both far
// ends have shown that they were there. A leg that never did is proven by its
// part in the answer.
func lifetimes(c *store.Call) (billed, proven time.Duration) {
	if c.Answered.IsZero() {
		return 0, 0
	}
	billed = max(0, c.End.At.Sub(c.Answered))
	proven = billed
	for i := range c.Legs {
		proven = min(proven, max(0, c.Legs[i].LastAlive.Sub(c.Answered)))
	}
	return billed, proven
}

// farewell has a far end that sent BYE, or accepted ours, count as one that was
// there until then: it knew the call.
func farewell(c *store.Call) {
	for i := range c.Legs {
		l := &c.Legs[i]
		if c.End.Released[i] == store.ReleaseConfirmed && !c.Answered.IsZero() && c.End.At.After(l.LastAlive) {
			l.LastAlive, l.LastEvidence = c.End.At, "BYE"
		}
	}
}

// record makes the CDR of a call.
func record(c *store.Call, f *finding) *CDR {
	billed, proven := lifetimes(c)
	r := &CDR{
		ID: c.ID, Node: c.Node, Started: stamp(c.Started), Answered: stamp(c.Answered), Ended: stamp(c.End.At),
		EndedBy: string(c.End.Reason), Side: blamed(c.End.Reason), Status: c.End.Status, Text: c.End.Text,
		TrunkIn: c.TrunkIn, TrunkOut: c.TrunkOut,
		Billed: billed.Round(time.Millisecond).Seconds(), Proven: proven.Round(time.Millisecond).Seconds(),
		Caller: recordLeg(c, store.Caller), Callee: recordLeg(c, store.Callee),
	}
	if f != nil {
		r.Observed = &Found{EndedBy: string(f.end.Reason), At: stamp(f.end.At), Right: f.close(c.End)}
	}
	return r
}

func recordLeg(c *store.Call, side store.Side) CDRLeg {
	l := c.Leg(side)
	return CDRLeg{
		CallID: l.CallID, URI: l.RemoteURI, Peer: l.Peer, UserAgent: l.UserAgent, Liveness: string(l.Liveness),
		LastAlive: stamp(l.LastAlive), LastEvidence: l.LastEvidence, Released: string(c.End.Released[side]),
	}
}

// Line is the CDR as one line of JSON.
func (r *CDR) Line() []byte {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(r); err != nil {
		panic(err) // plain fields always encode
	}
	return line.Bytes()
}

// blamed is the side in whose name a reason begins.
func blamed(r store.Reason) string {
	for _, side := range store.Sides {
		if strings.HasPrefix(string(r), side.String()+"-") {
			return side.String()
		}
	}
	return ""
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	b := t.UTC().AppendFormat(make([]byte, 0, 32), time.RFC3339) // which the library is quick at
	ms := t.Nanosecond() / int(time.Millisecond)
	return string(append(b[:len(b)-1], '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z'))
}
