package b2bua

import (
	"strconv"
	"testing"
	"time"
)

func TestOurAddressTowardsAPeerIsKnownForAWhile(t *testing.T) {
	var o ownAddrs
	now := time.Now()
	test := func(at time.Duration, peer, want string) {
		t.Helper()
		if got := o.towards(peer, now.Add(at)); got != want {
			t.Errorf("towards %s after %v: %q, want %q", peer, at, got, want)
		}
	}
	test(0, "127.0.0.1:5060", "127.0.0.1")
	test(0, "[::1]:5060", "::1")
	test(0, "not an address", "")
	o.found["127.0.0.1:5060"] = "192.0.2.1" // which the kernel would not say
	test(ownAddrTime-1, "127.0.0.1:5060", "192.0.2.1")
	test(ownAddrTime, "127.0.0.1:5060", "127.0.0.1")
	for i := range 2 * mostOwnAddrs {
		o.found["192.0.2.1:"+strconv.Itoa(i)] = ""
	}
	test(ownAddrTime, "127.0.0.1:5060", "127.0.0.1")
	if n := len(o.found); n != 1 {
		t.Errorf("%d are remembered", n)
	}
}
