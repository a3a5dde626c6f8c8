package b2bua

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
)

func TestATokenOutlivesTheKeyOfTheFirstSeconds(t *testing.T) {
	a, err := New(Default(), noStore{}, noObserver{}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	f := dialog.Flow{Transport: "udp", Local: netip.MustParseAddrPort("192.0.2.5:5060"), Peer: netip.MustParseAddrPort("203.0.113.9:40001")}
	token := dialog.MintFlow(a.identity.Load().tagKey, f)
	a.Identify(1, []byte("the key of the store"))
	if got, ok := a.readFlow(token); !ok || got != f {
		t.Errorf("an early token gives %+v, %v", got, ok)
	}
	if _, ok := a.readFlow(dialog.MintFlow([]byte("another"), f)); ok {
		t.Error("the token of another key is taken")
	}
}

func TestNoMoreThanSoManyRequestsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		ask := func(branch string, want int) {
			t.Helper()
			n.forget()
			n.send([]byte("MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP " + callerAddr.String() + ";branch=z9hG4bK-" + branch + "\r\n" +
				"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"))
			time.Sleep(time.Second)
			if finals := n.finals(); len(finals) != 1 || status(finals[0]) != want {
				t.Fatalf("answers are %q, want %d", finals, want)
			}
		}
		for _, branch := range []string{"1", "2"} {
			ask(branch, taken)
			if left := n.agent.passing.Load(); left != 0 {
				t.Errorf("%d requests count as under way", left)
			}
		}
		n.agent.passing.Store(maxPassing)
		ask("3", 503)
		n.agent.passing.Store(maxPassing - 1)
		ask("4", taken)
	})
}
