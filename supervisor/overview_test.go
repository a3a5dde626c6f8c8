package supervisor

import (
	"testing"
	"time"
)

func TestWhatIsReclaimedIsCountedByTheDay(t *testing.T) {
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	var count today
	test := func(at time.Duration, n, want int) {
		t.Helper()
		count.add(n, midnight.Add(at))
		if got := count.on(midnight.Add(time.Hour)); got != want {
			t.Errorf("after %d at %v: %d, want %d", n, at, got, want)
		}
	}
	test(-time.Hour, 2, 0)
	test(time.Second, 2, 2)
	test(2*time.Second, 2, 4)
	test(-time.Second, 2, 4) // its BYE got its answer late
	test(3*time.Second, 0, 4)
	if got := count.on(midnight.Add(24 * time.Hour)); got != 0 {
		t.Errorf("%d on the next day", got)
	}
}
