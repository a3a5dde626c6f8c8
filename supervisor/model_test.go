package supervisor

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sipvigil/store"
)

// story is the life of one leg, the callee's.
type story struct {
	misses  int
	method  Method
	policy  Policy
	action  Action
	kind    int  // what the far end answers in a dialog that does not exist, 0 = nothing
	bare    bool // it does not say that it takes UPDATE
	seed    uint64
	replies []lateReply // to its probes, the last one for ever
	deeds   []deed
}

// lateReply is what comes back to a probe, and perhaps once more, or after all.
type lateReply struct {
	reply
	twice bool          // only while the leg is at rest: nothing tells whose answer it is
	late  time.Duration // after a timeout the answer comes as evidence, 0 = never
}

// deed is something that happens by itself.
type deed struct {
	wait time.Duration // since the deed before
	what string
}

// event is one line of the record of a story.
type event struct {
	at    time.Duration
	what  string        // "asked", "answered", "evidence", "ending" or "released"
	asked time.Duration // of answered: when
	store.Answer
	end store.End
}

func (e event) String() string {
	return fmt.Sprintf("%v %s %+v %v", e.at, e.what, e.Answer, e.end.Reason)
}

var anyStory = rapid.Custom(func(t *rapid.T) story {
	ms := func(most int) time.Duration {
		return time.Duration(rapid.IntRange(1, most).Draw(t, "ms")) * time.Millisecond
	}
	anyReply := func() lateReply {
		var r lateReply
		switch rapid.SampledFrom([]string{"alive", "alive", "alive", "timeout", "timeout", "timeout", "late",
			"unsent", "408", "deferred", "doubt", "gone", "refused"}).Draw(t, "reply") {
		case "alive":
			r.reply = status(rapid.SampledFrom([]int{200, 200, 200, 401, 407, 480, 486, 500, 503}).Draw(t, "status"))
			r.after = ms(31_998) + 300*time.Microsecond // never together with a deed
			r.twice = rapid.Bool().Draw(t, "twice")
		case "timeout":
			r.reply = nothing()
		case "late":
			r.reply, r.late = nothing(), ms(40_000)
		case "unsent":
			r.reply = unsent()
		case "408":
			r.reply = status(408)
			r.after = ms(31_999)
		case "deferred":
			r.reply = reply{Answer: store.Answer{Kind: store.Deferred}}
		case "doubt":
			r.reply = status(rapid.SampledFrom([]int{404, 410, 483, 502}).Draw(t, "status"))
		case "gone":
			r.reply = status(481)
		case "refused":
			r.reply = status(rapid.SampledFrom([]int{405, 501}).Draw(t, "status"))
		}
		return r
	}
	s := story{
		misses: rapid.IntRange(1, 3).Draw(t, "misses"),
		method: rapid.SampledFrom([]Method{Auto, Auto, Options, Update, Reinvite}).Draw(t, "method"),
		policy: rapid.SampledFrom([]Policy{RFC3261, RFC3261, RFC5057}).Draw(t, "policy"),
		action: rapid.SampledFrom([]Action{Hangup, Hangup, Hangup, Observe}).Draw(t, "action"),
		kind:   rapid.SampledFrom([]int{481, 481, 200, 0}).Draw(t, "kind"),
		bare:   rapid.Bool().Draw(t, "bare"),
		seed:   rapid.Uint64().Draw(t, "seed"),
	}
	for range rapid.IntRange(0, 12).Draw(t, "replies") {
		s.replies = append(s.replies, anyReply())
	}
	tail := lateReply{reply: nothing()}
	if rapid.Bool().Draw(t, "lives") {
		tail.reply = status(200)
	}
	s.replies = append(s.replies, tail)
	for range rapid.IntRange(0, 10).Draw(t, "deeds") {
		s.deeds = append(s.deeds, deed{ms(60_000),
			rapid.SampledFrom([]string{"evidence", "evidence", "evidence", "hand", "hand", "ending", "wait", "wait"}).Draw(t, "deed")})
	}
	return s
})

