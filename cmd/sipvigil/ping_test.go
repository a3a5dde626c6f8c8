package main

import "testing"

func TestAPingTargetMayBeWrittenShort(t *testing.T) {
	for _, tt := range []struct{ arg, transport, want string }{
		{"sip:bob@192.0.2.10:5070", "", "sip:bob@192.0.2.10:5070"},
		{"192.0.2.10", "", "sip:192.0.2.10"},
		{"carrier.example", "tcp", "sip:carrier.example;transport=tcp"},
		{"[2001:db8::1]:5070", "", "sip:[2001:db8::1]:5070"},
		{"2001:db8::1", "tls", "sip:[2001:db8::1];transport=tls"},
		{"fe80::1%eth0", "", ""}, // no SIP URI has a zone
		{"2001:db8::1:", "", ""},
	} {
		if got, err := pingTarget(tt.arg, tt.transport); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s over %q: %q, %v; want %q", tt.arg, tt.transport, got, err, tt.want)
		}
	}
}
