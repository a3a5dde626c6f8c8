package supervisor

import "sipvigil/store"

// verdict is what an answer means for the leg that was asked.
type verdict uint8

const (
	alive    verdict = iota // it answered, and did not deny the dialog
	gone                    // it does not know the dialog
	doubtful                // the dialog may be lost: gone if it says so again
	looped                  // as doubtful, but it is asked once more before that
	refused                 // alive, but this method is not for it
	missed                  // no answer
	deferred                // it was not asked
	noCall                  // there is nobody to ask
)

// byStatus holds the final responses that mean something else than alive.
// 481 and 408 are those of RFC 3261 section 12.2.1.2; the others are those of
// RFC 5057 section 5.1 that end the dialog. 405 and 501 concern only the
// method. Everything else, 401, 407, 500 and 503 included, was sent by someone
// who lives.
var byStatus = map[int]verdict{
	404: doubtful,
	405: refused,
	408: missed,
	410: doubtful,
	416: doubtful,
	481: gone,
	482: doubtful,
	483: looped,
	484: doubtful,
	485: doubtful,
	501: refused,
	502: doubtful,
	604: doubtful,
}

// judge says what an answer means. It looks at nothing else.
func judge(a store.Answer) verdict {
	switch a.Kind {
	case store.Timeout, store.Unsent:
		return missed
	case store.Deferred:
		return deferred
	case store.NoCall:
		return noCall
	default:
		return byStatus[a.Status]
	}
}

// result is the label of an answer in the metrics: one of results.
func result(a store.Answer) string {
	switch judge(a) {
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
	case deferred:
		return "deferred"
	case noCall:
		return "no_call"
	default:
		return "alive"
	}
}

// results lists what result can say, and "lost" for a probe that was never
// reported on.
func results() []string {
	return []string{"alive", "gone", "doubtful", "refused", "miss_timeout", "miss_unsent", "deferred", "no_call", "lost"}
}
