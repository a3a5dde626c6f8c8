package daemon

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/b2bua"
)

func TestTrunksReachTheAgentWhole(t *testing.T) {
	got := agentConfig(Config{Trunks: []Trunk{
		{Name: "pbx", Targets: []string{"sip:192.0.2.10"}, Sources: []string{"192.0.2.0/24", "2001:db8::1"}, Trusted: true},
		{Name: "carrier", Targets: []string{"sip:198.51.100.1"}},
	}}).Trunks
	want := []b2bua.Trunk{
		{Name: "pbx", Targets: []string{"sip:192.0.2.10"}, Trusted: true,
			Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}},
		{Name: "carrier", Targets: []string{"sip:198.51.100.1"}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
