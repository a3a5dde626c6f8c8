package b2bua

import (
	"strings"
	"testing"

	"sipvigil/b2bua/dialog"
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

// FuzzVia demands of what is tidy that it stays so, and means the same.
func FuzzVia(f *testing.F) {
	for _, value := range []string{
		"SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
		`SIP/2.0/TCP [2001:db8::9:1]:5 ; x = "a \" ; branch=b" ; rport`, "SIP/2.0/WS h\r\n ;branch\t=\r\n a",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !goodVia([]byte(value)) || len(dialog.SplitList(value)) != 1 {
			return
		}
		tidy := tidyVia(value)
		if again := tidyVia(tidy); again != tidy {
			t.Errorf("%q is %q, and then %q", value, tidy, again)
		}
		if !goodVia([]byte(tidy)) {
			t.Errorf("%q is %q, which is none", value, tidy)
		}
		v := anyVia(tidy)
		_, params, _ := strings.Cut(value, ";")
		branch, _ := dialog.Param(";"+params, "branch")
		if v.host == "" || v.port < 0 || v.port > 65535 || !strings.Contains(branch, `"`) && v.branch != branch {
			t.Errorf("%q is read as %+v, branch %q", value, v, branch)
		}
	})
}
