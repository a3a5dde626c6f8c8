package b2bua

import (
	"strings"
	"testing"
)

func TestLWSThatAViaCanDoWithoutIsLeftOut(t *testing.T) {
	test := func(value, want string) {
		t.Helper()
		if got := tidyVia(value); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
	test("SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1", "SIP/2.0/UDP first.example.com:4000;ttl=16;maddr=224.2.0.1")
	test("SIP/2.0/UDP \t\r\n h ; branch = a", "SIP/2.0/UDP h;branch=a")
	test(" SIP/2.0/UDP h ", "SIP/2.0/UDP h")
	test(`SIP/2.0/UDP h;x="a ; b" ;y`, `SIP/2.0/UDP h;x="a ; b";y`)
	test("  ", "")
	// One datagram of a trunk must not keep a socket's reader for seconds: time
	// grows with the length and not with its square, which would never end here.
	test("SIP/2.0/UDP"+strings.Repeat(" ", 16<<20)+"h", "SIP/2.0/UDP h")
}
