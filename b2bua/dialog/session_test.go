package dialog

import (
	"math"
	"strings"
	"testing"
	"time"

	"sipvigil/store"
)

var sessionExpires = []struct {
	value     string
	interval  time.Duration
	refresher string
	ok        bool
}{
	{"1800", 1800 * time.Second, "", true},
	{"4000;refresher=uac", 4000 * time.Second, "uac", true},
	{" 90 ;\r\n Refresher = UAS ; x=y", 90 * time.Second, "uas", true},
	{"0;refresher=", 0, "", true},
	{"99999999999999999999", math.MaxUint32 * time.Second, "", true},
	{"1800;refresher=proxy", 0, "", false},
	{"", 0, "", false},
	{";refresher=uac", 0, "", false},
	{"-1", 0, "", false},
	{"90s", 0, "", false},
	{"9 0", 0, "", false},
}

func TestSessionExpires(t *testing.T) {
	for _, tt := range sessionExpires {
		interval, refresher, err := SessionExpires(tt.value)
		if interval != tt.interval || refresher != tt.refresher || (err == nil) != tt.ok {
			t.Errorf("SessionExpires(%q) = %v, %q, %v", tt.value, interval, refresher, err)
		}
	}
}

func FuzzSessionExpires(f *testing.F) {
	for _, tt := range sessionExpires {
		f.Add(tt.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		interval, refresher, err := SessionExpires(value)
		if err != nil {
			if interval != 0 || refresher != "" {
				t.Errorf("SessionExpires(%q) = %v, %q, %v", value, interval, refresher, err)
			}
			return
		}
		if interval < 0 || interval > math.MaxUint32*time.Second {
			t.Errorf("SessionExpires(%q) = %v", value, interval)
		}
		if d, err := MinSE(value); d != interval || err != nil {
			t.Errorf("MinSE(%q) = %v, %v, want %v", value, d, err, interval)
		}
		again, who, err := SessionExpires(FormatSessionExpires(interval, refresher))
		if again != interval || who != refresher || err != nil {
			t.Errorf("%q was read as %v, %q, %v", FormatSessionExpires(interval, refresher), again, who, err)
		}
	})
}

func TestLists(t *testing.T) {
	test := func(token string, want bool, values ...string) {
		t.Helper()
		if got := Lists(values, token); got != want {
			t.Errorf("Lists(%q, %q) = %v", values, token, got)
		}
	}
	test("timer", true, "timer")
	test("timer", true, "100rel,\r\n Timer ,x")
	test("timer", true, "100rel", "timer")
	test("timer", false, "timers", "x-timer")
	test("timer", false)
}

func TestTooShort(t *testing.T) {
	test := func(timer Timer, want bool) {
		t.Helper()
		if got := timer.TooShort(); got != want {
			t.Errorf("%+v is too short: %v", timer, got)
		}
	}
	test(Timer{Supported: true, Expires: true, Interval: 89 * time.Second}, true)
	test(Timer{Supported: true, Expires: true, Interval: 0}, true)
	test(Timer{Supported: true, Expires: true, Interval: 90 * time.Second}, false)
	test(Timer{Supported: true}, false)
	test(Timer{Expires: true, Interval: 30 * time.Second}, false)
}

// TestNegotiate has a row for each case of RFC 4028 section 9, table 2, and
// for those in which one side does not take part. A timer is written as its
// Session-Expires, with a + behind it where timer is supported.
func TestNegotiate(t *testing.T) {
	timer := func(s string) (m Timer) {
		s, m.Supported = strings.CutSuffix(s, "+")
		if s != "" {
			interval, refresher, err := SessionExpires(s)
			if err != nil {
				t.Fatal(err)
			}
			m.Expires, m.Interval, m.Refresher = true, interval, refresher
		}
		return m
	}
	short := func(s store.Session) string {
		if s == (store.Session{}) {
			return "-"
		}
		return FormatSeconds(s.Interval) + " " + string(s.Refresher)
	}
	for _, tt := range []struct{ asked, answered, from, to string }{
		// Both take part.
		{"1800+", "1800;refresher=uac+", "1800 peer", "1800 other"},
		{"1800+", "900;refresher=uas+", "900 other", "900 peer"},
		{"1800;refresher=uas+", "900;refresher=uas", "900 other", "900 peer"},
		{"+", "1800;refresher=uac+", "1800 peer", "1800 other"},
		{"+", "1800;refresher=uas+", "1800 other", "1800 peer"},
		{"1800;refresher=uas+", "1800", "1800 other", "1800 peer"},
		{"1800+", "1800", "1800 peer", "1800 other"},
		{"1800+", "10;refresher=uac", "90 peer", "90 other"},
		// The one that was asked turns it off, or nobody asks.
		{"1800+", "+", "-", "-"},
		{"+", "+", "-", "-"},
		{"+", "", "-", "-"},
		{"", "", "-", "-"},
		// The one that was asked does not take part.
		{"1800+", "", "1800 peer", "-"},
		{"1800;refresher=uac+", "", "1800 peer", "-"},
		{"1800;refresher=uas+", "", "1800 self", "-"},
		// The one that asks does not take part.
		{"", "1800;refresher=uas+", "-", "1800 peer"},
		{"", "1800;refresher=uac+", "-", "1800 self"},
		{"", "1800+", "-", "1800 peer"},
		{"", "10;refresher=uac", "-", "90 self"},
		{"1800", "1800;refresher=uas", "-", "1800 peer"}, // a proxy asked
		{"1800", "", "-", "-"},
	} {
		from, to := Negotiate(timer(tt.asked), timer(tt.answered))
		if short(from) != tt.from || short(to) != tt.to {
			t.Errorf("%q answered with %q: %s and %s, want %s and %s",
				tt.asked, tt.answered, short(from), short(to), tt.from, tt.to)
		}
	}
	from, to := Negotiate(Timer{Supported: true, Expires: true, Interval: time.Hour, MinSE: time.Minute}, Timer{})
	if from.MinSE != time.Minute || to.MinSE != 0 {
		t.Errorf("Min-SE is %v and %v", from.MinSE, to.MinSE)
	}
}

func TestSessionDue(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	test := func(s store.Session, want time.Duration, ok bool) {
		t.Helper()
		s.Refreshed = at
		due, found := SessionDue(s)
		if found != ok || ok && due.Sub(at) != want {
			t.Errorf("%+v is due after %v, %v", s, due.Sub(at), found)
		}
	}
	test(store.Session{}, 0, false)
	test(store.Session{Interval: time.Hour, Refresher: store.Other}, 0, false)
	test(store.Session{Interval: time.Hour, Refresher: store.Self}, time.Hour/2, true)
	test(store.Session{Interval: time.Hour, Refresher: store.Peer}, time.Hour-32*time.Second, true)
	test(store.Session{Interval: 90 * time.Second, Refresher: store.Peer}, time.Minute, true)
}

func TestSessionAsked(t *testing.T) {
	test := func(s store.Session, want string) {
		t.Helper()
		if got := SessionAsked(s); got != want {
			t.Errorf("%+v asks for %q, want %q", s, got, want)
		}
	}
	test(store.Session{Interval: time.Hour, Refresher: store.Self}, "3600;refresher=uac")
	test(store.Session{Interval: time.Hour, Refresher: store.Peer}, "3600;refresher=uas")
	test(store.Session{Interval: 100 * time.Second, MinSE: 120 * time.Second, Refresher: store.Self}, "120;refresher=uac")
}
