package b2bua

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"testing"
	"testing/synctest"

	"sipvigil/store"
)

// A flood in the name of a trunk cannot fill the memory: what is no call's is
// not kept once it is answered, and answered anew when it comes again.
func TestOfAFloodNoMoreIsKeptThanFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := quickCall(t, "192.0.2.1:5060", store.Dialog{})
		x := c.agent.transaction
		socket := &packetConn{PacketConn: &echo{}, guard: newGuard(c.agent.metrics, maphash.MakeSeed())}
		socket.guard.agent = c.agent
		send := func(method string, n int) {
			req := plainMessage(fmt.Appendf(nil, "%s sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK%d\r\nFrom: <sip:a@a>;tag=f\r\n"+
				"To: <sip:b@b>\r\nCall-ID: c%[2]d\r\nCSeq: 1 %[1]s\r\n\r\n", method, n))
			req.source = netip.MustParseAddrPort("127.0.0.1:5080")
			if q := x.arrived(req, socket); q != nil {
				q.run()
			}
			synctest.Wait()
		}
		send("OPTIONS", 1)
		if len(x.servers) != 1 {
			t.Fatalf("%d are kept, want 1", len(x.servers))
		}
		for n := range maxKept {
			x.servers[serverKey{branch: fmt.Sprint(n)}] = new(serverTx)
		}
		for n := range 3 {
			send("OPTIONS", 2+n%2)
			send("INFO", 4+n%2)
		}
		if len(x.servers) != maxKept+1 {
			t.Errorf("%d are kept, want %d", len(x.servers), maxKept+1)
		}
	})
}
