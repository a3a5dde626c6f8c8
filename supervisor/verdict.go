package supervisor

import "sipvigil/store"

// Policy says by which rules an answer is judged.
type Policy string

// The policies.
const (
	// RFC3261 takes 481, 408 and silence for the end of the dialog, section
	// 12.2.1.2, whatever was asked.
	RFC3261 Policy = "rfc3261"
	// RFC5057 has an answer concern only the usage that it answers, section 5:
	// OPTIONS belongs to none, so neither its silence nor a 481 ends a call.
	RFC5057 Policy = "rfc5057"
)

// verdict is what an answer means for the leg that was asked.
type verdict uint8

const (
	alive    verdict = iota // it answered, and did not deny the dialog
	gone                    // it does not know the dialog
	doubtful                // the dialog may be lost: gone if it says so again
	looped                  // as doubtful, but it is asked once more before that
	refused                 // alive, but this method is not for it
	missed                  // no answer
	moot                    // by the policy it says nothing
	deferred                // it was not asked
	noCall                  // there is nobody to ask
	unable                  // it cannot be asked in this way
)

// impact is what a response does to the dialog in which it comes, RFC 5057
// section 5.1.
type impact uint8

const (
	onTransaction impact = iota // nothing
	onUsage                     // it ends what the request belonged to
	onDialog                    // it ends all of it
)

// row is what the two policies make of a status.
type row struct {
	verdict verdict // by RFC3261
	impact  impact
}

// byStatus holds the final responses that are more than an answer. Everything
// else, 401, 407, 500 and 503 included, was sent by someone who lives and does
// not concern the dialog.
//
// 481 and 408 are those of RFC 3261 section 12.2.1.2; the others that are
// doubtful end the dialog by RFC 5057 section 5.1. 405 and 501 concern only the
// method, as its note on methods that are not integral to the usage says.
var byStatus = map[int]row{
	404: {doubtful, onDialog},
	405: {refused, onUsage},
	408: {missed, onUsage},
	410: {doubtful, onDialog},
	416: {doubtful, onDialog},
	480: {alive, onUsage},
	481: {gone, onUsage},
	482: {doubtful, onDialog},
	483: {looped, onDialog},
	484: {doubtful, onDialog},
	485: {doubtful, onDialog},
	489: {alive, onUsage},
	501: {refused, onUsage},
	502: {doubtful, onDialog},
	604: {doubtful, onDialog},
}

// ofSession says whether a method belongs to the usage that INVITE makes: it
// lives and ends with the session, RFC 5057 section 4.1.
func ofSession(method string) bool { return method == "INVITE" || method == "UPDATE" }

// judge says what an answer means. It looks at nothing else.
func (p Policy) judge(a store.Answer) verdict {
	switch a.Kind {
	case store.Deferred:
		return deferred
	case store.NoCall:
		return noCall
	case store.Unable:
		return unable
	}
	v := missed
	switch {
	case a.Kind == store.Answered && a.Status < 300:
		v = alive
	case a.Kind == store.Answered:
		v = byStatus[a.Status].verdict
	}
	if p != RFC5057 {
		return v
	}
	switch session := ofSession(a.Method); {
	case !session && (v == missed || v == gone): // sections 5.1 and 5.2
		return moot
	case session && a.Status == 480 && a.Kind == store.Answered:
		return doubtful
	}
	return v
}

// result is the label of an answer in the metrics: one of results.
func (p Policy) result(a store.Answer) string {
	switch p.judge(a) {
	case gone:
		return "gone"
	case doubtful, looped:
		return "doubtful"
	case refused:
		return "refused"
	case missed:
		if a.Kind == store.Unsent {
			return "miss_unsent"
		}
		return "miss_timeout"
	case moot:
		return "moot"
	case deferred:
		return "deferred"
	case noCall:
		return "no_call"
	case unable:
		return "unable"
	default:
		return "alive"
	}
}

// results lists what result can say, and "lost" for a probe that was never
// reported on.
func results() []string {
	return []string{"alive", "gone", "doubtful", "refused", "miss_timeout", "miss_unsent", "moot", "deferred", "no_call", "unable", "lost"}
}