// tell lets a story happen, and a while after it.
func (s story) tell(t *testing.T, cfg Config) (record []event) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg)
		w.sup.random = rand.New(rand.NewPCG(s.seed, 0)).Float64
		w.legs.keep = true
		w.legs.stranger = func(store.Side) reply {
			if s.kind == 0 {
				return nothing()
			}
			return status(s.kind)
		}
		var mu sync.Mutex
		note := func(e event) {
			mu.Lock()
			defer mu.Unlock()
			e.at = time.Since(w.zero)
			record = append(record, e)
		}
		evidence := func() {
			note(event{what: "evidence"})
			w.sup.Evidence("c", store.Callee, store.Evidence{What: "INFO", At: time.Now()})
		}
		w.legs.answer[store.Callee] = func(n int) reply {
			r := s.replies[min(n, len(s.replies)-1)]
			asked := time.Since(w.zero)
			r.Method = w.legs.sent[target{"c", store.Callee}][n].method
			note(event{what: "asked", Answer: store.Answer{Method: r.Method}})
			answered := func() { note(event{what: "answered", asked: asked, Answer: r.Answer}) }
			if r.after == 0 {
				answered()
			} else {
				time.AfterFunc(r.after-1, answered) // just before it counts
			}
			if r.late > 0 {
				time.AfterFunc(r.after+r.late, evidence)
			}
			if r.twice {
				time.AfterFunc(r.after+time.Microsecond, func() { w.sup.Answered(store.Reply{ID: "c", Side: store.Callee, Answer: r.Answer}) })
			}
			return r.reply
		}
		w.legs.onRelease = func(end store.End) { note(event{what: "released", end: end}) }

		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.sup.Run(ctx) })
		if s.bare {
			w.legs.allow = "INVITE, ACK, BYE, CANCEL, OPTIONS"
		}
		w.call("c")
		for _, d := range s.deeds {
			sleep(d.wait)
			switch d.what {
			case "evidence":
				evidence()
			case "hand":
				run.Go(func() { w.sup.Probe(ctx, "c") })
			case "ending":
				note(event{what: "ending"})
				w.sup.Ending("c", store.End{Reason: store.Caller.Bye()})
			}
		}
		sleep(20 * time.Minute)
		cancel()
		run.Wait()
		sleep(2 * time.Minute) // for what is still on its way
	})
	return record
}

// judgement is what the record of a leg says about it, told once more from the
// end: not how it was weighed on the way, but whether the end was right.
type judgement struct {
	cfg      Config
	answered map[string]bool // the methods that it answers
	method   string          // the last that it was asked with
	life     time.Duration   // when it was last heard of
	quiet    []time.Duration // when the probes went out that were missed since then
	doubtful []int           // the doubtful answers since then
	freed    time.Duration   // time that a probe may have been held up since then
	refused  bool
	over     bool
}

func (j *judgement) lives(at time.Duration) {
	j.life, j.quiet, j.doubtful, j.freed = at, nil, nil, 0
}

// see takes one event and says what was wrong with it.
func (j *judgement) see(e event) error {
	if j.over && (e.what == "asked" || e.what == "released") {
		return fmt.Errorf("%v after the end", e)
	}
	switch e.what {
	case "asked":
		if j.method = e.Method; !j.answered[j.method] {
			j.freed += 2 * j.cfg.Timeout // only what it has answered before tells anything
		}
	case "evidence":
		j.lives(e.at)
	case "ending":
		j.over = true
	case "answered":
		if !j.over {
			j.hear(e)
		}
	case "released":
		j.over = true
		return j.release(e)
	}
	return nil
}

