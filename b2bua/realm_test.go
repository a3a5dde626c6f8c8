package b2bua_test

import (
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
)

// Whoever is called can challenge what a trunk lets through, and would get what
// passwords can be tried on.
func TestOnlyTheRealmOfATrunkGetsItsCredentials(t *testing.T) {
	const evil = `WWW-Authenticate: Digest realm="evil", nonce="e1", qop="auth"`
	credentials := withCredentials(t)
	inWorld(t, func(cfg *b2bua.Config) {
		credentials(cfg)
		cfg.Trunks[0].Credentials.Realm = "carrier"
	}, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 401, "", evil, wwwSHA)
		w.bob.next("ACK")
		w.take(w.bob)
		same(w.T, strings.Join(w.invite.All("Authorization"), "")[:len(`Digest username="us", realm="carrier"`)], `Digest username="us", realm="carrier"`)
		w.accept()
		w.ack()
		w.heard("started", "evidence caller: ACK", "confirmed")

		w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
		w.bob.respond(w.bob.next("OPTIONS"), 401, "", evil)
		w.heard("probe callee OPTIONS: answered 401 after 0s")
		w.alice.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 401, "", evil)
		same(w.T, w.alice.next("401 INFO").Get("WWW-Authenticate"), strings.TrimPrefix(evil, "WWW-Authenticate: "))
		w.bob.nothing()
	})
}
