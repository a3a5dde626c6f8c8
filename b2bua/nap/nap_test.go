package nap_test

import (
	"testing"
	"time"

	"sipvigil/b2bua/nap"
)

func TestANapLastsAsLongAsItIsSaidTo(t *testing.T) {
	n := nap.New()
	defer n.Close()
	for _, d := range []time.Duration{-1, 0, 1, time.Microsecond, 5 * time.Millisecond, time.Millisecond} {
		began := time.Now()
		n.Sleep(d)
		if took := time.Since(began); took < d {
			t.Errorf("a nap of %v took %v", d, took)
		}
	}
}

func BenchmarkSleep(b *testing.B) {
	n := nap.New()
	defer n.Close()
	for name, sleep := range map[string]func(time.Duration){"nap": n.Sleep, "runtime": time.Sleep} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				sleep(4 * time.Millisecond)
			}
		})
	}
}
