// Package store holds what sipvigil remembers: the records of calls and legs,
// as plain data. The packages below it (embedded, redis) keep these records;
// whoever needs one of them declares the few methods that it uses.
//
// A record has two authors, so that neither overwrites the other: b2bua writes
// the call and its dialogs, supervisor writes the health of each leg.
package store

import (
	"errors"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrNotFound says that no call has this id.
	ErrNotFound = errors.New("no such call")
	// ErrUnavailable says that the store could not be reached in time. What
	// was to be written is remembered and written when it returns.
	ErrUnavailable = errors.New("store is not reachable")
)

// Side names a leg of a call by who is at its far end.
type Side uint8

// The two sides of a call. On the caller leg sipvigil is the UAS of the
// INVITE, on the callee leg the UAC.
const (
	Caller Side = iota
	Callee
)

// Sides lists both sides, caller first.
var Sides = [2]Side{Caller, Callee}

// String is "caller" or "callee".
func (s Side) String() string {
	if s == Caller {
		return "caller"
	}
	return "callee"
}

// Other is the opposite side.
func (s Side) Other() Side { return 1 - s }

// State is how far a call has come: the states of RFC 4235 section 3.7.1, and
// ending for a call whose BYEs are not all answered yet.
type State string

// The states in the order in which a call passes through them.
const (
	Trying     State = "trying"
	Early      State = "early"
	Confirmed  State = "confirmed"
	Ending     State = "ending"
	Terminated State = "terminated"
)

// Liveness is what is known of a leg's far end while its call is confirmed.
type Liveness string

// The values of Liveness.
const (
	Unproven    Liveness = "unproven"    // not asked yet
	Alive       Liveness = "alive"       // answered, or showed itself, when last heard of
	Reachable   Liveness = "reachable"   // somebody answers there, who would to a call that is lost, too
	Suspect     Liveness = "suspect"     // missed at least one probe since
	Gone        Liveness = "gone"        // said that it does not know the dialog
	Silent      Liveness = "silent"      // missed as many probes as are allowed
	Unsupported Liveness = "unsupported" // never answered any probe: not judged by silence
)

// Call joins two legs.
type Call struct {
	ID       string // UUIDv7, so that ids sort by time
	State    State
	Node     string // the node that owns the call
	Epoch    int64  // the owner's fencing number
	TrunkIn  string // trunk the call came from
	TrunkOut string // trunk the call went to
	Started  time.Time
	Answered time.Time // zero until the 2xx
	End      End
	Legs     [2]Leg // indexed by Side

	// Text holds the texts of the record, which are parts of it, or is empty
	// where they stand apart: see Compact. It says nothing that they do not.
	Text string
}

// Leg returns the leg of one side.
func (c *Call) Leg(s Side) *Leg { return &c.Legs[s] }

// Liveness is the worse of the two legs'.
func (c *Call) Liveness() Liveness {
	return Worse(c.Legs[Caller].Liveness, c.Legs[Callee].Liveness)
}

// Worse is the one of two that is nearer to death, a where they are alike.
func Worse(a, b Liveness) Liveness {
	if b.Badness() > a.Badness() {
		return b
	}
	return a
}

// Badness grows from 0 for alive to 5 for gone.
func (l Liveness) Badness() int {
	switch l {
	case Gone:
		return 5
	case Silent:
		return 4
	case Suspect:
		return 3
	case Unsupported, Reachable:
		return 2
	case Alive:
		return 0
	default:
		return 1
	}
}

// Leg is one SIP dialog in which sipvigil is a user agent, and what is known
// of its far end.
type Leg struct {
	Dialog
	Health
	Held string // why the call goes on though this leg is silent; not stored
}

// Dialog is the state of RFC 3261 section 12, written by b2bua.
type Dialog struct {
	CallID    string
	LocalTag  string
	RemoteTag string   // empty for an RFC 2543 peer
	LocalURI  string   // name-addr of our side, without tag
	RemoteURI string   // name-addr of the far end, without tag
	Target    string   // remote target URI (the far end's Contact)
	RouteSet  []string // Route header values, first hop first

	Transport string // udp, tcp, tls, ws, wss
	Peer      string // address and port that requests of this leg go to
	Listener  string // our socket's address that they leave from (UDP)
	Seen      string // IP address that the far end spoke from when it made or moved the dialog
	Kept      bool   // Peer stays wherever Target points: a flow, or a NAT

	UserAgent string // User-Agent or Server of the far end
	Allow     string // Allow of the far end

	LocalCSeq  uint32 // last number that we spent; not stored
	LocalMark  uint32 // highest number that may have been spent; stored as local_cseq
	LocalAsked uint32 // highest mark asked for; not stored
	RemoteCSeq uint32 // last number of the far end

	Session Session
}

