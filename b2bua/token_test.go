package b2bua_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
)

func TestAForgedOrForeignTokenOpensNothing(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		path := w.register(p)
		forged := strings.Replace(path, path[6:9], "000", 1)
		for _, method := range []string{"INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE"} {
			w.alice.request(method, "", "Route: "+forged)
			if method == "INVITE" {
				w.alice.next("403 INVITE")
				pass(time.Minute)
				w.alice.all()
				continue
			}
			w.alice.next("403 " + method)
		}
		w.alice.remoteTag = "somebody" // inside a dialog, to anywhere
		w.alice.target = "sip:eve@198.51.100.66"
		w.alice.request("NOTIFY", "", "Route: "+forged)
		w.alice.next("403 NOTIFY")
		w.alice.request("NOTIFY", "", "Route: <sip:127.0.0.1:5060;lr>")
		w.alice.next("481 NOTIFY")
		w.alice.request("NOTIFY", "")
		w.alice.next("481 NOTIFY")
		p.nothing()
		w.bob.nothing()
	})
}

func TestInsideACallRoutesToUsSayNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.request("INFO", "", "Route: <sip:alice@127.0.0.1:5060;lr>")
		w.bob.next("INFO")
	})
}

func TestARouteToUsWithoutATokenSaysNothing(t *testing.T) {
	inWorld(t, edge, func(w *world) {
		p := w.dave()
		p.ask("REGISTER", "", "Route: <sip:127.0.0.1:5060;lr>, <sip:192.0.2.99;lr>")
		m := w.bob.next("REGISTER")
		if m.Has("Route") {
			t.Errorf("the registrar got\n%s", m.Raw)
		}
	})
}

func TestATokenIsNoWayOutOfItsTrunk(t *testing.T) {
	off := func(c *b2bua.Config) {
		edge(c)
		c.Trunks[0].NATOff = true
		c.Trunks = append(c.Trunks, b2bua.Trunk{Name: "carrier", Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	}
	inWorld(t, off, func(w *world) {
		p, carrier := w.dave(), w.phone("carrier", "198.51.100.66:5060")
		path := w.register(p)
		for _, method := range []string{"INVITE", "MESSAGE"} { // another phone, with dave's token
			eve := w.phone("eve", "203.0.113.77:5060")
			eve.callID, eve.tag, eve.uri, eve.target = "eve", "eve", "<sip:+900@example.com>", "sip:+900@198.51.100.66"
			eve.request(method, "", "Route: "+path)
			eve.lastOf(w, "403 "+method)
		}
		p.target = "sip:+900@198.51.100.66" // and dave: his own token says nothing
		p.ask("MESSAGE", "", "Route: "+path)
		same(t, w.bob.next("MESSAGE").RequestURI, "sip:+900@"+bobAddr)
		p.remoteTag = "somebody"
		p.ask("MESSAGE", "", "Route: "+path)
		p.next("481 MESSAGE")
		carrier.nothing()
	})
}
