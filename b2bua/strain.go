package b2bua

import (
	"sync"
	"time"

	"sipvigil/b2bua/dialog"
)

// What makes us refuse new calls: messages wait for so long, in the socket and
// after they were read, until somebody serves them, or find the socket full. The
// limits are below T1, after which all would come once more, and to begin with
// far above what a busy but healthy machine shows.
const (
	strained    = 150 * time.Millisecond // of waiting begins it
	strainedFor = 300 * time.Millisecond // in all that was served for so long
	strainedOf  = 1000                   // messages at least
	relaxedFor  = 10 * time.Second       // of waiting for less than noneBelow ends it

	noneBelow    = 50 * time.Millisecond  // of waiting: no call is refused
	allAbove     = 200 * time.Millisecond // every call is; in between a part of them
	slowProbes   = 100 * time.Millisecond // of waiting has probes wait
	stale        = time.Second            // is how long what was measured counts
	comeAgain    = "2"                    // seconds
	overloadText = "Overloaded"
)

// strain says whether there is more to do than can be done. What belongs to
// calls that were accepted is always served: only new calls are refused, and
// probes are put off even before.
//
// To refuse all until there is nothing left to do, and then none, would have
// the machine swing between the two. So a part is refused, the greater the
// longer messages wait: it settles where what is accepted can be done.
type strain struct {
	mu    sync.Mutex // guards what is below
	last  time.Duration
	at    time.Time // when that was
	since time.Time // when all began to wait for long; zero if they do not
	count int       // how many were served since then
	hot   bool
	quick time.Time // since when, while hot, none has waited for long
}

// waited takes note that a message had to wait from when it came.
func (s *strain) waited(since time.Time) {
	now := time.Now()
	lag := now.Sub(since)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.at = lag, now
	switch {
	case s.hot && lag >= noneBelow:
		s.quick = now
	case s.hot:
		s.hot = now.Sub(s.quick) < relaxedFor
		s.since = time.Time{}
	case lag < strained:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since, s.count = now, 1
	default:
		s.count++
		s.hot, s.quick = s.count >= strainedOf && now.Sub(s.since) >= strainedFor, now
	}
}

// overflowed takes note that messages were lost because a socket had no room.
func (s *strain) overflowed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hot, s.quick = true, time.Now()
}

// isHot says whether any new call may be refused.
func (s *strain) isHot() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hot
}

// refuses says whether a new call is one too many. It says the same of each
// copy of a request, as long as nothing changes.
func (s *strain) refuses(branch string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hot || time.Since(s.at) >= stale {
		return false
	}
	const parts = 1024
	refused := (s.last - noneBelow) * parts / (allAbove - noneBelow)
	return time.Duration(branchCheck([]byte(branch))%parts) < refused
}

// defers says whether a probe had better wait.
func (s *strain) defers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.at) < stale && s.last >= slowProbes
}

// tooMany answers a request that begins a new call while there is too much to
// do, before anything is kept of it, and says when to try again: RFC 3261
// section 21.5.4. It is false for any other request.
func (t *transactions) tooMany(key serverKey, req *received, conn carrier) bool {
	if req.method != "INVITE" || req.toTag != "" {
		return false
	}
	if !t.strain.refuses(key.branch) {
		return false
	}
	res := reply(req, 503, overloadText, dialog.WithTag(value(req, "to"), statelessTag(key)))
	res.add("Retry-After", comeAgain)
	_ = conn.answer(res.text(), res.to) // or it comes again
	t.overload()
	return true
}

// statelessTag is the same each time that a request comes, RFC 3261 section
// 8.2.7.
func statelessTag(of serverKey) string {
	return noCallTag + string(appendDigits(nil, branchCheck([]byte(of.branch)), 9))
}

// noCallTag begins the tags of answers that no call was made for. An ACK with
// such a tag needs nothing.
const noCallTag = "x-"
