package supervisor

import (
	"strconv"
	"time"

	"sipvigil/store"
)

const (
	// ackTime is how long the ACK to a 2xx may take: 64*T1, RFC 3261 section
	// 13.3.1.4.
	ackTime = 32 * time.Second
	// patience is how many timeouts pass before a probe that was not reported
	// on is taken for lost: a leg must not stay unwatched for that.
	patience = 4
	// idle is how long Run sleeps when nothing is scheduled.
	idle = time.Hour
)

// turns deals with the legs whose turn has come: what is to be sent, appended to
// tasks, without a method to calibrate, how long nothing else is to be done
// whatever happens, and how long if nothing does.
func (s *Supervisor) turns(at time.Time, tasks []store.Question) (_ []store.Question, pause, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch(at)
	if !s.may() {
		return tasks, 0, s.promise(at.Sub(s.made), recess) // nothing that is held is looked at
	}
	s.reconsider(at)
	left := s.giveUp(at)
	for range fullest {
		var t store.Question
		if t, wait = s.first(at); t.ID != "" {
			tasks = append(tasks, t)
		}
		if wait > 0 {
			pause = s.gather()
			return tasks, pause, s.beat(at, min(max(pause, wait), left))
		}
	}
	if s.watched() >= throng {
		pause = shortest // there is more to do, but not all at once
	}
	return tasks, pause, s.beat(at, pause)
}

// first deals with the leg whose turn is first, if it has come: what is to be
// sent, and how long nothing else is to be done. Called locked.
func (s *Supervisor) first(at time.Time) (store.Question, time.Duration) {
	now := at.Sub(s.made)
	due, l := s.queue.first()
	switch {
	case l == nil:
		return store.Question{}, idle
	case due > now:
		return store.Question{}, due - now
	}

	if s.outlived(l, now) {
		s.end(l, store.End{Reason: store.MaxDuration, At: at})
		return store.Question{}, 0
	}
	if s.cfg.Interval == 0 || l.Method == "" {
		s.postpone(l, now+s.spacing())
		return store.Question{}, 0
	}
	first := l.asked == 0 && !l.Answers
	if l.fresh && !first {
		if next := l.LastAlive.Sub(s.made) + s.spacing(); next > now {
			s.postpone(l, next)
			return store.Question{}, 0
		}
	}
	if !s.pace.AllowN(at, 1) {
		return store.Question{}, time.Second/time.Duration(s.cfg.Rate) + 1
	}
	s.pick(l) // its kind may have become known
	if s.calibrates(l, now) {
		return store.Question{ID: l.call.id, Side: l.side()}, 0
	}
	s.ask(l, now)
	return l.question(), 0
}

// question is a probe of a leg.
func (l *leg) question() store.Question {
	return store.Question{ID: l.call.id, Side: l.side(), Method: l.Method, Of: l}
}

// outlived says whether a call has gone on for longer than any may.
func (s *Supervisor) outlived(l *leg, now time.Duration) bool {
	return s.cfg.MaxDuration > 0 && now-l.call.answered >= s.cfg.MaxDuration
}

// end has the call of a leg end. Called locked.
func (s *Supervisor) end(l *leg, end store.End) {
	s.happened(l.call, l.side(), EventVerdict, string(end.Reason), 0, end.At)
	s.note(change{id: l.call.id, side: l.side(), was: l.Liveness, health: l.Health, end: &end})
	s.leave(l.call)
}

// postpone gives a leg its next turn, and has evidence that came by itself
// stored. Called locked.
func (s *Supervisor) postpone(l *leg, due time.Duration) {
	if l.fresh {
		s.note(change{id: l.call.id, side: l.side(), was: l.Liveness, health: l.Health})
	}
	s.schedule(l, due)
}

// schedule gives a leg its next turn. Called locked.
func (s *Supervisor) schedule(l *leg, due time.Duration) {
	l.fresh = false
	if s.cfg.MaxDuration > 0 {
		due = min(due, l.call.answered+s.cfg.MaxDuration)
	}
	s.queue.set(l, due)
	if _, first := s.queue.first(); first == l {
		s.nudge()
	}
}

// ask takes note that a probe goes out. Called locked.
func (s *Supervisor) ask(l *leg, now time.Duration) {
	l.asked, l.fresh = now, false
	s.queue.remove(l)
	lost := now + patience*s.cfg.Timeout
	s.inFlight.add(l, lost)
	if end := l.call.answered + s.cfg.MaxDuration; s.cfg.MaxDuration > 0 && end < lost {
		s.queue.set(l, end)
	}
}

// giveUp takes for lost the probes that were not reported on, and says how long
// nothing is to be done about others. Called locked.
func (s *Supervisor) giveUp(at time.Time) time.Duration {
	now, patient := at.Sub(s.made), patience*s.cfg.Timeout
	for _, l := range s.inFlight.overdue(now, patient) {
		s.metrics.probe(l.Method, "lost")
		s.settle(l, store.Answer{Kind: store.Deferred, Method: l.Method, Reason: "probe was lost", At: at}, at)
	}
	if len(s.inFlight.legs) == 0 {
		return idle
	}
	return max(0, s.inFlight.until-now)
}