// Session is the session timer of a leg, RFC 4028: how long its session lasts
// without a refresh. The zero Session is none.
type Session struct {
	Interval  time.Duration
	MinSE     time.Duration // the shortest interval that the far end takes, 0 while it has named none
	Refresher Refresher
	Refreshed time.Time // when the last refresh succeeded
	Offer     string    // SDP of our re-INVITE, kept where we refresh a far end that does not allow UPDATE
}

// Refresher is who refreshes the session of a leg.
type Refresher string

// The values of Refresher.
const (
	Peer  Refresher = "peer"  // the far end of the leg
	Other Refresher = "other" // the far end of the other leg, whose refreshes are passed on
	Self  Refresher = "self"  // sipvigil, on this leg alone
)

// Health is what probes and evidence have shown, written by supervisor.
type Health struct {
	Liveness     Liveness
	LastAlive    time.Time     // when the far end last showed itself in the dialog
	LastEvidence string        // how, for example "200 OPTIONS" or "INFO"
	Misses       int           // probes missed in a row
	RTT          time.Duration // of the last answered probe
	Method       string        // method it is probed with
	Answers      bool          // has answered a probe at least once
	Calibration  string        // discriminating, blind or unknown
}

// LegHealth is the health of a leg of a call.
type LegHealth struct {
	ID     string // of the call
	Side   Side
	Health Health
}

// Reason says why a call ended and, where a side is behind it, which.
type Reason string

// Reasons that belong to no side, or to the set-up of a call.
const (
	Operator       Reason = "operator"        // released by hand
	NoAck          Reason = "no-ack"          // the caller never acknowledged the 2xx
	CallerCancel   Reason = "caller-cancel"   // given up while ringing
	CalleeRejected Reason = "callee-rejected" // final answer 3xx to 6xx
	NoAnswer       Reason = "no-answer"       // the ring timer fired
	Unreachable    Reason = "unreachable"     // nothing answered there
	SessionExpired Reason = "session-expired" // the session timer of a leg ran out, which no far end refreshed
	MaxDuration    Reason = "max-duration"    // it had lasted as long as any call may
	Congested      Reason = "congested"       // a trunk had no channel left for it
)

// Reasons returns all that a call may end for.
func Reasons() []Reason {
	return []Reason{Caller.Bye(), Callee.Bye(), Caller.Gone(), Callee.Gone(), Caller.Silent(), Callee.Silent(), Operator, NoAck, SessionExpired,
		MaxDuration, CallerCancel, CalleeRejected, NoAnswer, Unreachable, Congested}
}

// Bye is the reason of a call that this side ended with BYE.
func (s Side) Bye() Reason { return [...]Reason{"caller-bye", "callee-bye"}[s] }

// Gone is the reason of a call whose dialog this side did not know any more.
func (s Side) Gone() Reason { return [...]Reason{"caller-gone", "callee-gone"}[s] }

// Silent is the reason of a call whose far end at this side stopped answering.
func (s Side) Silent() Reason { return [...]Reason{"caller-silent", "callee-silent"}[s] }

// Outcome is how the release of one leg went.
type Outcome string

// The outcomes of a release.
const (
	ReleaseConfirmed   Outcome = "confirmed"    // the far end answered the BYE, or sent its own
	ReleaseAlreadyGone Outcome = "already-gone" // the far end answered 481
	ReleaseUnconfirmed Outcome = "unconfirmed"  // no answer, or the BYE could not be sent
)

// End is how and why a call ended. The zero End is that of a call that goes on.
type End struct {
	Reason   Reason
	Status   int    // SIP status behind the reason, 0 if none
	Text     string // what the operator said, or the cause in words
	At       time.Time
	Released [2]Outcome // per side, empty while its BYE is under way
}

// Question is a probe that is to be sent: a request of this method inside the
// dialog of a leg.
type Question struct {
	ID     string
	Side   Side
	Method string
	Of     any // comes back with the answer
}

// AnswerKind is what became of a probe.
type AnswerKind uint8

// The kinds of Answer.
const (
	Answered AnswerKind = iota // a final response came
	Timeout                    // none came in time
	Unsent                     // it could not be sent: Reason says why
	Deferred                   // it was not sent because it may not be now (no ACK yet, INVITE pending)
	NoCall                     // there is no such confirmed call any more
	Unable                     // it cannot be sent with this method: Reason says why
)

// Answer is what came back to a probe.
type Answer struct {
	Kind   AnswerKind
	Method string
	Status int           // of the final response, 0 without one
	Reason string        // why it could not be sent
	Ours   bool          // it could not be sent for want of a network here, whoever it is for
	RTT    time.Duration // from the probe to the final response
	At     time.Time
	Of     any // as in the Question, nil when it answers none
}

// Reply is what came back to the probe of this leg.
type Reply struct {
	ID   string
	Side Side
	Answer
}

// Evidence is one sign of life: a request or a response that the far end sent
// inside the dialog.
type Evidence struct {
	What string // "INFO", "200 INFO", …
	At   time.Time
}
