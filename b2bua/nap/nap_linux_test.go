package nap_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"sipvigil/b2bua/nap"
)

func TestCloseEndsANap(t *testing.T) {
	for i := range 100 { // before it begins, and while it is under way
		n := nap.New()
		var slept sync.WaitGroup
		slept.Go(func() {
			n.Sleep(time.Hour)
			n.Sleep(time.Hour)
		})
		for range i {
			runtime.Gosched()
		}
		n.Close()
		slept.Wait()
	}
}
