package dialog

import (
	"net/netip"
	"strings"
	"testing"
)

var flows = []Flow{
	{Transport: "udp", Local: netip.MustParseAddrPort("192.0.2.5:5060"), Peer: netip.MustParseAddrPort("203.0.113.9:40123")},
	{Transport: "wss", Local: netip.MustParseAddrPort("[2001:db8::5]:443"), Peer: netip.MustParseAddrPort("[2001:db8::99]:1")},
	{Transport: "tcp", Local: netip.MustParseAddrPort("0.0.0.0:5060"), Peer: netip.MustParseAddrPort("10.0.0.1:65535"), Believed: true},
}

var flowKey = []byte("0123456789abcdef0123456789abcdef")

func TestATokenGivesItsFlowBack(t *testing.T) {
	for _, f := range flows {
		token := MintFlow(flowKey, f)
		if got, ok := ReadFlow(flowKey, token); !ok || got != f {
			t.Errorf("%+v: token %s gives %+v, %v", f, token, got, ok)
		}
		if u, err := ParseURI("sip:" + token + "@192.0.2.5:5060;lr"); err != nil || u.User != token {
			t.Errorf("%s is no user part: %v", token, err)
		}
		if len(token) > maxFlowToken {
			t.Errorf("%s is longer than %d", token, maxFlowToken)
		}
	}
}

func TestATokenOfAnotherKeyOrAChangedOneIsRefused(t *testing.T) {
	token := MintFlow(flowKey, flows[0])
	if _, ok := ReadFlow([]byte("another key"), token); ok {
		t.Error("taken with another key")
	}
	for i := range token {
		for _, c := range []string{"0", "v", "=", "\n", "", "g"} {
			changed := token[:i] + c + token[i+1:]
			if _, ok := ReadFlow(flowKey, changed); ok && changed != token {
				t.Errorf("%q is taken for %q", changed, token)
			}
		}
	}
	for _, s := range []string{"", "0", strings.Repeat("0", 200), token + token, token + "\n", strings.ToUpper(token)} {
		if _, ok := ReadFlow(flowKey, s); ok {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestTheCheckOfATagIsNoneOfAToken(t *testing.T) {
	tag := MintTag(flowKey, "019a0000-0000-7000-8000-000000000001", 0)
	if _, ok := ReadFlow(flowKey, tag[1:]); ok {
		t.Error("a tag is taken for a token")
	}
}

func FuzzReadFlow(f *testing.F) {
	for _, flow := range flows {
		f.Add(MintFlow(flowKey, flow), []byte(flow.Transport))
	}
	f.Add("alice", []byte{1, 4, 1, 2, 3, 4, 0, 1, 4, 1, 2, 3, 4, 0})
	f.Fuzz(func(t *testing.T, token string, raw []byte) {
		if flow, ok := ReadFlow(flowKey, token); ok && MintFlow(flowKey, flow) != token {
			t.Errorf("%q gives %+v, which makes another token", token, flow)
		}
		if len(raw) > 0 {
			if flow, ok := decodeFlow(raw); ok && flow.Peer.IsValid() && !flow.Local.IsValid() {
				t.Errorf("%x gives %+v", raw, flow)
			}
		}
	})
}
