package b2bua

import (
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/dialog"
)

// What makes us refuse new calls: messages that have been read wait for so long
// until somebody serves them. The limits are below T1, after which all would
// come once more, and far above what a busy but healthy machine shows.
const (
	strained     = 300 * time.Millisecond // of waiting begins it
	strainedFor  = 500 * time.Millisecond // in all that was served for so long
	strainedOf   = 500                    // messages at least
	againStrain  = 100 * time.Millisecond // begins it again, at once
	againWithin  = 10 * time.Second       // after it ended
	relaxed      = 50 * time.Millisecond  // of waiting ends it
	slowProbes   = 100 * time.Millisecond // of waiting has probes wait
	stale        = time.Second            // is how long what was measured counts
	comeAgain    = "2"                    // seconds
	overloadText = "Overloaded"
)

// strain says whether there is more to do than can be done. What belongs to
// calls that were accepted is always served: only new calls are refused, and
// probes are put off even before.
type strain struct {
	mu    sync.Mutex // guards what is below
	last  time.Duration
	at    time.Time // when that was
	since time.Time // when all began to wait for long; zero if they do not
	count int       // how many were served since then
	hot   bool
	ended time.Time // when it was hot last
}

// waited takes note that a message had to wait from when it was read.
func (s *strain) waited(since time.Time) {
	now := time.Now()
	lag := now.Sub(since)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.at = lag, now
	switch {
	case s.hot:
		if lag < relaxed {
			s.hot, s.ended, s.since = false, now, time.Time{}
		}
	case lag >= againStrain && !s.ended.IsZero() && now.Sub(s.ended) < againWithin:
		s.hot = true
	case lag < strained:
		s.since, s.count = time.Time{}, 0
	case s.since.IsZero():
		s.since, s.count = now, 1
	default:
		s.count++
		s.hot = s.count >= strainedOf && now.Sub(s.since) >= strainedFor
	}
}

// refuses says whether a new call is one too many.
func (s *strain) refuses() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hot && time.Since(s.at) < stale
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
func (t *transactions) tooMany(req *sip.Request, conn carrier) bool {
	if !req.IsInvite() || !t.strain.refuses() || dialog.Tag(value(req, "to")) != "" {
		return false
	}
	res := reply(req, 503, overloadText, t.statelessTag(req))
	res.AppendHeader(sip.NewHeader("Retry-After", comeAgain))
	_ = conn.WriteMsg(res) // or it comes again
	t.overload()
	return true
}

// statelessTag is the same each time that this request comes, RFC 3261 section
// 8.2.7.
func (t *transactions) statelessTag(req *sip.Request) string {
	branch, _ := req.Via().Params.Get("branch")
	return noCallTag + string(appendDigits(nil, branchCheck([]byte(branch)), 9))
}

// noCallTag begins the tags of answers that no call was made for. An ACK with
// such a tag needs nothing.
const noCallTag = "x-"
