package links

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A model of one address, to which anything happens: it falls for a reason, and
// comes back no faster than its thresholds allow; whatever happened, it is back
// once it answers well for long enough.
func TestAnAddressNeitherFlapsNorStaysDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Default()
		c.Probe = rapid.SampledFrom([]Probe{Options, None}).Draw(t, "probe")
		c.DownAfter = rapid.IntRange(1, 4).Draw(t, "down after")
		c.UpAfter = rapid.IntRange(1, 4).Draw(t, "up after")
		c.TrafficAfter = rapid.IntRange(0, 4).Draw(t, "traffic after")
		c.InboundCounts = rapid.Bool().Draw(t, "inbound counts")
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		m := &model{T: t, c: &c, h: newHealth(now), now: now, next: now}
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) { m.pass(time.Duration(rapid.IntRange(1, 40000).Draw(t, "ms")) * time.Millisecond) },
			"its turn":    func(t *rapid.T) { m.turn(rapid.SampledFrom(outcomes).Draw(t, "outcome")) },
			"traffic":     func(t *rapid.T) { m.traffic(rapid.SampledFrom(append(outcomes, "<")).Draw(t, "traffic")) },
			"":            func(*rapid.T) { m.check() },
		})
		m.recovers()
	})
}

var outcomes = []string{"200 OK", "404 Not Found", "503 Busy", "503 Busy; 45", "408 Request Timeout", "-", "!"}

// model is an address, and what may be expected of it.
type model struct {
	*rapid.T
	c    *Config
	h    health
	now  time.Time
	next time.Time // when it is asked or tried

	failed [2]int    // questions, INVITEs in a row
	fell   time.Time // when it last fell
}

func (m *model) pass(d time.Duration) { m.now = m.now.Add(d) }

// turn asks or tries the address when it is due, as Links does.
func (m *model) turn(outcome string) {
	if m.now.Before(m.next) {
		m.now = m.next
	}
	if m.c.Probe == None {
		if m.h.state == Down {
			m.h.try(m.now)
		}
		m.next = m.now.Add(idle)
		return
	}
	a := traffic(outcome)
	m.pass(10 * time.Millisecond)
	bad := a.Kind != Answered || m.c.isDown(a.Status, a.Phrase)
	m.apply(0, bad, a, func() { m.h.asked(m.c, a, m.now) })
	m.next = m.now.Add(m.c.Interval)
	if m.h.failing() {
		m.next = latest(m.now.Add(m.c.IntervalDown), m.h.until)
	}
}

func (m *model) traffic(what string) {
	a := traffic(what)
	if a.Kind == Inbound {
		m.apply(-1, false, a, func() { m.h.seen(m.c, a, m.now) })
		return
	}
	bad := a.Kind != Answered || a.Status == 503
	m.apply(1, bad, a, func() { m.h.seen(m.c, a, m.now) })
}

// apply has something happen, and checks that the state changes for a reason.
func (m *model) apply(row int, bad bool, a Traffic, happen func()) {
	was, trial := m.h.state, m.h.trial
	if row >= 0 {
		m.failed[row]++
		if !bad {
			m.failed[row] = 0
		}
	}
	happen()
	if m.h.until.After(m.next) {
		m.next = m.h.until
	}
	switch {
	case was != Down && m.h.state == Down:
		least := m.c.DownAfter
		if row == 1 {
			least = m.c.trafficAfter()
		}
		if !bad || m.failed[row] < least && a.RetryAfter == 0 && !trial {
			m.Fatalf("it fell after %d failures in a row, for %v", m.failed, a)
		}
		m.fell = m.now
		m.next = latest(m.now.Add(m.c.IntervalDown), m.h.until)
	case was == Down && m.h.state != Down:
		if least := time.Duration(m.c.UpAfter-1) * m.c.IntervalDown / 2; m.now.Sub(m.fell) < least {
			m.Fatalf("it came back after %v, sooner than %v", m.now.Sub(m.fell), least)
		}
		if bad {
			m.Fatalf("it came back for %v", a)
		}
	}
}

func (m *model) check() {
	if m.h.state == Up && m.h.fails >= m.c.DownAfter {
		m.Fatalf("it is up after %d failures", m.h.fails)
	}
	if m.h.until.After(m.now) && m.h.state != Down {
		m.Fatalf("it is %s although it is to be left alone until %v", m.h.state, m.h.until)
	}
}

// recovers has all go well, which brings the address up within its turns.
func (m *model) recovers() {
	for range m.c.UpAfter + 1 {
		m.turn("200 OK")
		if m.c.Probe == None {
			for range m.c.UpAfter {
				m.traffic("200 OK")
			}
		}
	}
	if m.h.state != Up {
		m.Fatalf("it is %s after %d turns that went well: %+v", m.h.state, m.c.UpAfter+1, m.h)
	}
}
