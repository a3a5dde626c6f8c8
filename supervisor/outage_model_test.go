package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sipvigil/store"
)

// span is a stretch of time since the bubble began.
type span struct{ from, to time.Duration }

func (s span) has(at time.Duration) bool { return s.from <= at && at < s.to }

func during(spans []span, at time.Duration) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.has(at) })
}

// weather is what happens to the networks between this process and its far ends
// until stormy, after which all is well.
type weather struct {
	calls  int
	away   map[string][]span // of a trunk, or "hosts": nobody there is heard
	cut    []span            // this machine has no network
	leases []span            // without a lease
	stalls []span            // the process stands still
	asks   bool              // trunks can be asked themselves
	dead   map[target]time.Duration
	talks  int // signs of life that come by themselves
	seed   uint64
}

const stormy = 30 * time.Minute

var anyWeather = rapid.Custom(func(t *rapid.T) weather {
	seconds := func(least, most int) time.Duration {
		return time.Duration(rapid.IntRange(least*1000, most*1000).Draw(t, "ms")) * time.Millisecond
	}
	spans := func(name string, most, longest int) (list []span) {
		for range rapid.IntRange(0, most).Draw(t, name) {
			from := seconds(60, 1200)
			list = append(list, span{from, from + seconds(1, longest)})
		}
		return list
	}
	w := weather{
		calls: rapid.IntRange(20, 30).Draw(t, "calls"),
		away:  make(map[string][]span), dead: make(map[target]time.Duration),
		cut: spans("cut", 1, 300), leases: spans("leases", 2, 200), stalls: spans("stalls", 1, 90),
		asks: rapid.Bool().Draw(t, "asks"), talks: rapid.IntRange(0, 100).Draw(t, "talks"), seed: rapid.Uint64().Draw(t, "seed"),
	}
	for _, peer := range []string{"in", "out", "hosts"} {
		w.away[peer] = spans(peer, 2, 400)
	}
	for range rapid.IntRange(0, 2).Draw(t, "dead") { // fewer than a crowd
		to := target{fmt.Sprintf("%03d", rapid.IntRange(0, w.calls-1).Draw(t, "call")), store.Side(rapid.IntRange(0, 1).Draw(t, "side"))}
		w.dead[to] = seconds(60, 1700)
	}
	return w
})

// peer is what is behind a leg: half of the calls come from the trunk in, half go to
// the trunk out, and the others from and to a host each.
func (w *weather) peer(to target) string {
	var n int
	_, _ = fmt.Sscan(to.id, &n)
	switch {
	case to.side == store.Caller && n%2 == 0:
		return "in"
	case to.side == store.Callee && n%4 < 2:
		return "out"
	default:
		return "hosts"
	}
}

// reach says whether a far end answers what reaches it then.
func (w *weather) reach(to target, at time.Duration) bool {
	died, dead := w.dead[to]
	return !(dead && at >= died) && !during(w.away[w.peer(to)], at) && !during(w.cut, at) && !during(w.stalls, at)
}

// reply is what comes of a probe that is sent then: it is sent again and again.
func (w *weather) reply(to target, at time.Duration) reply {
	if during(w.cut, at) {
		return mine()
	}
	for _, after := range []time.Duration{0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500} {
		if after *= time.Millisecond; w.reach(to, at+after) {
			r := status(200)
			r.after += after
			return r
		}
	}
	r := nothing()
	for _, s := range w.stalls { // what came meanwhile was lost, and nobody was there to count the time
		if s.has(at + r.after) {
			r.after = s.to - at
		}
	}
	return r
}

// doubt is what a trunk itself shows when it is asked.
func (w *weather) doubt(now func() time.Duration, zero time.Time) Doubting {
	return func(trunk string, since time.Time) (Doubt, time.Time) {
		at := now()
		var mended time.Time
		for _, s := range w.away[trunk] {
			switch {
			case s.has(at) && at-s.from > 10*time.Second:
				return Failing, mended
			case s.has(at):
				return Asking, mended
			case s.to <= at:
				mended = zero.Add(s.to)
			}
		}
		return NoDoubt, mended
	}
}

