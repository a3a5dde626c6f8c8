package dialog

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"sipvigil/store"
)

// ShortestSession is the least that a session interval may be, RFC 4028
// section 5.
const ShortestSession = 90 * time.Second

// Timer is what a message says of session timers. The zero Timer says nothing.
type Timer struct {
	Supported bool          // Supported holds timer
	Expires   bool          // there is a Session-Expires
	Interval  time.Duration // of Session-Expires
	Refresher string        // of Session-Expires: uac, uas, or empty
	MinSE     time.Duration // 0 without a Min-SE
}

// TooShort says whether a request is to be answered 422, RFC 4028 sections 5
// and 9: who does not support the timer could make nothing of it.
func (t Timer) TooShort() bool {
	return t.Supported && t.Expires && t.Interval < ShortestSession
}

// Negotiate gives the session timers of both legs after a request went from one
// leg to the other and was answered 2xx. What both far ends agree on holds on
// both legs. Where only one of them takes part it holds on that leg alone, and
// the 2xx must be completed or stripped to say so:
//
//   - asked and not answered, since the answering far end does not support the
//     timer: as RFC 4028 section 9 has the UAS answer, with the far end that
//     asked as the refresher unless it wanted us to be;
//   - answered though the requesting far end does not support the timer: where
//     the answer makes it the refresher, RFC 4028 section 7.2, that is we.
//
// An answer without Session-Expires turns the timer off, RFC 4028 section 7.2.
func Negotiate(asked, answered Timer) (from, to store.Session) {
	interval := max(answered.Interval, ShortestSession)
	uac := answered.refresher(asked) == "uac"
	switch {
	case answered.Expires && asked.Supported && uac:
		from.Refresher, to.Refresher = store.Peer, store.Other
	case answered.Expires && asked.Supported:
		from.Refresher, to.Refresher = store.Other, store.Peer
	case answered.Expires && uac:
		to.Refresher = store.Self
	case answered.Expires:
		to.Refresher = store.Peer
	case asked.Expires && asked.Supported && !answered.Supported:
		interval = max(asked.Interval, ShortestSession)
		if from.Refresher = store.Peer; asked.Refresher == "uas" {
			from.Refresher = store.Self
		}
	}
	if from.Refresher != "" {
		from.Interval, from.MinSE = interval, asked.MinSE
	}
	if to.Refresher != "" {
		to.Interval = interval
	}
	return from, to
}

// refresher is who an answer says refreshes: one that does not say leaves it as
// it was asked, or by RFC 4028 section 9, table 2.
func (t Timer) refresher(asked Timer) string {
	switch {
	case t.Refresher != "":
		return t.Refresher
	case asked.Refresher != "":
		return asked.Refresher
	case asked.Supported:
		return "uac"
	default:
		return "uas"
	}
}

// SessionDue is when a leg's session timer asks for something: a refresh of
// ours after half the interval, RFC 4028 section 7.2, or the end of a session
// that its far end did not refresh. ok is false where nothing is asked of us.
func SessionDue(s store.Session) (due time.Time, ok bool) {
	switch s.Refresher {
	case store.Self:
		return s.Refreshed.Add(s.Interval / 2), true
	case store.Peer:
		return s.Refreshed.Add(s.Interval - SessionMargin(s)), true
	default:
		return time.Time{}, false
	}
}

// SessionMargin is how long before its expiration an unrefreshed session is
// ended, RFC 4028 section 10.
func SessionMargin(s store.Session) time.Duration {
	return min(32*time.Second, s.Interval/3)
}

// SessionAsked is the Session-Expires of a request on a leg with a session
// timer: what holds, and who refreshes stays so, RFC 4028 section 7.4.
func SessionAsked(s store.Session) string {
	refresher := "uac"
	if s.Refresher == store.Peer {
		refresher = "uas"
	}
	return FormatSessionExpires(max(s.Interval, s.MinSE, ShortestSession), refresher)
}

var errRefresher = errors.New("refresher is neither uac nor uas")

// SessionExpires reads a Session-Expires value, RFC 4028 section 4. More
// seconds than 32 bits hold count as that many.
func SessionExpires(value string) (interval time.Duration, refresher string, err error) {
	interval, params, err := seconds(value)
	if err != nil {
		return 0, "", err
	}
	v, _ := Param(params, "refresher")
	switch refresher = strings.ToLower(v); refresher {
	case "", "uac", "uas":
		return interval, refresher, nil
	default:
		return 0, "", errRefresher
	}
}

// FormatSessionExpires writes a Session-Expires value, RFC 4028 section 4.
func FormatSessionExpires(interval time.Duration, refresher string) string {
	return FormatSeconds(interval) + ";refresher=" + refresher
}

// FormatSeconds writes delta-seconds.
func FormatSeconds(d time.Duration) string {
	return strconv.FormatInt(int64(d/time.Second), 10)
}

// MinSE reads a Min-SE value, RFC 4028 section 5.
func MinSE(value string) (time.Duration, error) {
	d, _, err := seconds(value)
	return d, err
}

// seconds reads delta-seconds and leaves the parameters after them.
func seconds(value string) (d time.Duration, params string, err error) {
	first, params := value, ""
	if i := strings.IndexByte(value, ';'); i >= 0 {
		first, params = value[:i], value[i:]
	}
	first = trim(first)
	var n int64
	for i := range len(first) {
		c := first[i]
		if c < '0' || c > '9' {
			return 0, "", errNumber
		}
		n = min(n*10+int64(c-'0'), math.MaxUint32)
	}
	if first == "" {
		return 0, "", errNumber
	}
	return time.Duration(n) * time.Second, params, nil
}

// Lists says whether one of the values of a header holds this token: an option
// tag in Supported or Require, a method in Allow. Option tags are compared
// without regard to case, and so are methods, to be kind.
func Lists(values []string, token string) bool {
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(trim(one), token) {
				return true
			}
		}
	}
	return false
}
