package b2bua_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store"
	"sipvigil/test/ua"
)

// weather delays and loses what goes to the agent.
type weather struct {
	rng   *rand.Rand
	delay time.Duration
	loss  float64
}

// seeds is how many courses of events are tried.
const seeds = uint64(200)

func (p *phone) late(wx weather, text string) {
	if wx.rng.Float64() < wx.loss {
		return
	}
	time.AfterFunc(time.Duration(wx.rng.Int64N(int64(wx.delay)+1)), func() { p.say(text) })
}

// TestHangingUpAtAnyMomentEndsTheCall has both phones, either or nobody hang
// up around the answer, with datagrams that overtake each other. Whatever
// happens, the call has ended when all transactions are over.
func TestHangingUpAtAnyMomentEndsTheCall(t *testing.T) {
	for seed := range seeds {
		for _, loss := range []float64{0, 0.2} {
			synctest.Test(t, func(t *testing.T) { hangUp(t, seed, loss) })
		}
		if t.Failed() {
			return
		}
	}
}

func hangUp(t *testing.T, seed uint64, loss float64) {
	w := newWorld(t, nil)
	w.serve()
	w.agent.Loaded()
	rng := rand.New(rand.NewPCG(seed, 1))
	wx := weather{rng, time.Duration(rng.IntN(60)) * time.Millisecond, loss}
	w.dial()
	bobHungUp, aliceHungUp := false, false
	start := time.Now()
	aliceAt := time.Duration(rng.IntN(300)) * time.Millisecond
	bobAt := time.Duration(rng.IntN(300)) * time.Millisecond
	operatorAt := time.Duration(rng.IntN(900)) * time.Millisecond
	w.bob.late(weather{rng, 100 * time.Millisecond, 0}, w.bob.response(w.invite, 200, answer))
	var repeats []func() // what an UAC or UAS repeats
	answered := func(p *phone, m *ua.Message, hungUp bool) {
		switch {
		case m.Method == "BYE" && hungUp && rng.IntN(2) == 0:
			p.late(wx, p.response(m, 481, ""))
		case m.Method == "BYE":
			p.late(wx, p.response(m, 200, ""))
		}
	}
	var trace []string
	end := time.Duration(0)
	for now := time.Duration(0); now < 70*time.Second; now = time.Since(start) {
		for _, p := range []*phone{w.alice, w.bob} {
			for m := p.poll(); m != nil; m = p.poll() {
				if rng.Float64() < loss {
					continue
				}
				trace = append(trace, fmt.Sprintf("%v %s got %s", now, p.user, what(m)))
				if p == w.alice && what(m) == "200 INVITE" {
					p.remoteTag, p.target = m.ToTag(), uri(m.Get("Contact"))
					p.late(wx, p.build("ACK", 1, ""))
				}
				answered(p, m, p == w.alice && aliceHungUp || p == w.bob && bobHungUp)
			}
		}
		hang := func(p *phone, hungUp *bool) {
			*hungUp = true
			p.cseq++
			bye := p.build("BYE", p.cseq, "")
			trace = append(trace, fmt.Sprintf("%v %s hangs up", now, p.user))
			p.late(wx, bye)
			repeats = append(repeats, func() { p.late(wx, bye) })
		}
		if !aliceHungUp && now >= aliceAt && w.alice.remoteTag != "" {
			hang(w.alice, &aliceHungUp)
		}
		if !bobHungUp && now >= bobAt+100*time.Millisecond {
			hang(w.bob, &bobHungUp)
		}
		if seed%3 == 0 && now >= operatorAt {
			w.agent.Release(w.id, store.End{Reason: store.Operator})
		}
		if now > time.Second && now < 20*time.Second && now%time.Second < 10*time.Millisecond {
			for _, again := range repeats {
				again()
			}
		}
		w.obs.mu.Lock()
		ended := len(w.obs.ended)
		w.obs.mu.Unlock()
		if ended > 0 {
			end = now
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	limit := 2 * time.Second
	if loss > 0 {
		limit = 66 * time.Second
	}
	if end == 0 || end > limit {
		t.Errorf("seed %d, loss %v: ended after %v\n%q\nheard %q", seed, loss, end, trace, w.obs.heard())
	}
	time.Sleep(time.Second) // what is still on its way
}
