package test

import (
	"context"
	"testing"
	"time"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// elsewhere is a phone at another address of this machine.
func elsewhere(t testing.TB, transport string) *ua.Phone {
	t.Helper()
	p, err := ua.Listen(ua.Config{User: "mallory", Addr: "127.0.0.2:0", Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// guarded is a daemon whose only trunk is at 127.0.0.1.
func guarded(t testing.TB, sip string) *sipvigil {
	t.Helper()
	redisURL, _ := storetest.Redis(t)
	return serve(t, redisURL, "--config", file(t, "sipvigil.yaml", "sip: {"+sip+"}\ntrunks:\n  - {name: phones, sources: [127.0.0.1]}\n"))
}

func TestSomebodyElseWhoKnowsTheDialogCannotEndTheCall(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			d := guarded(t, "")
			c := dialOver(t, d, transport, "udp")
			thief := elsewhere(t, transport)
			target := d.udp
			if transport == "tcp" {
				target = "sip:" + d.tcp + ";transport=tcp"
			}
			for i, leg := range []*ua.Dialog{c.caller, c.callee} {
				if transport == "tcp" && i == 1 {
					continue // it speaks UDP
				}
				for _, method := range []string{"BYE", "OPTIONS", "UPDATE"} {
					res, err := thief.Send(limit(t, patience), target, leg.Build(method, leg.LocalCSeq()+7, ""))
					if err != nil || res.Status != 403 {
						t.Errorf("%s from elsewhere: %v %v", method, res, err)
					}
				}
			}
			if n := d.metric("sipvigil_b2bua_spoofed_total"); n < 3 {
				t.Errorf("%v were counted", n)
			}
			eventually(t, "they are in the log", func() bool { // which is written a little later
				return d.metric("sipvigil_b2bua_spoofed_total") == float64(len(d.entries("comes from an address that is not")))
			})
			probed(t, c.caller, 1)
			probed(t, c.callee, 1)
			hangUp(t, c.caller, c.callee)
		})
	}
}

func TestStrangersAreRejectedAndCanBeIgnored(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			ask := func(d *sipvigil, p *ua.Phone, wait time.Duration) (*ua.Message, error) {
				target := "sip:" + d.udp
				if transport == "tcp" {
					target = "sip:" + d.tcp + ";transport=tcp"
				}
				ctx, cancel := context.WithTimeout(context.Background(), wait)
				defer cancel()
				return p.Request(ctx, target, "OPTIONS", "sip:nobody@"+d.udp, "")
			}
			d := guarded(t, "unknown: reject")
			if res, err := ask(d, elsewhere(t, transport), patience); err != nil || res.Status != 403 {
				t.Errorf("a stranger: %v %v", res, err)
			}
			if res, err := ask(d, phone(t, "alice", transport), patience); err != nil || res.Status != 200 {
				t.Errorf("one of ours: %v %v", res, err)
			}
			d = guarded(t, "unknown: drop")
			silent := elsewhere(t, transport)
			if res, err := ask(d, silent, 2*time.Second); err == nil {
				t.Errorf("a stranger: %v", res)
			}
			eventually(t, "what was dropped is counted", func() bool {
				return d.metric(`sipvigil_b2bua_strangers_total{result="dropped"}`) >= 1
			})
			if res, err := ask(d, phone(t, "alice", transport), patience); err != nil || res.Status != 200 {
				t.Errorf("one of ours: %v %v", res, err)
			}
		})
	}
}
