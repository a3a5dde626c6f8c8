package b2bua

import (
	"testing"
	"time"
)

func asksToWait(text string) time.Duration {
	return retryAfter(withLines(503, "Retry-After: "+text))
}

func TestRetryAfterIsReadAndBounded(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"120":                   2 * time.Minute,
		" 5 (in a meeting)":     5 * time.Second,
		"18;duration=3600":      18 * time.Second,
		"99999":                 maxRetryAfter,
		"999999999999999999999": maxRetryAfter,
		"":                      0,
		"0":                     0,
		"-5":                    0,
		"soon":                  0,
	} {
		if got := asksToWait(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"120", "18;duration=3600", "9e9", "٣"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d := asksToWait(text); d < 0 || d > maxRetryAfter || d%time.Second != 0 {
			t.Errorf("%q: %v", text, d)
		}
	})
}
