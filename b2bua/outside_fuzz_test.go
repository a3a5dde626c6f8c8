package b2bua

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
)

// FuzzOutside sends on whatever passes the checks: what leaves has to be read as
// one message with one Via more, for the same Call-ID, by whoever gets it.
func FuzzOutside(f *testing.F) {
	a, err := New(Default(), noStore{}, noObserver{}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		f.Fatal(err)
	}
	a.early = []byte("a key")
	a.Identify(1, a.early)
	a.sockets = []socket{newSocket("udp", agentAddr, "")}
	for _, tt := range torture {
		f.Add(readTorture(f, filepath.FromSlash(tt.file)))
	}
	peer, _ := addrPort("203.0.113.9:40001")
	token := dialog.MintFlow(a.early, dialog.Flow{Transport: "udp", Local: peer, Peer: peer})
	f.Add(bytes.Replace([]byte(ordinary), []byte("Call-ID"), []byte("Route: <sip:"+token+"@127.0.0.1;lr>, <sip:b;lr>\r\nCall-ID"), 1))
	f.Add(bytes.Replace([]byte(ordinary), []byte("Call-ID"), []byte("Route: <A0:0>\r\nCall-ID"), 1))
	parser := newParser()
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if v := screen(datagram); v.drop || v.status != 0 {
			return
		}
		req, err := parser.parse(datagram)
		if err != nil || req.method == "" {
			return
		}
		req.source = callerAddr.AddrPort()
		in := &inbound{req: req, agent: a, method: req.method, source: req.source}
		in.tx = &serverTx{of: a.transaction}
		if in.check() != nil || in.takeRoute() != nil {
			return
		}
		p := &passage{in: in, trunk: OtherTrunk}
		p.back = in.wayBack(p.trunk)
		_ = in.looped()
		target, _ := in.flowTarget()
		if u, err := dialog.ParseURI(target.hopURI()); err != nil || u.Scheme != "sip" && u.Scheme != "sips" {
			return // leads nowhere
		}
		out := written(p.request(target, locate.Hop{Transport: "udp", Addr: netip.MustParseAddrPort(calleeAddr.String())}))
		sent, err := parser.parse([]byte(out))
		if err != nil {
			t.Fatalf("what is sent on cannot be read: %v\n%s", err, out)
		}
		if v := screen([]byte(out)); v.drop || v.status != 0 {
			t.Fatalf("what is sent on would be refused: %+v\n%s", v, out)
		}
		if len(values(sent, "via")) != len(values(req, "via"))+1 || sent.callID != req.callID || !bytes.Equal(sent.body, req.body) {
			t.Fatalf("sent on as\n%s", out)
		}
	})
}
