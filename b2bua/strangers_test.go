package b2bua

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestOnlySoManyStrangersAreToldApart(t *testing.T) {
	s, now := newStrangers(UnknownReject), time.Now()
	addr := netip.MustParseAddr("198.18.0.0")
	for range 2 * maxStrangers {
		s.mayAnswer(addr, now)
		addr = addr.Next()
	}
	if len(s.sources) != maxStrangers {
		t.Errorf("%d sources are remembered, want %d", len(s.sources), maxStrangers)
	}
	if now = now.Add(500 * time.Millisecond); s.mayAnswer(addr, now) {
		t.Error("one more is answered while all are remembered")
	}
	if now = now.Add(time.Second); !s.mayAnswer(addr, now) {
		t.Error("nobody is answered although all have been quiet")
	}
	if len(s.sources) != 1 {
		t.Errorf("%d sources are remembered, want 1", len(s.sources))
	}
}

func TestOurBranchesAreKnownFromOthers(t *testing.T) {
	for range 100 {
		b := branch()
		for via, want := range map[string]bool{
			"SIP/2.0/UDP 192.0.2.1:5060;branch=" + b + ";rport=1":              true,
			"SIP/2.0/UDP 192.0.2.1;rport;branch=" + b + ".more":                true,
			"SIP/2.0/UDP 192.0.2.1;branch=" + b[:len(b)-1]:                     false,
			"SIP/2.0/UDP 192.0.2.1;branch=" + strings.ToUpper(b):               false,
			"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK0000000000000" + b[20:]:       false,
			"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK":                             false,
			"SIP/2.0/UDP 192.0.2.1":                                            false,
			"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKabcdefghijklmnopqrstuvwxyzab": false,
		} {
			if got := madeHere([]byte(via)); got != want {
				t.Errorf("%s: %v", via, got)
			}
		}
	}
}