func (j *judgement) hear(e event) {
	switch j.cfg.Policy.judge(e.Answer) {
	case alive:
		j.answered[e.Method], j.refused = true, false
		j.lives(e.at)
	case refused:
		j.answered[e.Method], j.refused = false, true
		j.lives(e.at)
	case missed:
		if e.asked < j.life {
			return // it was heard of since
		}
		if n := len(j.quiet); n == 0 || e.asked-j.quiet[n-1] >= j.cfg.Timeout {
			j.quiet = append(j.quiet, e.asked)
		} else {
			j.freed += 2 * j.cfg.Timeout
		}
	case doubtful, looped, gone:
		j.doubtful = append(j.doubtful, e.Status)
		j.quiet = nil // it answered: what was missed before counts no more
		j.freed += time.Duration(float64(j.cfg.Misses) * float64(j.cfg.Timeout) * 1.01)
	case deferred:
		j.freed += time.Second
	}
}

// denied says whether the far end has said clearly that the dialog is gone.
func (j *judgement) denied() bool {
	n := len(j.doubtful)
	switch {
	case n == 0:
		return false
	case j.doubtful[n-1] == 481, n > 2:
		return true
	default:
		return n == 2 && j.doubtful[0] != 483
	}
}

// release says what was wrong with the end of the call.
func (j *judgement) release(e event) error {
	if j.cfg.Action == Observe {
		return fmt.Errorf("%v: only observed", e)
	}
	if told := e.end.Reason == store.Callee.Silent() || e.end.Status == 481; told && j.cfg.Policy == RFC5057 && !ofSession(j.method) {
		return fmt.Errorf("%v: by %s says nothing about the call", e, j.method)
	}
	switch e.end.Reason {
	case store.Callee.Silent():
		if !j.answered[j.method] || len(j.quiet) < j.cfg.Misses {
			return fmt.Errorf("%v: silent, but %d misses of %s, answered %v", e, len(j.quiet), j.method, j.answered)
		}
	case store.Callee.Gone():
		if !j.denied() {
			return fmt.Errorf("%v: gone after %v", e, j.doubtful)
		}
	default:
		return fmt.Errorf("%v: without reason", e)
	}
	return nil
}

// tells says whether the silence of a far end can be told by this method.
func (j *judgement) tells(method string) bool {
	return j.answered[method] && (j.cfg.Policy != RFC5057 || ofSession(method))
}

// overdue says whether the call should have ended by now.
func (j *judgement) overdue(now time.Duration) error {
	cfg := j.cfg
	switch {
	case j.over, cfg.Action == Observe, cfg.Policy == RFC5057 && !ofSession(j.method):
		return nil
	case j.denied():
		return fmt.Errorf("%v: not released after %v", now, j.doubtful)
	case !slices.ContainsFunc(slices.Collect(maps.Keys(j.answered)), j.tells):
		return nil // it never answered anything by which its silence is told, or has refused it since
	case j.refused:
		return nil
	}
	most := time.Duration(float64(cfg.Interval)*(1+cfg.Jitter)+float64(cfg.Misses)*float64(cfg.Timeout)*1.01) + j.freed + time.Millisecond
	if now > j.life+most {
		return fmt.Errorf("%v: dead since %v, not found", now, j.life)
	}
	return nil
}

func TestNoLiveLegIsReleasedAndEachDeadOneIsFound(t *testing.T) {
	cfg := Default()
	cfg.Node = "here"
	rapid.Check(t, func(rt *rapid.T) {
		s := anyStory.Draw(rt, "story")
		cfg := cfg
		cfg.Misses, cfg.Method, cfg.Policy, cfg.Action = s.misses, s.method, s.policy, s.action
		record := s.tell(t, cfg)
		j := judgement{cfg: cfg, answered: make(map[string]bool)}
		for i, e := range record {
			err := j.see(e)
			if last := i+1 == len(record); err == nil && !last && record[i+1].at > e.at+time.Microsecond {
				err = j.overdue(record[i+1].at - time.Microsecond)
			}
			if err != nil {
				for _, e := range record[:i+1] {
					rt.Log(e)
				}
				rt.Fatal(err)
			}
		}
		if s.replies[len(s.replies)-1].Kind == store.Timeout || j.denied() {
			if err := j.overdue(time.Hour); err != nil {
				rt.Fatal("in the end: ", err)
			}
		}
	})
}