func (w weather) tell(t *testing.T) (fault string) {
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		now := func() time.Duration { return time.Since(zero) }
		cfg := Default()
		cfg.Node, cfg.Method = "here", Options
		cfg.Brake.Floor = 4
		cfg.May = func() bool { return !during(w.leases, now()) }
		if w.asks {
			cfg.Doubt = w.doubt(now, zero)
		}
		v := newWorld(t, cfg)
		v.sup.random = rand.New(rand.NewPCG(w.seed, 0)).Float64
		v.legs.reply = func(id string, side store.Side) (reply, bool) { return w.reply(target{id, side}, now()), true }
		v.legs.onProbe = func() {
			for _, s := range w.stalls {
				if s.has(now()) {
					time.Sleep(s.to - now())
				}
			}
		}
		ended := make(map[string]time.Duration)
		v.legs.onEnd = func(id string, end store.End) { ended[id] = now() }
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { v.sup.Run(ctx) })
		for i := range w.calls {
			id := fmt.Sprintf("%03d", i)
			v.legs.add(id)
			v.legs.change(id, func(c *store.Call) {
				c.State, c.Answered, c.TrunkIn, c.TrunkOut = store.Confirmed, time.Now(), "", ""
				for _, side := range store.Sides {
					c.Legs[side].Peer = fmt.Sprintf("192.0.%d.%d:5060", 2+side, i)
				}
				if w.peer(target{id, store.Caller}) == "in" {
					c.TrunkIn = "in"
				}
				if w.peer(target{id, store.Callee}) == "out" {
					c.TrunkOut = "out"
				}
			})
			c, _ := v.legs.Call(id)
			for _, side := range store.Sides {
				c.Legs[side].Health = store.Health{Liveness: store.Alive, LastAlive: time.Now(), Method: "OPTIONS", Answers: true}
			}
			v.sup.Confirmed(c)
		}
		random := rand.New(rand.NewPCG(w.seed, 1))
		for i := range w.talks {
			time.Sleep(stormy/time.Duration(w.talks)*time.Duration(i) - now() + 7*time.Microsecond)
			to := target{fmt.Sprintf("%03d", random.IntN(w.calls)), store.Side(random.IntN(2))}
			if w.reach(to, now()) {
				v.sup.Evidence(to.id, to.side, store.Evidence{What: "INFO", At: time.Now()})
			}
		}
		sleep(stormy - now())
		sleep(12 * time.Minute)
		for i := range w.calls {
			id := fmt.Sprintf("%03d", i)
			at, over := ended[id]
			dies := time.Duration(-1)
			for _, side := range store.Sides {
				if d, ok := w.dead[target{id, side}]; ok && (dies < 0 || d < dies) {
					dies = d
				}
			}
			switch {
			case over && (dies < 0 || at < dies):
				fault = fmt.Sprintf("call %s was ended at %v, it lives", id, at)
			case !over && dies >= 0:
				fault = fmt.Sprintf("call %s is dead since %v: %+v", id, dies, v.sup.Held())
			}
		}
		if n := len(v.sup.Held()); n > 0 && fault == "" {
			fault = fmt.Sprint(n, " are held in the end")
		}
		cancel()
		run.Wait()
		sleep(2 * time.Minute)
	})
	return fault
}

// What was asked just before the stall is asked anew after it, so that the first to be
// missed twice was asked by then, and the others have not been missed yet.
func TestAStallWhileTheNetworkGoesEndsNoCall(t *testing.T) {
	w := weather{calls: 30, away: map[string][]span{"hosts": {{60 * time.Second, 200 * time.Second}}},
		stalls: []span{{60016 * time.Millisecond, 88931 * time.Millisecond}}, seed: 3}
	if fault := w.tell(t); fault != "" {
		t.Error(fault)
	}
}

// Whatever networks are gone for how long, whatever this process misses: no
// call ends of which both far ends live, and each of the few that are dead does.
func TestNoWeatherEndsALiveCallAndEachDeadOneIsFound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := anyWeather.Draw(rt, "weather")
		if fault := w.tell(t); fault != "" {
			rt.Fatal(fault)
		}
	})
}
