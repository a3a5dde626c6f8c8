package b2bua_test

import (
	"net/netip"
	"testing"

	"sipvigil/b2bua"
)

// An edge stands on both sides of a proxy: what phones ask of it goes to the
// proxy, and what the proxy asks of it goes to a carrier.
func TestACallThatAProxySendsBackToGoElsewhereIsNoLoop(t *testing.T) {
	inWorld(t, func(c *b2bua.Config) {
		c.NextHop = ""
		host := func(addr string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(addr + "/32")} }
		c.Trunks = []b2bua.Trunk{
			{Name: "phones", Sources: host("127.0.0.2")},
			{Name: "proxy", Targets: []string{"sip:" + bobAddr}, Sources: host("127.0.0.1")},
			{Name: "carrier", Targets: []string{"sip:" + carolAddr}, Sources: host("127.0.0.3")},
		}
		c.Routes = []b2bua.Route{{From: "phones", To: []string{"proxy"}}, {From: "proxy", To: []string{"carrier"}}}
	}, func(w *world) {
		w.alice.host = w.network.Listen("127.0.0.2:5071")
		w.alice.target = "sip:+4930123@edge.example.com"
		w.dial()
		proxied := func(callID string) {
			w.bob.callID, w.bob.tag, w.bob.from = callID, w.invite.FromTag(), w.invite.Get("From")
			w.bob.remoteTag, w.bob.uri, w.bob.target = "", w.invite.Get("To"), w.alice.target
			w.bob.from = without(w.bob.from)
			w.bob.request("INVITE", offer)
			w.bob.next("100 INVITE")
		}
		proxied("on@proxy")
		w.take(w.carol)
		proxied("again@proxy") // the carrier has sent it to the proxy
		w.bob.next("482 INVITE")
	})
}
