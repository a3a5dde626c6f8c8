package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/store/redis"
)

// A store that was restarted with what it had saved a while ago has the calls, but
// no lease: whoever runs has until its own is over to renew it.
func TestALeaseThatTheStoreHasLostFreesNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(1)
		owner, other := s.start("edge-1", 0), s.start("edge-2", 0)
		t.Cleanup(func() { owner.stop(); other.stop() })
		time.Sleep(time.Minute)
		for after := range 30 { // the renewal may be due at once, or much later
			s.mu.Lock()
			s.expires["edge-1"] = time.Time{}
			s.mu.Unlock()
			other.mu.Lock()
			other.partial = true
			other.mu.Unlock()
			for range 90 {
				time.Sleep(redis.LeaseTime / 90)
				s.mu.Lock()
				by := s.records["call-0"].Node
				s.mu.Unlock()
				if by != "edge-1" {
					t.Fatalf("%s has adopted the call, and its owner may ask: %v", by, owner.may())
				}
			}
			other.mu.Lock()
			other.partial = false
			other.mu.Unlock()
			time.Sleep(time.Duration(after) * 100 * time.Millisecond)
		}
		owner.stop()
		time.Sleep(redis.LeaseTime + 5*time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if by := s.records["call-0"].Node; by != "edge-2" {
			t.Errorf("the call of a node that is gone is %s's", by)
		}
	})
}