// begin schedules the first probe of a leg, which also tells whether it answers
// at all: early for a new call, spread over an interval for one that was read
// back, since many are at the same time. That one may still lack its ACK.
// Called locked.
func (s *Supervisor) begin(l *leg, now time.Duration, restored bool) {
	wait := s.cfg.period()
	due := now + wait/10 + s.share(wait/10)
	if restored {
		due = max(now, l.call.answered+ackTime) + s.share(wait)
	}
	s.schedule(l, due)
}

// answered writes down what became of a probe, if it is worth it. Called locked.
func (s *Supervisor) answered(l *leg, a store.Answer, at time.Time) {
	switch a.Kind {
	case store.Answered:
		s.happened(l.call, l.side(), EventAnswer, s.name(a), a.RTT, at)
	case store.Timeout, store.Unsent:
		s.happened(l.call, l.side(), EventMiss, why(a), 0, at)
	}
}

// settle weighs what became of a probe and lets follow what must. Called locked.
func (s *Supervisor) settle(l *leg, a store.Answer, at time.Time) {
	s.watch(at)
	was, heard := l.Liveness, l.fresh
	s.inFlight.remove(l)
	s.answered(l, a, at)
	next := s.heed(l, a, at)
	s.recount(l, was)
	s.deliver(l, a)

	c := change{id: l.call.id, side: l.side(), was: was, health: l.Health, why: why(a)}
	now := at.Sub(s.made)
	switch next {
	case rest:
		from := now
		if heard {
			from = l.LastAlive.Sub(s.made)
		}
		s.schedule(l, from+s.spacing())
	case again:
		from := now
		if s.cfg.Policy.judge(a) == missed {
			from = max(now, l.missed+s.cfg.Timeout)
		}
		s.schedule(l, from+s.share(s.cfg.Timeout/100))
	case soon:
		s.schedule(l, now+min(time.Second, s.cfg.period()/10))
		l.fresh = heard
		return // nothing was learned
	case anew:
		s.brake.anew = now + s.cfg.period()/5 + s.cfg.Timeout
		s.schedule(l, now+s.cfg.period()/10+s.share(s.cfg.period()/10))
		l.fresh = heard
		return
	case drop:
		s.lose(l)
		return
	case isGone:
		s.conclude(l, c, store.End{Reason: l.side().Gone(), Status: a.Status, Text: c.why, At: at}, at)
		return
	case isQuiet:
		text := strconv.Itoa(l.Misses) + " probes missed, the last: " + c.why
		end := store.End{Reason: l.side().Silent(), Status: 408, Text: text, At: at}
		if s.found(l) || s.quiet(l, end, at) {
			s.conclude(l, c, end, at)
			return
		}
		s.schedule(l, now+s.spacing())
	}
	s.note(c)
}

// leave stops asking the legs of a call that is about to end. Called locked.
func (s *Supervisor) leave(k *call) {
	if k.ending {
		return
	}
	k.ending = true
	for i := range k.legs {
		l := &k.legs[i]
		s.queue.remove(l)
		s.brake.part(l)
		if k.confirmed {
			s.counts[i][l.Liveness]--
			l.kind.legs--
		}
	}
	if k.confirmed {
		s.lives[k.counted]--
	}
}

// lose takes out a leg of which nobody knows any more. With the second one the
// call is forgotten: its owner dropped it without a word. Called locked.
func (s *Supervisor) lose(l *leg) {
	s.queue.remove(l)
	if k := l.call; !k.legs[l.side().Other()].watched() {
		s.leave(k)
		s.forget(k)
		s.follower.Left(k.id)
	}
}

// recount moves a leg of a call that goes on to its liveness. Called locked.
func (s *Supervisor) recount(l *leg, was store.Liveness) {
	s.brake.tally(l)
	s.refute(l)
	if l.call.confirmed && !l.call.ending && l.Liveness != was {
		s.counts[l.side()][was]--
		s.counts[l.side()][l.Liveness]++
		s.lives[l.call.counted]--
		l.call.counted = l.call.liveness()
		s.lives[l.call.counted]++
		s.follower.Changed(l.call.id)
	}
}

// spacing is an interval with its jitter.
func (s *Supervisor) spacing() time.Duration {
	base := float64(s.cfg.period())
	return time.Duration(base + base*s.cfg.Jitter*(2*s.random()-1))
}

// share is a random part of d.
func (s *Supervisor) share(d time.Duration) time.Duration {
	return time.Duration(s.random() * float64(d))
}

// what names a response: "200 OPTIONS".
func what(a store.Answer) string { return strconv.Itoa(a.Status) + " " + a.Method }

// name is what, kept once for all legs. Called locked.
func (s *Supervisor) name(a store.Answer) string {
	if a.Kind != store.Answered {
		return ""
	}
	key := response{a.Status, a.Method}
	n, ok := s.names[key]
	if !ok {
		n = what(a)
		s.names[key] = n
	}
	return n
}

// response is what all responses of one status to one method have in common.
type response struct {
	status int
	method string
}

// why names what an answer lacks, for people.
func why(a store.Answer) string {
	switch {
	case RFC3261.judge(a) == alive:
		return ""
	case a.Kind == store.Answered:
		return what(a)
	case a.Kind == store.Timeout:
		return "no answer to " + a.Method
	default:
		return a.Method + " not sent: " + a.Reason
	}
}
